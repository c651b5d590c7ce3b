package tpacket

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// modeKinds are the memberships of packet(7) that modes are.
var modeKinds = [link.Modes]struct {
	name string
	kind uint16
}{
	link.Promiscuous:  {"promiscuous mode", unix.PACKET_MR_PROMISC},
	link.AllMulticast: {"all groups", unix.PACKET_MR_ALLMULTI},
}

// filters are the programs of the ring's socket: the usual one, and the one that
// lets frames to other hosts pass.
type filters struct{ usual, promiscuous []bpf.RawInstruction }

// AddMode has the device receive more than what is for the link, until DropMode
// was called as often. In promiscuous mode the default filter lets frames to other
// hosts pass; [Options.Filter] stays as it is. While the device is gone, it is
// noted for the next. Errors: EINVAL (no such mode), ENETDOWN (closed).
func (l *Link) AddMode(m link.Mode) error {
	if m >= link.Modes {
		return unix.EINVAL
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return unix.ENETDOWN
	}
	if l.modes[m] == 0 {
		if err := l.memberLocked(unix.PACKET_ADD_MEMBERSHIP, modeKinds[m].kind, nil); err != nil {
			return err
		}
		if m == link.Promiscuous {
			if err := attachFilter(l.rx.fd, l.filters.promiscuous); err != nil {
				_ = l.memberLocked(unix.PACKET_DROP_MEMBERSHIP, modeKinds[m].kind, nil) // the first error says it
				return err
			}
		}
	}
	l.modes[m]++
	return nil
}

// DropMode undoes one AddMode. EADDRNOTAVAIL: the mode is not on.
func (l *Link) DropMode(m link.Mode) error {
	if m >= link.Modes {
		return unix.EINVAL
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed.Load():
		return unix.ENETDOWN
	case l.modes[m] == 0:
		return unix.EADDRNOTAVAIL
	}
	if l.modes[m]--; l.modes[m] > 0 {
		return nil
	}
	var err error
	if m == link.Promiscuous {
		err = attachFilter(l.rx.fd, l.filters.usual)
	}
	if e := l.memberLocked(unix.PACKET_DROP_MEMBERSHIP, modeKinds[m].kind, nil); err == nil {
		err = e
	}
	return err
}
