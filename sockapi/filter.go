package sockapi

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// AttachFilter attaches a classic BPF program (SO_ATTACH_FILTER in socket(7)),
// out-of-band and in-band: it sees each datagram from its UDP or ICMP header on,
// and returns how many bytes to keep, 0 to drop it. A raw or packet socket's sees
// what the socket receives. All of Linux' extensions may be loaded: SKF_AD_OFF's,
// of which mark, queue and flow hash are 0 out-of-band, SKF_NET_OFF and SKF_LL_OFF,
// the last not of what came in fragments. EINVAL: not a program. EPERM: the filter
// is locked (SO_LOCK_FILTER).
func (s *Socket) AttachFilter(program []bpf.RawInstruction) error {
	if len(program) == 0 || len(program) > unix.BPF_MAXINSNS {
		return s.orClosed(unix.EINVAL)
	}
	return s.attachFilter(program)
}

// AttachReusePort sets the classic BPF program that chooses the member of the
// socket's SO_REUSEPORT group for each datagram (SO_ATTACH_REUSEPORT_CBPF in
// socket(7)), out-of-band and in-band: it sees the UDP payload, and returns the
// number of the member, in the order in which they were bound; when one leaves,
// the last takes its number. SO_DETACH_REUSEPORT_BPF takes the program away.
// EINVAL: not a program, or the socket was bound without SO_REUSEPORT. EPERM: the
// filter is locked (SO_LOCK_FILTER).
func (s *Socket) AttachReusePort(program []bpf.RawInstruction) error {
	if len(program) == 0 || len(program) > unix.BPF_MAXINSNS {
		return s.orClosed(unix.EINVAL)
	}
	return s.attachReusePort(program)
}
