package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/bench"
	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/internal/cpu"
)

func (a *app) bench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this stack and what could be used instead, on this machine",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("bench what? rtt or tput")
		},
	}
	parent(cmd)
	cmd.AddCommand(a.benchRTT(), a.benchTput())
	return cmd
}

// benchFlags are what both benches take.
type benchFlags struct {
	rounds     int
	sizes      values.Sizes
	contenders []string
	cpus       values.CPUs
	json       bool
	capture    string
	svg        string
}

func (f *benchFlags) register(cmd *cobra.Command, contenders []string, sizes ...int) {
	f.sizes.Sizes = sizes
	flags := cmd.Flags()
	f.rounds = 5
	flags.Var(values.NumberOf(&f.rounds, 1, values.Most), "rounds", "how often each contender runs")
	flags.Var(&f.sizes, "size", "payload in bytes; several with commas between")
	flags.StringSliceVar(&f.contenders, "contenders", nil, "which to run, of "+strings.Join(contenders, ",")+" (default all)")
	flags.Var(&f.cpus, "cpu", "the CPUs of the two ends, or none (default the first two)")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	flags.StringVar(&f.capture, "capture", "", "write all frames of this stack's to this `file`, as pcapng, which slows it")
	flags.StringVar(&f.svg, "svg", "", "draw the results to this `file`")
	completeWords(cmd, "contenders", contenders...)
}

// ends returns the CPUs of the two ends: those asked for, else the first two
// that this process may use, else none.
func (f *benchFlags) ends() []int {
	if f.cpus.Given {
		return f.cpus.CPUs
	}
	if cpus, err := cpu.All(); err == nil && len(cpus) >= 2 {
		return cpus[:2]
	}
	return nil
}

// check says which CPUs are not there.
func (f *benchFlags) check() error {
	for _, cpu := range f.cpus.CPUs {
		if err := usableCPU(cpu); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) benchRTT() *cobra.Command {
	var f benchFlags
	var hdr string
	count := values.Size(50000)
	cmd := &cobra.Command{
		Use:   "rtt",
		Short: "Round-trip times over a veth pair",
		Long: `Measures round trips between two network namespaces joined by a veth pair. Each
end is a process of its own; the contenders run in turn within each round, each
after ` + strconv.Itoa(bench.WarmUp) + ` round trips to warm up, which do not count; the table shows medians
over the rounds, p50 as a multiple of the bare ring's, and how many trips took more than
10 us: beside an idle machine's own interruptions that is what a tail is made of.

Contenders:
` + rttHelp,
		Args: cobra.NoArgs,
	}
	f.register(cmd, bench.RTTContenders(), 64)
	cmd.Flags().Var(&count, "count", "round trips in a round")
	cmd.Flags().StringVar(&hdr, "hdr", "", "write all times to this `file`, as a log of HdrHistogram's")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := bench.RTTConfig{Count: int(count), Rounds: f.rounds, Sizes: f.sizes.Sizes, Contenders: f.contenders,
			CPUs: f.ends(), Progress: a.progress(f.rounds), Capture: f.capture}
		if err := errors.Join(c.Check(), f.check()); err != nil {
			return err
		}
		return a.inLab(func() error { return a.runRTT(cmd.Context(), c, &f, hdr) })
	}
	return cmd
}

const rttHelp = `  ring             a bare TPACKET_V2 ring without any protocol: the floor
  outband-spin     this stack at both ends, spinning (--spin always)
  outband-shared   the same, both ends on the kernel's own addresses
  outband-gonet    outband-spin by connections as package net has them
  outband-qdisc    outband-spin, by the device's queueing discipline (--qdisc)
  outband-default  this stack at both ends, with the default budget
  outband-block    this stack at both ends, asleep in poll(2) (--spin never)
  outband-half     this stack, spinning, echoes to kernel-spin's client
  kernel-spin      in-band UDP, asked again and again (MSG_DONTWAIT)
  kernel-block     in-band UDP, asleep in recv(2)
  go-net           in-band UDP by Go's package net, not pinned
`

func (a *app) runRTT(ctx context.Context, c bench.RTTConfig, f *benchFlags, hdr string) error {
	if !f.json {
		c.Surroundings().Print(a.out)
	}
	report, err := bench.RTT(ctx, c)
	a.clearProgress()
	if len(report.Results) > 0 || err == nil {
		err := errors.Join(a.print(report, f.json), writeFile(hdr, report.WriteHDR), writeFile(f.svg, report.WriteSVG))
		if err != nil {
			return err
		}
	}
	return interrupted(err)
}

// writeFile writes a file of that name, if there is one.
func writeFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

func (a *app) benchTput() *cobra.Command {
	var f benchFlags
	length, batch := values.Duration(time.Second), 64
	cmd := &cobra.Command{
		Use:   "tput",
		Short: "Datagrams a second in bulk over a veth pair",
		Long: `Measures bulk transfer between two network namespaces joined by a veth pair, by
batches: sendmmsg at one end, recvmmsg at the other. Each end is a process of its
own; the contenders run in turn within each round; the table shows medians over
the rounds, and multiples of the kernel's.

Contenders:
` + tputHelp,
		Args: cobra.NoArgs,
	}
	f.register(cmd, bench.TputContenders(), 64, 1400)
	cmd.Flags().Var(&length, "time", "how long each contender sends in a round")
	cmd.Flags().Var(values.NumberOf(&batch, 1, values.Most), "batch", "datagrams a call")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := bench.TputConfig{Time: time.Duration(length), Rounds: f.rounds, Sizes: f.sizes.Sizes, Batch: batch, Contenders: f.contenders,
			CPUs: f.ends(), Progress: a.progress(f.rounds), Capture: f.capture}
		if err := errors.Join(c.Check(), f.check()); err != nil {
			return err
		}
		return a.inLab(func() error { return a.runTput(cmd.Context(), c, &f) })
	}
	return cmd
}

const tputHelp = `  kernel           in-band UDP at both ends
  outband          this stack at both ends
  outband-qdisc    the same, by the device's queueing discipline
  outband-half     this stack sends, in-band UDP receives
`

func (a *app) runTput(ctx context.Context, c bench.TputConfig, f *benchFlags) error {
	if !f.json {
		c.Surroundings().Print(a.out)
	}
	report, err := bench.Tput(ctx, c)
	a.clearProgress()
	if len(report.Results) > 0 || err == nil {
		if err := errors.Join(a.print(report, f.json), writeFile(f.svg, report.WriteSVG)); err != nil {
			return err
		}
	}
	return interrupted(err)
}

// interrupted makes of Ctrl-C an answer, as a run that ended before its time.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return answerNo("interrupted: only complete rounds count")
	}
	return err
}

// progress returns what says on stderr which turn it is: on one line that is
// written over if that is a terminal, else once a round.
func (a *app) progress(rounds int) func(round, size int, contender string) {
	last := 0
	return func(round, size int, contender string) {
		switch {
		case styled(a.err):
			fmt.Fprintf(a.err, "\r\x1b[Kround %s, %d bytes, %s", of(round, rounds), size, contender)
		case round != last:
			fmt.Fprintf(a.err, "round %s\n", of(round, rounds))
		}
		last = round
	}
}

// of writes how far it is, of how many if that is known.
func of(done, all int) string {
	if all == 0 {
		return strconv.Itoa(done)
	}
	return fmt.Sprintf("%d of %d", done, all)
}

// clearProgress wipes the line of progress.
func (a *app) clearProgress() {
	if styled(a.err) {
		fmt.Fprint(a.err, "\r\x1b[K")
	}
}

// benchEnd is one end of a measurement, in a process of its own.
func (a *app) benchEnd() *cobra.Command {
	return &cobra.Command{
		Use:    bench.EndCommand + " JOB",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.RunEnd(args[0], a.in, a.out)
		},
	}
}
