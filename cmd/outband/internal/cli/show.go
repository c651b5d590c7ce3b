package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/mcast"
	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/stack"
)

// printNeighbours writes the neighbour table as ip-neighbour(8) does.
func printNeighbours(w io.Writer, all []stack.Neighbour) {
	for _, n := range sorted(all) {
		fmt.Fprintln(w, neighbourLine(netip.AddrFrom4(n.Addr), n.Dev, n.MAC, n.State.String()))
	}
}

// neighbourLine is one line of ip-neighbour(8).
func neighbourLine(addr netip.Addr, device string, hardware [6]byte, state string) string {
	lladdr := ""
	if hardware != ([6]byte{}) {
		lladdr = " lladdr " + mac(hardware)
	}
	return fmt.Sprintf("%s dev %s%s %s", addr, device, lladdr, state)
}

// printCounters writes the counters that are not zero as nstat(8) does.
func printCounters(w io.Writer, all []stack.Counter) {
	fmt.Fprintln(w, "#outband")
	for _, c := range all {
		if c.Value != 0 {
			fmt.Fprintf(w, "%-32s%-16d%6.1f\n", c.Name, c.Value, 0.0)
		}
	}
}

// counters returns the stack's counters, its links' among them, whose names start with
// "Link".
func counters(n *node.Node) []stack.Counter {
	return n.Stack.Stats().Counters
}

func sorted(all []stack.Neighbour) []stack.Neighbour {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b stack.Neighbour) int {
		return netip.AddrFrom4(a.Addr).Compare(netip.AddrFrom4(b.Addr))
	})
	return all
}

func mac(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// neighbourJSON is one neighbour as JSON, with the keys of ip -json neighbour.
type neighbourJSON struct {
	Addr   string `json:"dst"`
	Dev    string `json:"dev"`
	LLAddr string `json:"lladdr,omitempty"`
	State  string `json:"state"`
}

func neighboursJSON(all []stack.Neighbour) []neighbourJSON {
	list := []neighbourJSON{}
	for _, e := range sorted(all) {
		j := neighbourJSON{Addr: netip.AddrFrom4(e.Addr).String(), Dev: e.Dev, State: e.State.String()}
		if e.MAC != ([6]byte{}) {
			j.LLAddr = mac(e.MAC)
		}
		list = append(list, j)
	}
	return list
}

func countersJSON(all []stack.Counter) map[string]uint64 {
	m := map[string]uint64{}
	for _, c := range all {
		m[c.Name] = c.Value
	}
	return m
}

// shown is what --neigh and --stat add to a JSON object; absent if not asked for.
type shown struct {
	Neighbours []neighbourJSON   `json:"neighbours,omitempty"`
	Counters   map[string]uint64 `json:"counters,omitempty"`
}

// shown collects what the flags ask for.
func (f *netFlags) shown(n *node.Node) (s shown) {
	if f.neigh {
		s.Neighbours = neighboursJSON(n.Stack.Neighbours())
	}
	if f.stat {
		s.Counters = countersJSON(counters(n))
	}
	return s
}

// show prints what --neigh and --stat ask for, as text.
func (f *netFlags) show(w io.Writer, n *node.Node) {
	if f.neigh {
		printNeighbours(w, n.Stack.Neighbours())
	}
	if f.stat {
		printCounters(w, counters(n))
	}
}

// A snapshot is what SIGUSR1 asks for: the groups that are joined, and of a stack of our
// own the neighbours and the counters.
type snapshot struct {
	Schema     int                `json:"schema"`
	Neighbours []neighbourJSON    `json:"neighbours,omitempty"` // out-of-band only, as Counters
	Counters   map[string]uint64  `json:"counters,omitempty"`   // all of them, by nstat's names
	Groups     []mcast.Membership `json:"groups"`
	Error      string             `json:"error,omitempty"` // why there are no groups
}

// showNow prints a snapshot to stderr, as text or as one line of JSON: at once, so that
// nothing that the command itself prints comes in between.
func (a *app) showNow(n *node.Node, asJSON bool) {
	var b bytes.Buffer
	groups, err := memberships(n)
	switch {
	case asJSON:
		s := snapshot{Schema: schema, Groups: append([]mcast.Membership{}, groups...)}
		if err != nil {
			s.Error = err.Error()
		}
		if !n.InBand() {
			s.Neighbours, s.Counters = neighboursJSON(n.Stack.Neighbours()), countersJSON(counters(n))
		}
		json.NewEncoder(&b).Encode(s)
	default:
		if !n.InBand() {
			printNeighbours(&b, n.Stack.Neighbours())
			printCounters(&b, counters(n))
		}
		if err != nil {
			fmt.Fprintln(&b, "outband:", err)
		}
		mcast.PrintGroups(&b, groups)
	}
	a.err.Write(b.Bytes())
}

// showOnSignal calls showNow at each SIGUSR1, until the returned function is
// called.
func (a *app) showOnSignal(n *node.Node, asJSON bool) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			a.showNow(n, asJSON)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
