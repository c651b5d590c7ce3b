package igmp

import "github.com/outband/outband/ipv4"

// A Mode says how a filter's sources are meant, with Linux' values (ip(7),
// MCAST_INCLUDE and MCAST_EXCLUDE).
type Mode uint8

// The modes.
const (
	Exclude Mode = 0 // all sources but those listed
	Include Mode = 1 // the sources listed, and no others
)

// String returns the mode as RFC 3376 writes it.
func (m Mode) String() string {
	if m == Exclude {
		return "EXCLUDE"
	}
	return "INCLUDE"
}

// A Filter is what one socket wants to receive of one group (RFC 3376 section 3.1).
// Sources ascend, and none is there twice. Exclude with no sources is a plain join;
// Include with no sources is no membership. Note that the zero Filter is a plain join:
// [NotMember] is the other.
type Filter struct {
	Mode    Mode
	Sources []ipv4.Addr
}

// NotMember is the filter of a socket that is not a member of the group.
var NotMember = Filter{Mode: Include}

// isMember reports whether the filter lets anything through.
func (f Filter) isMember() bool { return f.Mode == Exclude || len(f.Sources) > 0 }

// excludes returns 1 if the filter is one of mode EXCLUDE.
func (f Filter) excludes() int {
	if f.Mode == Exclude {
		return 1
	}
	return 0
}

// difference calls remove for the sources that are in old only, or there with
// another meaning, and add for those of new.
func difference(old, new Filter, remove, add func(k uint32)) {
	a, b := old.Sources, new.Sources
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Uint32() < b[0].Uint32():
			remove(a[0].Uint32())
			a = a[1:]
		case len(a) == 0 || b[0].Uint32() < a[0].Uint32():
			add(b[0].Uint32())
			b = b[1:]
		default:
			if old.Mode != new.Mode {
				remove(a[0].Uint32())
				add(b[0].Uint32())
			}
			a, b = a[1:], b[1:]
		}
	}
}
