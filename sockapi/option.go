package sockapi

import (
	"encoding/binary"
	"time"

	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/sockapi/internal/snapshot"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Options of raw(7) (linux/icmp.h; ip(7)).
const (
	// ICMP_FILTER is a bit for each type of ICMP message that is not received:
	// 4 bytes in the machine's order.
	ICMP_FILTER = 1
)

// SO_OOB_PATH is an option of SOL_SOCKET, to read only: how the socket's datagrams go to
// its peer, or, without one, come to the address that it is bound to. Two ints: one of
// OOB_PATH_*, and the index of the device, 0 if that depends on the datagram.
const SO_OOB_PATH = option.PathOOB

// The ways of SO_OOB_PATH.
const (
	OOB_PATH_INBAND = option.PathInBand // the kernel's stack: the socket is in-band
	OOB_PATH_HOLDER = option.PathHolder // out-of-band, brought and taken by in-band sockets (package shared)
	OOB_PATH_RING   = option.PathRing   // out-of-band, by a link
)

// Setsockopt sets an option (setsockopt(2)). The value is in the machine's byte
// order. EINVAL: too short, or not a value that it takes. ENOPROTOOPT: no such
// option, or one that cannot be set.
func (s *Socket) Setsockopt(level, name int, value []byte) error {
	return s.setsockopt(level, name, value)
}

// Getsockopt stores an option's value in value, as much as fits, and returns
// its length (getsockopt(2)). ENOPROTOOPT: no such option.
func (s *Socket) Getsockopt(level, name int, value []byte) (int, error) {
	return s.getsockopt(level, name, value)
}

// SetsockoptInt sets an option whose value is an int.
func (s *Socket) SetsockoptInt(level, name, v int) error {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(v))
	return s.Setsockopt(level, name, b[:])
}

// GetsockoptInt returns an option whose value is an int.
func (s *Socket) GetsockoptInt(level, name int) (int, error) {
	var b [4]byte
	if _, err := s.Getsockopt(level, name, b[:]); err != nil {
		return 0, err
	}
	return int(int32(binary.NativeEndian.Uint32(b[:]))), nil
}

// SetsockoptTimeval sets SO_RCVTIMEO or SO_SNDTIMEO; 0 waits without end.
func (s *Socket) SetsockoptTimeval(level, name int, d time.Duration) error {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], uint64(d/time.Second))
	binary.NativeEndian.PutUint64(b[8:], uint64(d%time.Second/time.Microsecond))
	return s.Setsockopt(level, name, b[:])
}

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

func (s *stackSocket) snapshot() ([]byte, error) {
	fresh, err := s.api.openStack(s.Domain, s.Typ, s.asked())
	if err != nil {
		return nil, s.orClosed(err)
	}
	defer fresh.close()
	if s.K.Closed() {
		return nil, unix.EBADF
	}
	shot := snapshot.Snapshot{Kind: s.Kind, Nonblock: s.nonblock.Load() != 0, Settings: s.Settings(&fresh.State)}
	shot.Kind.Proto = s.asked()
	switch {
	case s.IsPacket():
		shot.Bound = s.packetName().Raw()
	default:
		if local := s.IP.Bound(); local.Port() != 0 || !local.Addr().IsUnspecified() {
			shot.Bound = InetAddrPort(local).Raw()
		}
		if peer, ok := s.Socket.RemoteAddr(); ok {
			shot.Peer = InetAddrPort(peer).Raw()
		}
	}
	return shot.Append(nil), nil
}

// asked is the protocol that the socket was opened for.
func (s *stackSocket) asked() int {
	if s.IsPacket() {
		return 0 // what it is bound to says it
	}
	return s.Proto
}

// Restore opens a socket like one whose Snapshot it is given. Errors are those of the calls
// that it makes, the first that fails; EINVAL: what it is given is no snapshot. ENETDOWN: the
// stack is closed.
func (a *API) Restore(b []byte) (*Socket, error) {
	if a.st.Closed() {
		return nil, unix.ENETDOWN
	}
	shot, ok := snapshot.Parse(b)
	if !ok {
		return nil, unix.EINVAL
	}
	typ := shot.Kind.Typ | SOCK_OOB
	if shot.Nonblock {
		typ |= unix.SOCK_NONBLOCK
	}
	s, err := a.Socket(shot.Kind.Domain, typ, shot.Kind.Proto)
	if err != nil {
		return nil, err
	}
	if err = s.backend.(*stackSocket).Apply(shot.Settings); err == nil && shot.Bound != nil {
		err = s.Bind(ParseSockaddr(shot.Bound))
	}
	if err == nil && shot.Peer != nil {
		err = s.Connect(ParseSockaddr(shot.Peer))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
