package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/stack"
)

func (a *app) neigh() *cobra.Command {
	var f stackFlags
	wait := values.Duration(resolvePatience)
	cmd := &cobra.Command{
		Use:   "neigh DEST...",
		Short: "Resolve addresses by ARP, and print the neighbour table",
		Long: `Asks by ARP for the hardware address of each DEST, or of the gateway on the way
there, and prints the neighbour table as ip-neighbour(8) does. The table of a
command that runs is printed by it on SIGUSR1, or at its end with --neigh.

Exit code 1: not all have answered.`,
		Args: cobra.MinimumNArgs(1),
	}
	f.register(cmd)
	cmd.Flags().VarP(&wait, "wait", "w", "how long to wait for answers")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dests := make([]netip.Addr, len(args))
		for i, arg := range args {
			addr, err := netip.ParseAddr(arg)
			if err != nil || !addr.Is4() {
				return fmt.Errorf("%q is not an IPv4 address", arg)
			}
			dests[i] = addr
		}
		n, err := a.open(cmd.Context(), &f)
		if err != nil {
			return err
		}
		defer n.Close()
		defer a.showOnSignal(n, f.json)()
		missing := resolve(cmd.Context(), n, dests, time.Duration(wait))
		if f.json {
			err = a.printLine(struct {
				Schema     int             `json:"schema"`
				Neighbours []neighbourJSON `json:"neighbours"`
			}{schema, neighboursJSON(n.Stack.Neighbours())})
		} else {
			printNeighbours(a.out, n.Stack.Neighbours())
		}
		if err == nil && missing != nil {
			err = answerNo(missing.Error())
		}
		return err
	}
	return cmd
}

// resolve asks for all destinations at once, and returns which did not answer
// until the time is over or ctx ends.
func resolve(ctx context.Context, n *node.Node, dests []netip.Addr, wait time.Duration) error {
	outcomes := make([]chan error, len(dests))
	for i, dest := range dests {
		outcomes[i] = make(chan error, 1)
		go func() { outcomes[i] <- n.Stack.Solicit(dest, wait, stack.SolicitMayRoute) }()
	}
	var missing []string
	for i, outcome := range outcomes {
		select {
		case err := <-outcome:
			if err != nil {
				missing = append(missing, fmt.Sprintf("%s: %v", dests[i], err))
			}
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
	if missing == nil {
		return nil
	}
	return errors.New(strings.Join(missing, ", "))
}

func (a *app) stat() *cobra.Command {
	var f stackFlags
	var length values.Duration
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Be a host without sockets, and print its counters",
		Long: `Brings the address up on the device, where it answers ARP and ping and refuses all
ports, and prints the counters that are not zero as nstat(8) does: at SIGUSR1, and
when the time is over or Ctrl-C ends it. The counters of another command that runs
are printed by it on SIGUSR1, or at its end with --stat.`,
		Args: cobra.NoArgs,
	}
	f.register(cmd)
	cmd.Flags().Var(&length, "time", "how long (0: until Ctrl-C)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := a.open(cmd.Context(), &f)
		if err != nil {
			return err
		}
		defer n.Close()
		defer a.showOnSignal(n, f.json)()
		ctx := cmd.Context()
		if length > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(length))
			defer cancel()
		}
		fmt.Fprintf(a.err, "%s is up on %s\n", n.Addr, f.device)
		<-ctx.Done()
		if f.json {
			return a.printLine(struct {
				Schema   int               `json:"schema"`
				Counters map[string]uint64 `json:"counters"`
			}{schema, countersJSON(counters(n))})
		}
		printCounters(a.out, counters(n))
		return nil
	}
	return cmd
}
