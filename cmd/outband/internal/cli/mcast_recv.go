package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/mcast"
	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/cmd/outband/internal/values"
)

// mcastRecvFlags are those of mcast recv.
type mcastRecvFlags struct {
	mcastFlags
	seq      mcast.Field
	buffer   values.Size
	interval values.Duration
	duration values.Duration
	count    int
	groups   bool
}

func (a *app) mcastRecv() *cobra.Command {
	f := mcastRecvFlags{interval: values.Duration(time.Second)}
	cmd := &cobra.Command{
		Use:   "recv GROUP[@SOURCE[,SOURCE...]]:PORT...",
		Short: "Join groups, and keep account of what comes of each",
		Long: `Joins each GROUP, from any source or from each SOURCE alone, and prints a line each
interval of what came of all of them, and at the end a table of each: datagrams,
bytes, rate, the silence since the last datagram, and the datagrams that its full
receive queue dropped (SO_RXQ_OVFL). Below are the counters of other drops, of the
whole stack, that have grown.

With --seq, which says where datagrams have a sequence number, big endian, the gaps
are counted too: what is missing, reordered, came twice, and how often a sender
began anew. Each sender's numbers are its own.

Exit code 1: fewer than -n datagrams came, or within --duration none of some group.`,
		Args: cobra.MinimumNArgs(1),
	}
	f.register(cmd)
	f.registerSources(cmd)
	flags := cmd.Flags()
	flags.Var(&f.seq, "seq", "where datagrams have a sequence number: 8:4 is 4 bytes from byte 8 on")
	flags.VarP(values.NumberOf(&f.count, 0, values.Most), "count", "n", "stop after so many datagrams (0: never)")
	flags.Var(&f.duration, "duration", "stop after this time (0: never)")
	flags.Var(&f.interval, "interval", "time between two lines")
	flags.Var(&f.buffer, "rcvbuf", "bytes of each group's receive buffer (0: as the system has it)")
	flags.BoolVar(&f.groups, "groups", false, "print what groups are joined at the end (SIGUSR1: now)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.runMcastRecv(cmd, &f, args) }
	return cmd
}

func (f *mcastRecvFlags) check() error {
	if time.Duration(f.interval) < 10*time.Millisecond {
		return errors.New("--interval: must be 10ms or more")
	}
	return nil
}

func (a *app) runMcastRecv(cmd *cobra.Command, f *mcastRecvFlags, args []string) error {
	targets, err := mcast.ParseTargets(args)
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return err
	}
	n, err := a.openMcast(&f.mcastFlags, cmd)
	if err != nil {
		return err
	}
	defer n.Close()
	ifindex, err := n.IfIndex()
	if err != nil {
		return err
	}
	defer a.showOnSignal(n, f.json)()
	var joined []mcast.Membership
	var groupsErr error
	report, err := mcast.Receive(cmd.Context(), mcast.Config{
		Targets: targets, IfIndex: ifindex, Seq: f.seq, Buffer: int(f.buffer),
		Interval: time.Duration(f.interval), Duration: time.Duration(f.duration), Count: uint64(f.count),
		Counters: func() map[string]uint64 { return dropCounters(n) },
		Ready:    func() { fmt.Fprintf(a.err, "joined %d groups on %s\n", len(targets), f.device) },
		End: func() {
			if f.groups {
				joined, groupsErr = memberships(n)
			}
		},
		Each: func(i mcast.Interval) error { return a.printInterval(i, f) },
	}, n.API, n.UnboundUDP)
	if report == nil {
		return tooManySources(err, f.sources)
	}
	return errors.Join(err, groupsErr, a.closeMcastRecv(f, n, report, joined), f.answer(report))
}

// closeMcastRecv prints the end of a run, as closing does.
func (a *app) closeMcastRecv(f *mcastRecvFlags, n *node.Node, report *mcast.Report, joined []mcast.Membership) error {
	if f.json {
		return a.printLine(struct {
			Schema      int                `json:"schema"`
			Summary     *mcast.Report      `json:"summary"`
			Memberships []mcast.Membership `json:"memberships,omitempty"`
			shown
		}{schema, report, joined, f.shown(n)})
	}
	report.Print(a.out)
	mcast.PrintGroups(a.out, joined)
	return a.closing(&f.netFlags, n, report, fmt.Sprintf("%d datagrams, %d bytes", report.Datagrams, report.Bytes))
}

func (a *app) printInterval(i mcast.Interval, f *mcastRecvFlags) error {
	if !f.json {
		return i.Print(a.out, f.seq.Width > 0)
	}
	return a.printLine(struct {
		Schema   int            `json:"schema"`
		Interval mcast.Interval `json:"interval"`
	}{schema, i})
}

// answer says no if less came than was asked for.
func (f *mcastRecvFlags) answer(r *mcast.Report) error {
	if r.Datagrams < uint64(f.count) {
		return answerNo(fmt.Sprintf("%d of %d datagrams came", r.Datagrams, f.count))
	}
	if silent := r.Silent(); f.duration > 0 && f.count == 0 && len(silent) > 0 {
		return answerNo("nothing came of " + few(silent))
	}
	return nil
}

// few lists words, the first of them if they are many.
func few(words []string) string {
	const most = 5
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}
