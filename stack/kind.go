package stack

import (
	"math"
	"net/netip"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/port"
	"golang.org/x/sys/unix"
)

// A Socket is a datagram socket of a stack. There are four kinds, which are types: UDP,
// ping, raw and packet sockets. All embed an Endpoint, those of the Internet by way of an
// IPSocket:
//
//	UDPSocket  PingSocket  RawSocket
//	           IPSocket              PacketSocket
//	                      Endpoint
//
// All methods may be called by any goroutines at once. Errors are unix.Errno values, those
// of Linux' socket calls. BSD calls, options and flags are package sockapi's.
type Socket interface {
	// Base returns what the socket has whatever its kind.
	Base() *Endpoint

	Bind(local netip.AddrPort) error
	Connect(peer netip.AddrPort) error
	Disconnect() error
	LocalAddr() netip.AddrPort
	RemoteAddr() (peer netip.AddrPort, ok bool)
	Shutdown(how int) error

	Send(p []byte, flags int, deadline int64) error
	SendTo(p []byte, flags int, deadline int64, to netip.AddrPort) error
	SendMessages(msgs []OutMessage, flags int, deadline int64) (int, error)
	Recv(p []byte, flags int, deadline int64) (n int, info Info, err error)
	RecvMessages(msgs []Message, flags int, deadline int64) (int, error)

	Close() error
}

// kind is what differs between kinds of sockets in what the stack does with any. None
// of it is on the quick way of a datagram.
type kind interface {
	Socket
	senderKind

	// name is what SocketInfo has.
	name() string
	// ip returns the socket as one of the Internet, nil if it is none.
	ip() *IPSocket

	// linkDown returns what a send says whose link says ENETDOWN.
	linkDown() unix.Errno

	// headerLen is how many bytes of transport header stand before what is sent and
	// received.
	headerLen() int
	// hasIPHeader reports whether what is received begins with the IP header.
	hasIPHeader() bool
	// makeWarmup returns a frame like those that the socket receives; see receive.go.
	makeWarmup(gen uint32) *warmup

	// rebindLocked takes in that the socket is bound to another device. Endpoint.mu
	// and the locks of all lanes are held. Before that holdDeviceLocked tells whoever
	// holds its port, with the locks of no lane held.
	rebindLocked() unix.Errno
	holdDeviceLocked(index int32) unix.Errno
	// preferCPU is SetIncomingCPU's part.
	preferCPU(cpu int32)
	// leave takes a socket that is closed out of what it has entered.
	leave()
}

// transport is what differs between sockets of the Internet.
type transport interface {
	kind
	// limits are the shortest and the longest payload that a call takes, in bytes. One
	// that is too short is seen before its destination is looked at, one that is too
	// long after that, as on Linux.
	limits() (shortest, longest int)
	// collects reports whether MSG_MORE puts datagrams together.
	collects() bool

	// bindLocked is Bind once the address is known to be one. takePortLocked enters
	// the socket into its table, with a port of its own if port is 0, unless it has
	// what sending takes: portedLocked. Endpoint.mu is held.
	bindLocked(addr ipv4.Addr, port uint16) unix.Errno
	takePortLocked(addr ipv4.Addr, port uint16) unix.Errno
	portedLocked() bool
	// agreePeerLocked tells whoever holds the socket's port who its peer is to be, and
	// returns the local address for that, zero for any. Endpoint.mu is held.
	agreePeerLocked(p port.Peer) (local ipv4.Addr, e unix.Errno)
	// connectLocked and disconnectLocked have the socket receive from its peer only,
	// and from all again. Endpoint.mu is held, and for the former the locks of all lanes.
	// release, unless it is nil, is to be called once no lock is held.
	connectLocked(src, dst ipv4.Addr, port uint16) unix.Errno
	disconnectLocked() (release func())
	// errno returns what an ICMP error means.
	errno(typ, code uint8) (e unix.Errno, hard, ok bool)
	// quoted returns e, an error about a datagram, as the socket is told of it.
	quoted(e QueuedError, datagram []byte) QueuedError
}

// What follows are the steps of a send in which kinds differ. They are chosen by the
// type, and not called by an interface, so that a datagram's description stays on the
// sender's stack.

// buildSlow builds the frames of one datagram in tx.
func (k *Endpoint) buildSlow(tx *output.Buffer, o *outgoing, flags int) unix.Errno {
	if p, ok := k.kind.(*PacketSocket); ok {
		return p.sendFrame(tx, o)
	}
	return k.kind.ip().build(tx, o, flags)
}

// address completes what a datagram's path depends on. Endpoint.mu is held.
func (k *IPSocket) address(spec *output.Spec, o *outgoing) unix.Errno {
	switch t := k.transport.(type) {
	case *UDPSocket:
		return t.address(spec, o)
	case *RawSocket:
		return t.address(spec, o)
	}
	return 0
}

// sendAlong sends a datagram along a path that was just made.
func (k *IPSocket) sendAlong(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing) unix.Errno {
	switch t := k.transport.(type) {
	case *UDPSocket:
		return t.sendAlong(tx, p, spec, o)
	case *PingSocket:
		return t.sendAlong(tx, p, spec, o)
	default:
		return k.transport.(*RawSocket).sendAlong(tx, p, spec, o)
	}
}

// payload returns what comes behind the IP header, in a buffer of the pool's.
func (k *IPSocket) payload(p *output.Path, spec *output.Spec, o *outgoing) ([]byte, unix.Errno) {
	switch t := k.transport.(type) {
	case *UDPSocket:
		return t.payload(p, spec, o)
	case *PingSocket:
		return t.payload(spec, o)
	default:
		return k.transport.(*RawSocket).payload(o)
	}
}

// What the stack does with sockets of the Internet: see kind.

func (k *IPSocket) linkDown() unix.Errno { return k.lostDevice() }
func (k *IPSocket) hasIPHeader() bool    { return false }

func (k *IPSocket) makeWarmup(gen uint32) *warmup { return &warmup{gen: gen} }

func (k *IPSocket) unanswered(e QueuedError, datagram []byte) {
	k.icmpError(k.transport.quoted(e, datagram), false)
}

func (k *IPSocket) quoted(e QueuedError, _ []byte) QueuedError { return e }

func (k *IPSocket) build(tx *output.Buffer, o *outgoing, flags int) unix.Errno {
	if e := k.autobind(); e != 0 { // first, as on Linux
		return e
	}
	shortest, longest := k.transport.limits()
	switch {
	case o.n > math.MaxUint16:
		return unix.EMSGSIZE
	case flags&unix.MSG_OOB != 0:
		return unix.EOPNOTSUPP
	case o.n < shortest:
		return unix.EINVAL
	}
	if k.sendExtras.Has(option.TransmitTimes) {
		o.began = k.s.Monotonic()
	}
	if (flags&unix.MSG_MORE != 0 || k.sendExtras.Has(option.Corked|option.Held)) && k.transport.collects() {
		if done, e := k.collect(o, flags); e != 0 || !done {
			if e == 0 {
				tx.Sent = o.message + 1
			}
			return e
		}
	}
	key := k.pathKey.Load()
	spec, connected, e := k.spec(o, flags)
	if e != 0 {
		return e
	}
	if o.n > longest {
		return unix.EMSGSIZE
	}
	if o.opts != nil || flags&(unix.MSG_DONTROUTE|unix.MSG_CONFIRM) != 0 || !spec.Final.IsUnspecified() || spec.Self {
		return k.sendAside(tx, o, &spec, flags)
	}
	if connected {
		return k.sendToPeer(tx, o, &spec, key)
	}
	return k.sendTo(tx, o, &spec, key)
}

// sendable returns what keeps a datagram from being sent, whatever it is.
func (k *IPSocket) sendable(p *output.Path) unix.Errno {
	if e := k.errors.Take(); e != 0 {
		return e
	}
	if k.state.Load()&output.StateShutWrite != 0 {
		return unix.EPIPE
	}
	if !p.Dev.Info().State.Enabled() {
		return unix.ENETDOWN
	}
	return 0
}
