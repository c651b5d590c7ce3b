package option

import (
	"golang.org/x/sys/unix"

	privileges "github.com/outband/outband/inband"
)

// What goes along with a frame is for the kernel below the link to look at, which
// is why Linux asks for a privilege: a mark may pass a packet filter by.

// prioInteractive is the highest priority that anybody may set (TC_PRIO_INTERACTIVE).
const prioInteractive = 6

// MayMark reports whether the calling thread may set marks and every priority.
func MayMark() bool {
	return privileges.HasCapability(unix.CAP_NET_RAW) || privileges.HasCapability(unix.CAP_NET_ADMIN)
}

// MayHavePriority reports whether the calling thread may set a priority
// (sk_set_prio_allowed in Linux).
func MayHavePriority(p int) bool { return p >= 0 && p <= prioInteractive || MayMark() }

// soRcvPriority is SO_RCVPRIORITY (asm-generic/socket.h, Linux 6.14).
const soRcvPriority = 82

// receiveMark is SO_RCVMARK, receivePriority SO_RCVPRIORITY: what a datagram was
// sent with, if it comes from this host. What came by a ring has 0 of both, as in
// the kernel before any packet filter. Neither needs a privilege.
var (
	receiveMark     = wanted(WantMark, keepMetadata)
	receivePriority = wanted(WantPriority, keepMetadata)
)

func keepMetadata(s *State, _ bool) {
	s.K.Receiving().SetKeepMetadata(s.Wants.Load()&(WantMark|WantPriority) != 0)
}

func (s *State) setPriority(p int) error {
	if !MayHavePriority(p) {
		return unix.EPERM
	}
	s.K.Sending().SetPriority(uint32(p))
	return nil
}

func (s *State) setMark(mark int) error {
	if !MayMark() {
		return unix.EPERM
	}
	s.K.Sending().SetMark(uint32(mark))
	return nil
}
