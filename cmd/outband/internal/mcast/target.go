package mcast

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Target is a group to receive: from any source, or from those named alone.
type Target struct {
	Group   netip.AddrPort
	Sources []netip.Addr
}

// String returns the target as ParseTargets reads it.
func (t Target) String() string {
	if len(t.Sources) == 0 {
		return t.Group.String()
	}
	words := make([]string, len(t.Sources))
	for i, s := range t.Sources {
		words[i] = s.String()
	}
	return fmt.Sprintf("%s@%s:%d", t.Group.Addr(), strings.Join(words, ","), t.Group.Port())
}

// ParseTargets reads GROUP:PORT and GROUP@SOURCE[,SOURCE...]:PORT. Targets of one
// group and port become one, with the sources of all.
func ParseTargets(args []string) ([]Target, error) {
	var all []Target
	at := map[netip.AddrPort]int{}
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return nil, err
		}
		i, there := at[t.Group]
		switch {
		case !there:
			at[t.Group] = len(all)
			all = append(all, t)
		case (len(all[i].Sources) == 0) != (len(t.Sources) == 0):
			return nil, fmt.Errorf("%s is asked for from any source, and from one", t.Group)
		default:
			for _, s := range t.Sources {
				if !slices.Contains(all[i].Sources, s) {
					all[i].Sources = append(all[i].Sources, s)
				}
			}
		}
	}
	return all, nil
}

func parseTarget(arg string) (t Target, err error) {
	group, rest, sourced := strings.Cut(arg, "@")
	if sourced {
		list, port, _ := strings.Cut(rest, ":")
		group += ":" + port
		for word := range strings.SplitSeq(list, ",") {
			s, err := netip.ParseAddr(word)
			if err != nil || !s.Is4() || s.IsMulticast() || s.IsUnspecified() {
				return t, fmt.Errorf("%q: %q is not the IPv4 address of a source", arg, word)
			}
			t.Sources = append(t.Sources, s)
		}
	}
	t.Group, err = ParseGroup(group)
	if err != nil {
		return t, fmt.Errorf("%q is not an IPv4 group and a port, such as 239.1.1.1:5000 or 232.1.1.1@10.9.0.2:5000", arg)
	}
	return t, nil
}

// ParseGroup reads GROUP:PORT.
func ParseGroup(arg string) (netip.AddrPort, error) {
	g, err := netip.ParseAddrPort(arg)
	if err != nil || !g.Addr().Is4() || !g.Addr().IsMulticast() || g.Port() == 0 {
		return g, fmt.Errorf("%q is not an IPv4 group and a port, such as 239.1.1.1:5000", arg)
	}
	return g, nil
}
