package membership

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"
)

// A Mode says how a filter's sources are meant (ip(7)).
type Mode uint32

const (
	Exclude Mode = unix.MCAST_EXCLUDE // all sources but those listed
	Include Mode = unix.MCAST_INCLUDE // the sources listed, and no others
)

// A Filter is what is wanted of a group (RFC 3376 section 3). Exclude without sources is
// a plain membership.
type Filter struct {
	Mode    Mode
	Sources [][4]byte
}

// NotMember wants nothing of a group.
var NotMember = Filter{Mode: Include}

// member reports whether the filter wants anything.
func (f Filter) member() bool { return f.Mode == Exclude || len(f.Sources) > 0 }

func (f Filter) equal(o Filter) bool { return f.Mode == o.Mode && slices.Equal(f.Sources, o.Sources) }

// normal returns the filter with a copy of its sources, in order and each once.
func (f Filter) normal() Filter {
	f.Sources = slices.Clone(f.Sources)
	slices.SortFunc(f.Sources, func(a, b [4]byte) int { return bytes.Compare(a[:], b[:]) })
	f.Sources = slices.Compact(f.Sources)
	return f
}

// plan returns what the parts of a group are to be so that together they are a filter, and
// behind them what further ones are: the kernel takes at most max sources for one
// membership, but adds up those of several. A source stays in its part. A filter of mode
// Exclude cannot be split: if it is too long, the kernel says so.
func plan(parts []part, f Filter, max int) []Filter {
	wanted := make([]Filter, len(parts), len(parts)+1)
	for i := range wanted {
		wanted[i] = NotMember
	}
	if f.Mode == Exclude {
		if len(wanted) == 0 {
			return append(wanted, f)
		}
		wanted[0] = f
		return wanted
	}
	left := slices.Clone(f.Sources)
	for i, p := range parts {
		if p.filter.Mode == Exclude {
			continue
		}
		for _, s := range p.filter.Sources {
			if at := slices.Index(left, s); at >= 0 {
				wanted[i].Sources = append(wanted[i].Sources, s)
				left = slices.Delete(left, at, at+1)
			}
		}
	}
	for i := 0; len(left) > 0; i++ {
		if i == len(wanted) {
			wanted = append(wanted, NotMember)
		}
		n := min(len(left), max-len(wanted[i].Sources))
		wanted[i].Sources = append(wanted[i].Sources, left[:n]...)
		left = left[n:]
	}
	for i := range wanted {
		wanted[i] = wanted[i].normal()
	}
	return wanted
}
