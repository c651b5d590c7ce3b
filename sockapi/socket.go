package sockapi

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// SOCK_OOB is the flag in a socket's type that makes it out-of-band, with the
// value that EVL gives it (O_OOB).
const SOCK_OOB = 0o10000000000

// Limits of a socket's type and protocol, of linux/net.h and linux/in.h.
const (
	typeMask    = 0xf // SOCK_TYPE_MASK: what is above are flags
	maxType     = 11  // SOCK_MAX
	maxProtocol = 263 // IPPROTO_MAX
)

// An API opens sockets of one stack.
type API struct {
	st   *stack.Stack
	msgs sync.Pool // of *batch
	// nestMu is held while Epolls change how they are inside one another.
	nestMu sync.Mutex
	polls  sync.Pool // of *pollCall
	open   openEpolls
}

// New returns the sockets of st.
func New(st *stack.Stack) *API {
	a := &API{st: st}
	a.msgs.New = func() any { return new(batch) }
	if st != nil { // in-band sockets need none
		st.OnClose(a.open.closeAll)
	}
	return a
}

// Stack returns the stack whose sockets these are.
func (a *API) Stack() *stack.Stack { return a.st }

// A Socket is one socket, out-of-band or in-band. See the package comment.
type Socket struct {
	api    *API
	oob    *stack.Socket // nil: in-band
	kernel *kernelSocket

	domain, typ, proto int
	nonblock           atomic.Int32 // unix.MSG_DONTWAIT or 0
	rcvTimeout         atomic.Int64 // nanoseconds, 0: none
	sndTimeout         atomic.Int64
	wants              atomic.Uint32 // control messages, see control.go
	timestamping       atomic.Uint32 // SOF_TIMESTAMPING_*
	oobTimes           atomic.Uint32 // EVL_SOF_TIMESTAMP_*
	lastTime           atomic.Int64  // of the last datagram with a time stamp
	filterLocked       atomic.Bool   // SO_LOCK_FILTER
	filter             atomic.Pointer[[]bpf.RawInstruction]
	stored             stored // options that Linux only keeps for such sockets
	reuseAddr          atomic.Bool
	reusePort          atomic.Bool

	pollFD    pollFD
	takers    takers
	async     async
	elsewhere atomic.Int32 // see waitElsewhere
	status    atomic.Int32 // flags of F_SETFL that are only kept
	stamp     stamp
	origDev   atomic.Bool // PACKET_ORIGDEV
}

// Socket opens a socket (socket(2)). typ takes SOCK_OOB, unix.SOCK_NONBLOCK
// and unix.SOCK_CLOEXEC. Out-of-band there are
//
//   - AF_INET/SOCK_DGRAM sockets of UDP (protocol 0 or IPPROTO_UDP) and of ICMP
//     echo (IPPROTO_ICMP, see icmp(7));
//   - AF_INET/SOCK_RAW sockets of any protocol (raw(7));
//   - AF_PACKET/SOCK_RAW and SOCK_DGRAM sockets (packet(7)), whose protocol is an
//     EtherType in network byte order: see HTONS. They see what the stack's links
//     bring; a tpacket link is told of EtherTypes beyond IPv4 and ARP when it is
//     opened (tpacket.Options), and of frames to other hosts by
//     PACKET_ADD_MEMBERSHIP.
//
// No privilege is asked for: the stack is the process's own. What goes to the
// kernel with the frames, marks and priorities above 6, needs CAP_NET_RAW or
// CAP_NET_ADMIN as on Linux.
//
// Errors: EAFNOSUPPORT, ESOCKTNOSUPPORT and EPROTONOSUPPORT for what there is
// not, EINVAL for what there cannot be, ENETDOWN if the stack is closed.
func (a *API) Socket(domain, typ, proto int) (*Socket, error) {
	if typ&SOCK_OOB == 0 {
		return a.openKernel(domain, typ, proto)
	}
	kind := typ &^ (SOCK_OOB | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC)
	switch { // in Linux' order
	case kind&^typeMask != 0:
		return nil, unix.EINVAL
	case domain < 0 || domain >= unix.AF_MAX:
		return nil, unix.EAFNOSUPPORT
	case kind >= maxType:
		return nil, unix.EINVAL
	case domain != unix.AF_INET && domain != unix.AF_PACKET:
		return nil, unix.EAFNOSUPPORT
	}
	var k *stack.Socket
	var err error
	if domain == unix.AF_PACKET {
		k, err = a.openPacket(kind, proto)
		proto = 0 // what SO_PROTOCOL says
	} else {
		k, proto, err = a.openInet(kind, proto)
	}
	if err != nil {
		return nil, err
	}
	s := &Socket{api: a, oob: k, domain: domain, typ: kind, proto: proto}
	if s.isRaw() || proto == ipv4.ProtocolICMP {
		s.reuseAddr.Store(true) // as Linux' raw and ping sockets begin
		k.SetReuse(true, false)
	}
	if typ&unix.SOCK_NONBLOCK != 0 {
		s.nonblock.Store(unix.MSG_DONTWAIT)
	}
	return s, nil
}

// openInet opens an out-of-band AF_INET socket, and returns its protocol.
func (a *API) openInet(kind, proto int) (*stack.Socket, int, error) {
	if proto < 0 || proto >= maxProtocol {
		return nil, 0, unix.EINVAL
	}
	switch kind {
	case unix.SOCK_DGRAM:
	case unix.SOCK_RAW:
		k, err := a.st.NewRawSocket(proto)
		return k, proto, err
	default:
		return nil, 0, unix.ESOCKTNOSUPPORT
	}
	if proto == 0 {
		proto = unix.IPPROTO_UDP
	}
	if proto != ipv4.ProtocolUDP && proto != ipv4.ProtocolICMP {
		return nil, 0, unix.EPROTONOSUPPORT
	}
	k, err := a.st.NewSocket(uint8(proto))
	return k, proto, err
}

// OutOfBand reports whether the socket is the stack's.
func (s *Socket) OutOfBand() bool { return s.oob != nil }

// orClosed returns EBADF if the socket is closed, before whatever else is wrong with
// a call, and else err.
func (s *Socket) orClosed(err error) error {
	if s.oob == nil && s.kernel.calls.Load() >= closing || s.oob != nil && s.oob.Closed() {
		return unix.EBADF
	}
	return err
}

// SetNonblock sets or clears O_NONBLOCK.
func (s *Socket) SetNonblock(on bool) error {
	if s.oob == nil {
		return s.kernel.setNonblock(on)
	}
	if s.oob.Closed() {
		return unix.EBADF
	}
	v := int32(0)
	if on {
		v = unix.MSG_DONTWAIT
	}
	s.nonblock.Store(v)
	return nil
}

// Bind gives the socket a local address (bind(2)). EADDRINUSE, EADDRNOTAVAIL,
// EINVAL (bound already), EAFNOSUPPORT.
func (s *Socket) Bind(local Sockaddr) error {
	if s.oob == nil {
		return s.kernel.bind(local)
	}
	switch {
	case s.isPacket():
		return s.bindPacket(local)
	case s.isRaw():
		return s.bindRaw(local)
	case local.Family == unix.AF_INET:
	case local.Family == unix.AF_UNSPEC && local.IP4() == [4]byte{}:
		// Linux' inet_bind takes AF_UNSPEC for AF_INET with the zero address.
		local = Inet4([4]byte{}, local.Port)
	default:
		return s.orClosed(local.notInet())
	}
	return s.oob.Bind(local.AddrPort())
}

// Connect sets the peer (connect(2)); a Sockaddr of AF_UNSPEC, the zero one,
// dissolves the association.
func (s *Socket) Connect(peer Sockaddr) error {
	if s.oob == nil {
		return s.kernel.connect(peer)
	}
	if s.isPacket() {
		return s.notForPacket()
	}
	switch peer.Family {
	case unix.AF_UNSPEC:
		return s.oob.Disconnect()
	case unix.AF_INET:
		return s.oob.Connect(peer.AddrPort())
	default:
		return s.orClosed(peer.notInet())
	}
}

// Getsockname returns the local address (getsockname(2)).
func (s *Socket) Getsockname() (Sockaddr, error) {
	if s.oob == nil {
		return s.kernel.getsockname()
	}
	if s.oob.Closed() {
		return Sockaddr{}, unix.EBADF
	}
	if s.isPacket() {
		return s.packetName(), nil
	}
	return InetAddrPort(s.oob.LocalAddr()), nil
}

// Getpeername returns the peer (getpeername(2)): ENOTCONN if there is none.
func (s *Socket) Getpeername() (Sockaddr, error) {
	if s.oob == nil {
		return s.kernel.getpeername()
	}
	if s.isPacket() {
		return Sockaddr{}, s.notForPacket()
	}
	if s.oob.Closed() {
		return Sockaddr{}, unix.EBADF
	}
	peer, ok := s.oob.RemoteAddr()
	if !ok {
		return Sockaddr{}, unix.ENOTCONN
	}
	return InetAddrPort(peer), nil
}

// Shutdown ends receiving (unix.SHUT_RD), sending (SHUT_WR) or both
// (SHUT_RDWR), and wakes who waits (shutdown(2)). ENOTCONN without a peer.
func (s *Socket) Shutdown(how int) error {
	if s.oob == nil {
		return s.kernel.shutdown(how)
	}
	if s.isPacket() {
		return s.notForPacket()
	}
	return s.oob.Shutdown(how)
}

// Close ends the socket. Calls that wait on it return EBADF.
func (s *Socket) Close() error {
	if s.oob == nil {
		return s.kernel.close()
	}
	defer s.pollFD.close()
	return s.oob.Close()
}

// deadline returns when a call with this time-out ends.
func (s *Socket) deadline(timeout *atomic.Int64) int64 {
	if t := timeout.Load(); t != 0 {
		return s.api.st.Deadline(time.Duration(t))
	}
	return stack.NoDeadline
}
