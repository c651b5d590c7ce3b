package follow

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Neighbour is an entry of the kernel's ARP table.
type Neighbour struct {
	Device int32
	Addr   [4]byte
	MAC    [6]byte // zero while it is not known
	State  State
}

// A State is a neighbour's state (ip-neighbour(8), linux/neighbour.h: NUD_REACHABLE and
// so on).
type State uint16

// Permanent reports whether only the administrator changes the entry.
func (s State) Permanent() bool { return s&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 }

// Failed reports whether the neighbour did not answer, or that the entry is to go.
func (s State) Failed() bool { return s&unix.NUD_FAILED != 0 }

// Known reports whether the entry's hardware address is good to use, if only until it is
// confirmed or refuted (STALE).
func (s State) Known() bool {
	return s&(unix.NUD_PERMANENT|unix.NUD_NOARP|unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE) != 0
}

// Neighbours returns the kernel's IPv4 neighbours, groups and broadcasts left out.
func (k *Kernel) Neighbours() ([]Neighbour, error) {
	k.dumping.Lock()
	defer k.dumping.Unlock()
	if k.dumper == nil {
		return nil, unix.ENETDOWN
	}
	all, errno := k.dumper.neighbours()
	if errno != 0 {
		return nil, errno
	}
	return all, nil
}

func (s *socket) neighbours() (all []Neighbour, errno unix.Errno) {
	for range dumpTries {
		all = nil
		w, neigh := s.begin(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, unix.SizeofNdMsg)
		neigh[0] = unix.AF_INET
		errno = s.dump(w.end(), func(m message) {
			if n, ok := parseNeighbour(m); ok {
				all = append(all, n)
			}
		})
		if errno != unix.EINTR {
			return all, errno
		}
	}
	return all, 0
}

// parseNeighbour reads struct ndmsg and its attributes.
func parseNeighbour(m message) (n Neighbour, ok bool) {
	if m.kind != unix.RTM_NEWNEIGH && m.kind != unix.RTM_DELNEIGH || len(m.data) < unix.SizeofNdMsg || m.data[0] != unix.AF_INET {
		return n, false
	}
	n = Neighbour{Device: int32(native.Uint32(m.data[4:])), State: State(native.Uint16(m.data[8:]))}
	attrs := m.attributes(unix.SizeofNdMsg)
	for kind, v, ok := attrs.next(); ok; kind, v, ok = attrs.next() {
		switch kind {
		case unix.NDA_DST:
			n.Addr = v.addr()
		case unix.NDA_LLADDR:
			n.MAC = v.mac()
		}
	}
	const multicast = 0xe0 // and above: broadcasts
	return n, n.Addr[0] != 0 && n.Addr[0] < multicast
}

// A deletion tells the administrator's changes of neighbours from the kernel's ageing.
//
// A deletion by netlink is a message that the entry has FAILED, with the number of the
// administrator's socket, and then RTM_DELNEIGH. By ioctl (arp(8)) there is no such number,
// but the one comes right behind the other. When the kernel itself gives an entry up,
// RTM_DELNEIGH comes seconds later, or without FAILED.
type deletion struct {
	failed Neighbour
	at     time.Time
}

// deletionTime is the time within which FAILED and RTM_DELNEIGH are one deletion.
const deletionTime = 10 * time.Millisecond

// told reports whether a message about a neighbour is to be told, and whether it says
// that it is gone.
func (d *deletion) told(m message, n Neighbour, now time.Time) (tell, gone bool) {
	last := *d
	*d = deletion{}
	switch {
	case m.kind == unix.RTM_DELNEIGH:
		same := last.failed.Device == n.Device && last.failed.Addr == n.Addr
		gone = n.State.Permanent() || same && now.Sub(last.at) < deletionTime
		return gone, gone
	case m.port != 0:
		return true, n.State.Failed()
	case n.State.Failed():
		*d = deletion{n, now}
		return false, false
	}
	return n.State.Permanent(), false
}
