package cli

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/mcast"
)

func (a *app) mcastGroups() *cobra.Command {
	var f mcastFlags
	cmd := &cobra.Command{
		Use:   "groups --in-band",
		Short: "Show what groups are joined",
		Long: `Prints the groups that the host's sockets have joined, of all devices or of --dev,
as ip-maddress(8) does, with the number of sockets, the filter mode, the sources that
they include and exclude, and the timer of a report that is due.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&f.device, "dev", "", "network device whose groups to show (all)")
	cmd.Flags().BoolVar(&f.inBand, "in-band", false, "the kernel's")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.RunE = func(*cobra.Command, []string) error {
		if !f.inBand {
			return errors.New("the stack cannot tell its groups: --in-band shows the kernel's")
		}
		all, err := kernelMemberships()
		if err != nil {
			return err
		}
		if f.device != "" {
			all = slices.DeleteFunc(all, func(m mcast.Membership) bool { return m.Device != f.device })
		}
		return a.printGroups(all, f.json)
	}
	return cmd
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
