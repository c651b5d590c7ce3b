package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/mcast"
	"github.com/outband/outband/cmd/outband/internal/values"
)

// mcastGroupsFlags are those of mcast groups.
type mcastGroupsFlags struct {
	stackFlags
	inBand bool
	length values.Duration
}

func (a *app) mcastGroups() *cobra.Command {
	var f mcastGroupsFlags
	cmd := &cobra.Command{
		Use:   "groups GROUP[@SOURCE[,SOURCE...]]:PORT... | groups --in-band",
		Short: "Show what groups are joined",
		Long: `Joins each GROUP, from any source or from each SOURCE alone, and when --time is
over prints the groups as ip-maddress(8) does, with the number of sockets, the filter
mode, the sources that they include and exclude, and when a report is due. The
groups of a command that runs are printed by it on SIGUSR1, or at its end by
"mcast recv --groups".

With --in-band nothing is joined, and those of all the host's sockets are printed, of
every device or of --dev. The kernel does not tell the mode of a group of which
sources are only included.`,
	}
	f.register(cmd)
	f.registerSources(cmd)
	cmd.Flags().BoolVar(&f.inBand, "in-band", false, "show the groups of the kernel's sockets")
	cmd.Flags().Var(&f.length, "time", "how long to be a member before printing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		find := a.joinedGroups
		if f.inBand {
			find = kernelGroups
		}
		all, err := find(cmd, &f, args)
		if err != nil {
			return err
		}
		return a.printGroups(all, f.json)
	}
	return cmd
}

// kernelGroups returns what the host's sockets have joined.
func kernelGroups(cmd *cobra.Command, f *mcastGroupsFlags, args []string) ([]mcast.Membership, error) {
	for _, name := range []string{"addr", "gateway", "spin", "cpu", "capture", "qdisc", "probe", "max-sources", "time"} {
		if cmd.Flags().Changed(name) {
			return nil, fmt.Errorf("--%s does not go together with --in-band", name)
		}
	}
	if len(args) > 0 {
		return nil, errors.New("--in-band joins nothing: it takes no groups")
	}
	all, err := kernelMemberships()
	if f.device != "" {
		all = slices.DeleteFunc(all, func(m mcast.Membership) bool { return m.Device != f.device })
	}
	return all, err
}

// joinedGroups joins groups on a stack of our own, and returns what it has joined
// when the time is over or Ctrl-C ends it.
func (a *app) joinedGroups(cmd *cobra.Command, f *mcastGroupsFlags, args []string) ([]mcast.Membership, error) {
	targets, err := mcast.ParseTargets(args)
	if err == nil && len(targets) == 0 {
		err = errors.New("mcast groups: needs groups to join, or --in-band")
	}
	if err != nil {
		return nil, err
	}
	n, err := a.open(cmd.Context(), &f.stackFlags)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	defer a.showOnSignal(n, f.json)()
	for _, t := range targets {
		s, err := n.UnboundUDP()
		if err != nil {
			return nil, err
		}
		defer s.Close()
		if err := mcast.Join(s, t, n.Iface.Index()); err != nil {
			return nil, tooManySources(fmt.Errorf("%s: %w", t, err), f.sources)
		}
	}
	fmt.Fprintf(a.err, "joined %d groups on %s\n", len(targets), f.device)
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(f.length))
	defer cancel()
	<-ctx.Done()
	return memberships(n)
}

func (a *app) printGroups(all []mcast.Membership, asJSON bool) error {
	if !asJSON {
		mcast.PrintGroups(a.out, all)
		return nil
	}
	if all == nil {
		all = []mcast.Membership{}
	}
	return a.printLine(struct {
		Schema int                `json:"schema"`
		Groups []mcast.Membership `json:"groups"`
	}{schema, all})
}
