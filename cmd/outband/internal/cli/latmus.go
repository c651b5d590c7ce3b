package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/latmus"
	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/sockapi"
)

// latmusFlags are those of the subcommand beside the stack's.
type latmusFlags struct {
	netFlags
	peer           values.Addr
	port           uint16
	period         values.Microseconds
	duration       values.Duration
	abort          values.Microseconds
	priority       int
	gnuplot        string
	quiet, verbose bool
	size           int
	cells          int
	lines          int
	noSequence     bool
	keepGoing      bool
}

func (a *app) latmus() *cobra.Command {
	f := latmusFlags{period: values.Microseconds(time.Millisecond), port: latmus.Port, size: latmus.DefaultSize, lines: 21}
	cmd := &cobra.Command{
		Use:   "latmus -E HOST",
		Short: "Measure the path's latency between two hosts that both run it",
		Long: `The network test of EVL's latmus. Two hosts run it, each with the other's address
as -E. Each sends a packet every period, and measures by time stamps, in
microseconds, once a second the worst of
  rx sched  from the device's stamp to this stack's taking the packet
  rx user   from the device's stamp to the socket's having it
  tx sched  from the send call to the packet's hand-over to the device
  tx user   from the send call to the device's having taken it
msw counts how often the kernel took the CPU from the measuring thread, overrun
what could not be done in its period. Ctrl-C ends it with the worst of all.

Exit codes: 1 if a packet was wrong or missing (but not with -K), or a latency
was beyond -A.`,
		Args: cobra.NoArgs,
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.VarP(&f.peer, "peer", "E", "address of the other host")
	flags.StringVarP(&f.device, "netif", "L", "", "network device to use, as --dev")
	flags.VarP(values.CPU(&f.cpu), "pin", "c", "CPU to run on, as --cpu")
	flags.Var(values.NumberOf(&f.port, 1, maxPort), "port", "UDP port of both hosts")
	flags.VarP(&f.period, "period", "p", "time between packets, in microseconds or as a duration")
	flags.VarP(values.NumberOf(&f.priority, 0, 99), "priority", "P", "SCHED_FIFO priority, 1 to 99; 0 leaves the scheduling as it is")
	flags.VarP(&f.duration, "timeout", "T", "stop after this time in all, waiting for the other host included: seconds, or a number with d, h, m or s")
	flags.VarP(values.NumberOf(&f.size, latmus.MinSize, latmus.MaxSize), "size", "S", "bytes in a packet")
	flags.VarP(values.NumberOf(&f.cells, 1, 1e6), "histogram", "H", "print histograms of so many cells of 1 us")
	flags.StringVarP(&f.gnuplot, "plot", "g", "", "write the histograms to a file for gnuplot; - is the standard output")
	flags.VarP(values.NumberOf(&f.lines, 1, values.Most), "lines", "l", "lines between two headings")
	flags.VarP(&f.abort, "max-abort", "A", "stop at a latency beyond this, in microseconds or as a duration")
	flags.BoolVarP(&f.noSequence, "no-sequence", "n", false, "leave serial numbers unchecked")
	flags.BoolVarP(&f.keepGoing, "keep-going", "K", false, "go on after a packet that is wrong or missing")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print the last line only")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say on stderr what is wrong with a packet")
	cmd.MarkFlagRequired("peer")
	completeDevices(cmd, "netif")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.checkLatmus(); err != nil {
			return err
		}
		return a.runLatmus(cmd.Context(), &f)
	}
	return cmd
}

// defaultCells is how long the histograms are if only a file for gnuplot asks for
// them.
const defaultCells = 200

func (f *latmusFlags) checkLatmus() error {
	switch {
	case time.Duration(f.period) < 10*time.Microsecond:
		return fmt.Errorf("-p %s: must be 10us or more", f.period.String())
	case f.quiet && f.verbose:
		return errors.New("-q and -v do not go together")
	}
	if f.gnuplot != "" && f.cells == 0 {
		f.cells = defaultCells
	}
	return nil
}

func (a *app) runLatmus(ctx context.Context, f *latmusFlags) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// -T is of all: bringing the stack up, meeting the other host, and measuring.
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(f.duration))
		defer cancel()
	}
	n, err := a.open(ctx, &f.stackFlags)
	if err != nil {
		return err
	}
	defer n.Close()
	if f.priority > 0 {
		if err := fifo(f.priority); err != nil {
			fmt.Fprintf(a.err, "outband: -P %d: %v: the scheduling stays as it is\n", f.priority, err)
			f.priority = 0
		}
	}
	s, err := n.UDP(f.port)
	if err != nil {
		return err
	}
	defer a.showOnSignal(n, f.json)()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := a.meet(ctx, s, f); err != nil {
		switch ctx.Err() {
		case context.DeadlineExceeded:
			return answerNo(fmt.Sprintf("%s did not answer within %s", f.peer.Addr, time.Duration(f.duration)))
		case context.Canceled:
			return answerNo("no other host")
		}
		return fmt.Errorf("%s: %w", f.peer.Addr, err)
	}
	p := &latmus.Printer{Out: a.out, Period: time.Duration(f.period), Priority: f.priority,
		CPU: f.cpu, Isolated: isolated(f.cpu), Lines: f.lines}
	c := latmus.Config{Peer: netip.AddrPortFrom(f.peer.Addr, f.port), Period: time.Duration(f.period),
		Size: f.size, Cells: f.cells,
		NoSequence: f.noSequence, KeepGoing: f.keepGoing, Abort: time.Duration(f.abort)}
	if !f.quiet && !f.json {
		c.Second = p.Second
	}
	if f.verbose {
		c.Trouble = latmus.Log(a.err)
	}
	r, err := latmus.Run(ctx, c, s)
	if r == nil {
		return err
	}
	if endErr := a.endLatmus(f, n, p, r); endErr != nil {
		return endErr
	}
	if errors.Is(err, latmus.ErrPacket) || errors.Is(err, latmus.ErrLatency) {
		return answerNo(err.Error())
	}
	if err == nil && r.Received == 0 {
		return answerNo("nothing came from " + f.peer.String())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.peer.Addr, err)
	}
	return nil
}

// meet waits for the other host to be there.
func (a *app) meet(ctx context.Context, s *sockapi.Socket, f *latmusFlags) error {
	to := sockapi.Inet4(f.peer.As4(), f.port)
	flags := sockapi.EVL_NEIGH_PERMANENT | sockapi.EVL_NEIGH_MAYROUTE
	for told := false; ; told = true {
		err := s.Solicit(to, flags)
		if err != unix.EHOSTUNREACH && err != unix.ETIMEDOUT || ctx.Err() != nil {
			return err
		}
		if !told {
			fmt.Fprintf(a.err, "waiting for %s\n", f.peer.Addr)
		}
	}
}

// endLatmus prints what a run has measured.
func (a *app) endLatmus(f *latmusFlags, n *node.Node, p *latmus.Printer, r *latmus.Result) error {
	if f.gnuplot != "" {
		if err := a.plot(f, r); err != nil {
			return err
		}
	}
	if f.json {
		return a.closing(&f.netFlags, n, r, "")
	}
	p.End(r, time.Duration(f.duration))
	f.show(a.out, n)
	return nil
}

func (a *app) plot(f *latmusFlags, r *latmus.Result) error {
	if f.gnuplot == "-" {
		return latmus.Gnuplot(a.out, r, time.Duration(f.period))
	}
	file, err := os.Create(f.gnuplot)
	if err != nil {
		return err
	}
	err = latmus.Gnuplot(file, r, time.Duration(f.period))
	return errors.Join(err, file.Close())
}

// fifo gives the calling thread a real-time priority (sched(7)).
func fifo(priority int) error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr,
		Policy: unix.SCHED_FIFO, Priority: uint32(priority)}, 0)
}

// isolated reports whether the kernel keeps other work off a CPU (isolcpus in
// kernel-parameters).
func isolated(cpu int) bool {
	list, err := os.ReadFile("/sys/devices/system/cpu/isolated")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(strings.TrimSpace(string(list)), ","), func(part string) bool {
		first, last, found := strings.Cut(part, "-")
		if !found {
			last = first
		}
		from, fromErr := strconv.Atoi(first)
		to, toErr := strconv.Atoi(last)
		return fromErr == nil && toErr == nil && from <= cpu && cpu <= to
	})
}
