package option

import (
	"sync/atomic"

	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A Kind is what socket(2) was asked for, without the type's flags.
type Kind struct{ Domain, Typ, Proto int }

// Is returns k, for what embeds it.
func (k Kind) Is() Kind { return k }

// IsPacket reports whether the socket is an AF_PACKET one.
func (k Kind) IsPacket() bool { return k.Domain == unix.AF_PACKET }

// IsRaw reports whether the socket is an Internet one of SOCK_RAW.
func (k Kind) IsRaw() bool { return k.Typ == unix.SOCK_RAW && k.Domain == unix.AF_INET }

// IsUDP reports whether the socket is a UDP one.
func (k Kind) IsUDP() bool { return k.Typ == unix.SOCK_DGRAM && k.Proto == unix.IPPROTO_UDP }

// IsPing reports whether the socket is a ping socket.
func (k Kind) IsPing() bool { return k.Typ == unix.SOCK_DGRAM && k.Proto == unix.IPPROTO_ICMP }

// A State is what the options of an out-of-band socket say. The stack's socket has
// most of them.
type State struct {
	Kind
	Stack *stack.Stack
	// Socket is the stack's socket, and K what it has whatever its kind. Of the others
	// those are not nil that it is too.
	Socket stack.Socket
	K      *stack.Endpoint
	IP     *stack.IPSocket
	UDP    *stack.UDPSocket
	Raw    *stack.RawSocket
	Packet *stack.PacketSocket
	Ports  Ports

	RcvTimeout   atomic.Int64 // nanoseconds, 0: none
	SndTimeout   atomic.Int64
	Wants        atomic.Uint32 // control messages: Want*
	Timestamping atomic.Uint32 // SOF_TIMESTAMPING_*
	OobTimes     atomic.Uint32 // EVL_SOF_TIMESTAMP_*
	filterLocked atomic.Bool   // SO_LOCK_FILTER
	filter       atomic.Pointer[[]bpf.RawInstruction]
	stored       stored // options that Linux only keeps for such sockets
	ReuseAddr    atomic.Bool
	reusePort    atomic.Bool
	origDev      atomic.Bool // PACKET_ORIGDEV
}

// stored are options that Linux keeps for a datagram socket and that have no
// effect on one: programs may set and read them.
type stored struct {
	rcvlowat, keepalive, oobinline, debug, minTTL, noCheck6TX, noCheck6RX atomic.Int32
	linger                                                                atomic.Uint64
}

// Ports are what sockets with ports have: UDP sockets and, in the stack, ping sockets.
type Ports interface {
	SetReuse(addr, port bool)
	AttachReusePort(program []bpf.RawInstruction) error
	DetachReusePort() error
}

// Open makes k the socket of the state.
func (s *State) Open(k stack.Socket) {
	s.Socket, s.K = k, k.Base()
	switch k := k.(type) {
	case *stack.UDPSocket:
		s.UDP, s.IP, s.Ports = k, &k.IPSocket, k
	case *stack.PingSocket:
		s.IP, s.Ports = &k.IPSocket, k
	case *stack.RawSocket:
		s.Raw, s.IP = k, &k.IPSocket
	case *stack.PacketSocket:
		s.Packet = k
	}
}

// Reuse has the stack's socket take SO_REUSEADDR and SO_REUSEPORT in. Those without
// ports have nothing to share.
func (s *State) Reuse() {
	if s.Ports != nil {
		s.Ports.SetReuse(s.ReuseAddr.Load(), s.reusePort.Load())
	}
}
