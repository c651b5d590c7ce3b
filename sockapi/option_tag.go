package sockapi

import (
	"golang.org/x/sys/unix"

	privileges "github.com/outband/outband/inband"
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

func (s *Socket) setPriority(p int) error {
	if !mayHavePriority(p) {
		return unix.EPERM
	}
	s.oob.SetPriority(uint32(p))
	return nil
}

func (s *Socket) setMark(mark int) error {
	if !mayTag() {
		return unix.EPERM
	}
	s.oob.SetMark(uint32(mark))
	return nil
}
