package sockapi

import (
	"golang.org/x/sys/unix"

	privileges "github.com/outband/outband/inband"
	"github.com/outband/outband/stack"
)

// What goes along with a frame is for the kernel below the link to look at, which
// is why Linux asks for a privilege: a mark may pass a packet filter by.

// prioInteractive is the highest priority that anybody may set (TC_PRIO_INTERACTIVE).
const prioInteractive = 6

// mayTag reports whether the calling thread may set marks and every priority.
func mayTag() bool {
	return privileges.HasCapability(unix.CAP_NET_RAW) || privileges.HasCapability(unix.CAP_NET_ADMIN)
}

// mayHavePriority reports whether the calling thread may set a priority
// (sk_set_prio_allowed in Linux).
func mayHavePriority(p int) bool { return p >= 0 && p <= prioInteractive || mayTag() }

// soRcvPriority is SO_RCVPRIORITY (asm-generic/socket.h, Linux 6.14).
const soRcvPriority = 82

// receiveMark is SO_RCVMARK, receivePriority SO_RCVPRIORITY: what a datagram was
// sent with, if it comes from this host. What came by a ring has 0 of both, as in
// the kernel before any packet filter.
var (
	receiveMark = integer(
		func(s *stackSocket) int { return boolInt(s.wants.Load()&wantMark != 0) },
		func(s *stackSocket, v int) error {
			if !mayTag() {
				return unix.EPERM
			}
			s.want(wantMark, v != 0)
			keepTags(s, v != 0)
			return nil
		})
	receivePriority = wanted(wantPriority, keepTags)
)

func keepTags(s *stackSocket, _ bool) {
	s.k.SetKeepMetadata(s.wants.Load()&(wantMark|wantPriority) != 0)
}

// putTags stores the control messages that SO_RCVMARK and SO_RCVPRIORITY ask for.
func putTags(w *controlWriter, in *stack.Info, wants uint32) {
	var x stack.Extra
	if in.Extra != nil {
		x = *in.Extra
	}
	if wants&wantMark != 0 {
		w.putInt(unix.SOL_SOCKET, unix.SO_MARK, int(x.Mark))
	}
	if wants&wantPriority != 0 {
		w.putInt(unix.SOL_SOCKET, unix.SO_PRIORITY, int(x.Priority))
	}
}

func (s *stackSocket) setPriority(p int) error {
	if !mayHavePriority(p) {
		return unix.EPERM
	}
	s.k.SetPriority(uint32(p))
	return nil
}

func (s *stackSocket) setMark(mark int) error {
	if !mayTag() {
		return unix.EPERM
	}
	s.k.SetMark(uint32(mark))
	return nil
}
