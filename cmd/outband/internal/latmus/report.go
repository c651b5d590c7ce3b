package latmus

import (
	"fmt"
	"io"
	"time"
)

// A Printer writes the lines of a run as EVL's latmus does, latencies in
// microseconds.
type Printer struct {
	Out      io.Writer
	Period   time.Duration
	Priority int
	CPU      int  // -1: any
	Isolated bool // whether the CPU is one of those that the scheduler leaves alone
	Lines    int  // data lines between two headings
	lines    int
	told     bool // that clocks differ
}

// header opens the columns of a data line.
const header = "RTH|--rx sched|---rx user|--tx sched|---tx user|-msw|-overrun|---rx best|--rx worst|---tx best|--tx worst"

// Second writes the line of a second: the largest latencies in it, and the
// smallest and largest of the whole run.
func (p *Printer) Second(r *Result) {
	if p.lines%max(p.Lines, 1) == 0 {
		cpu := "any CPU"
		if p.CPU >= 0 {
			if cpu = fmt.Sprintf("CPU%d", p.CPU); !p.Isolated {
				cpu += "-noisol"
			}
		}
		fmt.Fprintf(p.Out, "RTT|  %s  (net, %d us period, priority %d, %s)\n%s\n",
			clock(r.Elapsed), p.Period.Microseconds(), p.Priority, cpu, header)
	}
	p.lines++
	fmt.Fprint(p.Out, "RTD")
	for _, s := range r.series() {
		fmt.Fprintf(p.Out, "|%10s", latency(s.takeWindow()))
	}
	rx, tx := r.RxUser.Count > 0, r.TxUser.Count > 0
	fmt.Fprintf(p.Out, "|%4d|%8d|%10s|%10s|%10s|%10s\n", r.Switches, r.Overruns,
		latency(r.RxUser.Min, rx), latency(r.RxUser.Max, rx), latency(r.TxUser.Min, tx), latency(r.TxUser.Max, tx))
	if r.ClocksDiffer > 0 && !p.told {
		p.told = true
		p.clocks(r)
	}
}

// clocks says that there are packets without a latency, and why.
func (p *Printer) clocks(r *Result) {
	fmt.Fprintf(p.Out, "# the clocks differ: the stamps of %d packets are off by up to %s from this host's clock; they have no rx latency\n",
		r.ClocksDiffer, time.Duration(r.ClockDifference))
}

// latency writes microseconds, or a dash for none.
func latency(ns int64, any bool) string {
	if !any {
		return "-"
	}
	return fmt.Sprintf("%.3f", us(ns))
}

// End writes the last line: the largest latencies of all, and how long it took;
// then what did not arrive, if anything.
func (p *Printer) End(r *Result, planned time.Duration) {
	fmt.Fprintln(p.Out, "---|----------|----------|----------|----------|----|--------|-------------------------")
	fmt.Fprint(p.Out, "RTS")
	for _, s := range r.series() {
		fmt.Fprintf(p.Out, "|%10s", latency(s.Max, s.Count > 0))
	}
	fmt.Fprintf(p.Out, "|%4d|%8d|    %s/%s\n", r.Switches, r.Overruns, clock(r.Elapsed), clock(planned))
	if r.Lost+r.Wrong > 0 {
		fmt.Fprintf(p.Out, "# %d sent, %d received, %d lost, %d wrong\n", r.Sent, r.Received, r.Lost, r.Wrong)
	}
	if r.ClocksDiffer > 0 {
		p.clocks(r)
	}
	if r.RxUser.Cells != nil {
		p.histograms(r)
	}
}

// histograms writes one cell of 1 us a line, those that have any.
func (p *Printer) histograms(r *Result) {
	for i, name := range []string{"RX queuing", "RX delivery", "TX queuing", "TX delivery"} {
		s := r.series()[i]
		fmt.Fprintf(p.Out, "# ---- %s latency histogram, us, %d packets\n", name, s.Count)
		for cell, n := range s.Cells {
			if n > 0 {
				fmt.Fprintf(p.Out, "RTX|%8d|%10d\n", cell, n)
			}
		}
	}
}

// Gnuplot writes the histograms as columns: microseconds, then the packets of each
// latency.
func Gnuplot(w io.Writer, r *Result, period time.Duration) error {
	fmt.Fprintf(w, "# sampling period: %d microseconds\n# duration (hhmmss): %s\n# overruns: %d\n",
		period.Microseconds(), clock(r.Elapsed), r.Overruns)
	_, err := fmt.Fprintln(w, "# us rx_sched rx_user tx_sched tx_user")
	all := r.series()
	for cell := range all[0].Cells {
		if _, err = fmt.Fprintf(w, "%d %d %d %d %d\n", cell,
			all[0].Cells[cell], all[1].Cells[cell], all[2].Cells[cell], all[3].Cells[cell]); err != nil {
			break
		}
	}
	return err
}

// clock writes a duration as hh:mm:ss.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}
