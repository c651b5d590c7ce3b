package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/mcast"
	"github.com/outband/outband/cmd/outband/internal/node"
)

func (a *app) mcast() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mcast recv|send|groups",
		Short: "Receive and send multicast, and show what groups are joined",
		RunE:  func(*cobra.Command, []string) error { return errors.New("mcast: recv, send or groups") },
	}
	parent(cmd)
	cmd.AddCommand(a.mcastRecv(), a.mcastSend(), a.mcastGroups())
	return cmd
}

// mcastFlags are those of the subcommands of mcast.
type mcastFlags struct {
	netFlags
	inBand bool
}

func (f *mcastFlags) register(cmd *cobra.Command) {
	f.netFlags.register(cmd)
	cmd.Flags().BoolVar(&f.inBand, "in-band", false, "use the kernel's sockets and its address: without --addr")
}

// outOfBandOnly are the flags that say how a stack of our own is to be.
var outOfBandOnly = []string{"addr", "gateway", "spin", "neigh", "stat", "capture", "qdisc", "probe", "max-sources"}

// openMcast brings up the stack, or with --in-band takes the kernel's.
func (a *app) openMcast(f *mcastFlags, cmd *cobra.Command) (*node.Node, error) {
	if !f.inBand {
		return a.open(cmd.Context(), &f.stackFlags)
	}
	for _, name := range outOfBandOnly {
		if cmd.Flags().Changed(name) {
			return nil, fmt.Errorf("--%s is for a stack of our own: not with --in-band", name)
		}
	}
	if f.device == "" {
		return nil, errors.New("needs a network device: --dev")
	}
	if err := pin(f.cpu); err != nil {
		return nil, err
	}
	return node.OpenInBand(f.device)
}

// tooManySources names the limit that a group's sources are beyond, if that is what the
// error of joining means: the one of the flag, or in-band the kernel's.
func tooManySources(err error, limit int) error {
	if !errors.Is(err, unix.ENOBUFS) {
		return err
	}
	return fmt.Errorf("%w: more sources than --max-sources %d, or in-band than net.ipv4.igmp_max_msf, allows", err, limit)
}

// dropCounters returns the counters of drops: the stack's and its link's, or in-band
// those of the kernel's IP and UDP.
func dropCounters(n *node.Node) map[string]uint64 {
	all := map[string]uint64{}
	if n.InBand() {
		for _, name := range []string{"snmp", "netstat"} {
			// Without /proc there are no causes to tell.
			text, _ := os.ReadFile("/proc/thread-self/net/" + name)
			maps.Copy(all, mcast.ParseSNMP(text))
		}
	} else {
		for _, c := range counters(n) {
			all[c.Name] = c.Value
		}
	}
	maps.DeleteFunc(all, func(name string, _ uint64) bool { return !mcast.IsDrop(name) })
	return all
}

// memberships returns what groups the node's stack has joined, or in-band all
// sockets of the host.
func memberships(n *node.Node) ([]mcast.Membership, error) {
	if n.InBand() {
		return kernelMemberships()
	}
	groups, status := n.Iface.Groups()
	now := n.Stack.DeadlineAt(n.Stack.Monotonic())
	return mcast.FromStack(n.Iface.Index(), n.Iface.Name(), groups, status, now), nil
}

// kernelMemberships returns what groups the host's sockets have joined.
func kernelMemberships() ([]mcast.Membership, error) {
	igmp, err := os.ReadFile("/proc/thread-self/net/igmp")
	if err != nil {
		return nil, err
	}
	mcfilter, err := os.ReadFile("/proc/thread-self/net/mcfilter")
	if err != nil {
		return nil, err
	}
	return mcast.ParseKernel(igmp, mcfilter)
}
