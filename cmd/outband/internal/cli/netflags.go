package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
)

// stackFlags are what every subcommand that runs a stack takes.
type stackFlags struct {
	device  string
	addr    values.Prefix
	gateway values.Addr
	spin    values.Spin
	cpu     int
	json    bool
	capture string
	qdisc   bool
	probe   values.Duration
	sources int // --max-sources, of the commands that join groups
	noLo    bool
	require claim.Rung
}

// probeTime is the default of --probe. RFC 5227 takes 4 to 7 seconds, for hosts that join
// a network unattended; neighbours that are there answer within milliseconds.
var probeTime = 500 * time.Millisecond

// netFlags are those of subcommands with a socket.
type netFlags struct {
	stackFlags
	neigh bool
	stat  bool
}

func (f *netFlags) register(cmd *cobra.Command) {
	f.stackFlags.register(cmd)
	cmd.Flags().BoolVar(&f.neigh, "neigh", false, "print the neighbours at the end (SIGUSR1: now)")
	cmd.Flags().BoolVar(&f.stat, "stat", false, "print the counters at the end (SIGUSR1: now)")
}

func (f *stackFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.device, "dev", "", "network device to use")
	flags.Var(&f.addr, "addr", "an address of our own and its network, such as 10.9.0.1/24, which the kernel has not; without, its addresses are shared")
	flags.BoolVar(&f.noLo, "no-lo", false, "with shared addresses: no ring on the loopback device")
	flags.Var(values.Rung(&f.require), "require", "with shared addresses: what keeps the kernel off our datagrams must be at least this: tcx, nft or holder")
	flags.Var(&f.gateway, "gateway", "router for other networks")
	flags.Var(&f.spin, "spin", "how long a wait spins before it sleeps: a duration, always, never or default")
	flags.Var(values.CPU(&f.cpu), "cpu", "pin the thread that does the work to this CPU")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.StringVar(&f.capture, "capture", "", "write all frames to this `file`, as pcapng")
	flags.BoolVar(&f.qdisc, "qdisc", false, "send through the device's queueing discipline: tcpdump sees it, and it takes longer")
	f.probe = values.Duration(probeTime)
	flags.Var(&f.probe, "probe", "ask by ARP for so long whether somebody has --addr (0: ask nobody)")
	completeDevices(cmd, "dev")
	completeWords(cmd, "spin", "always", "never", "default")
	completeWords(cmd, "require", "tcx", "nft", "holder")
}

// defaultSources is Linux' limit (net.ipv4.igmp_max_msf).
const defaultSources = 10

// registerSources adds the flag of the commands that join groups.
func (f *stackFlags) registerSources(cmd *cobra.Command) {
	f.sources = defaultSources
	cmd.Flags().Var(values.NumberOf(&f.sources, 1, values.Most), "max-sources", "how many sources a group may have")
}

// check says which flags are missing or out of place.
func (f *stackFlags) check() error {
	switch {
	case f.device == "":
		return errors.New("needs a network device: --dev")
	case !f.addr.IsValid() && f.gateway.IsValid():
		return errors.New("--gateway is for an address of our own (--addr): with the kernel's, routes are the kernel's too")
	case f.addr.IsValid() && f.noLo:
		return errors.New("--no-lo is for shared addresses, without --addr")
	case f.addr.IsValid() && f.require != claim.Any:
		return errors.New("--require is for shared addresses, without --addr")
	}
	return nil
}

// open brings up the stack that the flags describe, on a pinned thread if they say so.
// What happens to its link and address is told on stderr until it is closed.
func (a *app) open(ctx context.Context, f *stackFlags) (*node.Node, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := pin(f.cpu); err != nil {
		return nil, err
	}
	n, err := node.Open(ctx, node.Config{Device: f.device, Addr: f.addr.Prefix, Gateway: f.gateway.Addr, Spin: time.Duration(f.spin),
		Ring: tpacket.Options{Qdisc: f.qdisc}, Capture: f.capture, Probe: time.Duration(f.probe), MaxSources: f.sources,
		NoLo: f.noLo, Require: f.require, Log: slog.New(lineHandler{a.err})})
	switch {
	case errors.Is(err, context.Canceled):
		return nil, answerNo(fmt.Sprintf("interrupted while asking whether somebody has %s", f.addr.Addr()))
	case errors.Is(err, context.DeadlineExceeded):
		return nil, answerNo(fmt.Sprintf("the time was over while asking whether somebody has %s", f.addr.Addr()))
	case err != nil:
		return nil, denied(err, unix.CAP_NET_RAW)
	}
	go a.tell(n.Stack.Subscribe(0))
	return n, nil
}

// tell prints what happens to links and addresses, one line each, until the stack is
// closed.
func (a *app) tell(events *stack.Subscription) {
	for e := range events.C {
		switch e.Kind {
		case stack.NeighbourUp, stack.NeighbourFailed, stack.AddressReady:
		default:
			fmt.Fprintln(a.err, "outband:", e)
		}
	}
}
