package sockapi

import (
	"sync"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/sockapi/internal/epoll"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
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
	st     *stack.Stack
	msgs   sync.Pool // of *batch
	polls  sync.Pool // of *pollCall
	naps   naps
	epolls *epoll.Group
}

// New returns the sockets of st.
func New(st *stack.Stack) *API {
	a := &API{st: st, epolls: epoll.NewGroup(st)} // in-band sockets need no stack
	a.msgs.New = func() any { return new(batch) }
	if st != nil {
		st.OnClose(a.naps.close)
	}
	return a
}

// Stack returns the stack whose sockets these are.
func (a *API) Stack() *stack.Stack { return a.st }

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
	s, err := a.openStack(domain, kind, proto)
	if err != nil {
		return nil, err
	}
	if typ&unix.SOCK_NONBLOCK != 0 {
		s.nonblock.Store(unix.MSG_DONTWAIT)
	}
	return &Socket{s, a}, nil
}

// openStack opens an out-of-band socket.
func (a *API) openStack(domain, typ, proto int) (*stackSocket, error) {
	var k stack.Socket
	var err error
	if domain == unix.AF_PACKET {
		k, err = a.openPacket(typ, proto)
		proto = 0 // what SO_PROTOCOL says
	} else {
		k, proto, err = a.openInet(typ, proto)
	}
	if err != nil {
		return nil, err
	}
	s := &stackSocket{State: option.State{Kind: option.Kind{Domain: domain, Typ: typ, Proto: proto}, Stack: a.st}, api: a}
	s.Open(k)
	s.outside.Init(s.K)
	if s.IsRaw() || proto == ipv4.ProtocolICMP {
		s.ReuseAddr.Store(true) // as Linux' raw and ping sockets begin
		s.Reuse()
	}
	return s, nil
}

// openInet opens an out-of-band AF_INET socket, and returns its protocol.
func (a *API) openInet(kind, proto int) (stack.Socket, int, error) {
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
	switch proto {
	case 0, ipv4.ProtocolUDP:
		k, err := a.st.NewUDPSocket()
		return k, ipv4.ProtocolUDP, err
	case ipv4.ProtocolICMP:
		k, err := a.st.NewPingSocket()
		return k, proto, err
	default:
		return nil, 0, unix.EPROTONOSUPPORT
	}
}
