package stack

import (
	"bytes"
	"net/netip"
	"sync/atomic"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/port"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// An IPSocket is what the sockets of the Internet have in common: addresses, a peer,
// paths, groups, options of IP (ip(7)).
type IPSocket struct {
	Endpoint
	transport transport
	proto     uint8 // in the IP header of what is sent

	binding   option.Binding
	unicastIf atomic.Int32 // IP_UNICAST_IF
	multicast Multicast
	corked    corked
	sendsBy   sendDevices

	ttl         atomic.Int32 // -1: the stack's default
	tos         atomic.Int32
	mtuDiscover atomic.Int32
	options     atomic.Pointer[ipv4.SentOptions] // of what is sent
	// recvExtension is IP_RECVERR_RFC4884.
	recvExtension atomic.Bool

	// What follows is guarded by Endpoint.mu.
	addr      ipv4.Addr // bound to, or chosen by Connect
	bound     ipv4.Addr // bound to by Bind
	source    ipv4.Addr // what Connect chose to send from, of a socket bound to a broadcast or a group
	port      uint16    // of a raw socket, its protocol
	userPort  bool      // Bind named the port, so a disconnect keeps it
	peer      ipv4.Addr
	peerPort  uint16
	peerIf    int32 // see flowLocked
	connected bool
}

// openIP is open for a socket of the Internet.
func (s *Stack) openIP(k *IPSocket, as transport, proto uint8) error {
	k.transport, k.proto = as, proto
	k.binding = option.MakeBinding(&k.sendExtras, k)
	k.ttl.Store(-1)
	k.multicast.init(s, k)
	k.mtuDiscover.Store(unix.IP_PMTUDISC_WANT)
	return s.open(&k.Endpoint, as)
}

func (k *IPSocket) ip() *IPSocket { return k }

// Multicast returns what the socket has of multicasts.
func (k *IPSocket) Multicast() *Multicast { return &k.multicast }

// Bind gives the socket a local address and port (udp(7)); the port is the
// ident of a ping socket. Port 0 takes a random free one (RFC 6056), the zero
// address all addresses. EADDRNOTAVAIL: not an address of the stack's. EINVAL:
// bound already. EADDRINUSE: another socket has it.
func (k *IPSocket) Bind(local netip.AddrPort) error {
	if k.Closed() {
		return unix.EBADF
	}
	addr, ok := as4(local.Addr())
	if !ok {
		return unix.EAFNOSUPPORT
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Load()&output.StateClosed != 0 {
		return unix.EBADF
	}
	return errorOf(k.transport.bindLocked(addr, local.Port()))
}

// bindable reports whether the socket may be bound to an address.
func (k *IPSocket) bindable(addr ipv4.Addr) bool {
	return k.binding.AnyAddress() || k.s.routes.Net().Bindable(addr)
}

// autobind gives the socket a port if it has none, for sending.
func (k *IPSocket) autobind() unix.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.autobindLocked()
}

// Autobind gives the socket a port if it has none: Linux does so before it looks
// at what is to be sent.
func (k *IPSocket) Autobind() { _ = k.autobind() } // the send that comes to nothing says why

func (k *IPSocket) autobindLocked() unix.Errno {
	if k.transport.portedLocked() {
		return 0
	}
	if k.state.Load()&output.StateClosed != 0 {
		return unix.EBADF
	}
	switch e := k.transport.takePortLocked(k.addr, 0); e {
	case 0, unix.EBADF:
		return e
	default:
		return unix.EAGAIN // as Linux' inet_autobind
	}
}

// ported reports whether the socket has the port that sending takes.
func (k *IPSocket) ported() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.transport.portedLocked()
}

// Connect sets the peer: Send goes there, and only its datagrams are received.
// It chooses the source address by the route. ENETUNREACH: there is no route.
// EACCES: a broadcast address, without SetBroadcast.
func (k *IPSocket) Connect(peer netip.AddrPort) error {
	if k.Closed() {
		return unix.EBADF
	}
	dst, ok := as4(peer.Addr())
	if !ok {
		return unix.EAFNOSUPPORT
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Load()&output.StateClosed != 0 {
		return unix.EBADF
	}
	if e := k.autobindLocked(); e != 0 { // first, as on Linux: a failed connect leaves a port
		return e
	}
	unicastIf := k.unicastIf.Load()
	// Linux keeps to the address of an earlier connect too.
	f := k.flowLocked(dst, unicastIf)
	k.s.routes.Net().ThisHost(&f)
	f.OnLink = k.sending.DontRoute()
	dst, f.Self = f.Dst, false // Linux looks for the way to it a second time
	k.multicast.apply(&f)
	rt, e := k.s.routes.Find(f)
	if e != 0 {
		return e
	}
	local, e := k.transport.agreePeerLocked(port.Peer{Addr: dst, Port: peer.Port(), Device: f.Device, TOS: f.TOS, Mark: f.Mark,
		Broadcast: f.Broadcast, DontRoute: f.OnLink, Source: f.Src, MTUDiscover: k.MTUDiscover()})
	if e != 0 {
		return e
	}
	src := k.bound
	switch {
	case !src.IsUnspecified():
	case !local.IsUnspecified():
		src = local
	default:
		src = rt.Src
	}
	k.source, k.peerIf = rt.Src, unicastIf
	k.s.lockLanes()
	e = k.transport.connectLocked(src, dst, peer.Port())
	k.s.unlockLanes()
	if e != 0 {
		return e
	}
	k.addr, k.peer, k.peerPort, k.connected = src, dst, peer.Port(), true
	k.hasPeer.Store(true)
	k.RenewPaths()
	return nil
}

// Disconnect dissolves the association with the peer (connect(2) with
// AF_UNSPEC), if there is one. As on Linux a port that the system chose is given
// up, and the socket is bound to no device any more.
func (k *IPSocket) Disconnect() error {
	release, err := k.disconnect()
	if release != nil {
		release()
	}
	return err
}

func (k *IPSocket) disconnect() (release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Load()&output.StateClosed != 0 {
		return nil, unix.EBADF
	}
	k.RenewPaths()
	k.peer, k.peerPort, k.connected = ipv4.Addr{}, 0, false
	k.hasPeer.Store(false)
	k.addr = k.bound
	k.setDeviceLocked(0)
	return k.transport.disconnectLocked(), nil
}

// LocalAddr returns the address and port that the socket is bound to; zeros if
// it is not (getsockname(2)).
func (k *IPSocket) LocalAddr() netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	return netip.AddrPortFrom(netip.AddrFrom4(k.addr), k.port)
}

// Bound returns the address that Bind has bound the socket to, whatever Connect has chosen,
// and its port; zeros if it is not.
func (k *IPSocket) Bound() netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	return netip.AddrPortFrom(netip.AddrFrom4(k.bound), k.port)
}

// RemoteAddr returns the peer; ok is false if there is none (getpeername(2)). As
// for Linux a peer whose port is 0 is none.
func (k *IPSocket) RemoteAddr() (peer netip.AddrPort, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return netip.AddrPortFrom(netip.AddrFrom4(k.peer), k.peerPort), k.connected && k.peerPort != 0
}

// Shutdown ends receiving, sending or both (shutdown(2)), and wakes the calls that wait.
// ENOTCONN if the socket has no peer: then it takes effect all the same, as on
// Linux. EINVAL for another value of how.
func (k *IPSocket) Shutdown(how int) error {
	if k.Closed() {
		return unix.EBADF
	}
	bits, err := shutdownBits(how)
	if err != nil {
		return err
	}
	k.mu.Lock()
	connected := k.connected
	k.mu.Unlock()
	k.setState(bits, EventsAll)
	if !connected {
		return unix.ENOTCONN
	}
	return nil
}

// shutdownBits returns the bits of Endpoint.state for a direction. EINVAL: it is none.
func shutdownBits(how int) (uint32, error) {
	switch how {
	case unix.SHUT_RD:
		return output.StateShutRead, nil
	case unix.SHUT_WR:
		return output.StateShutWrite, nil
	case unix.SHUT_RDWR:
		return output.StateShutRead | output.StateShutWrite, nil
	default:
		return 0, unix.EINVAL
	}
}

// flowLocked returns what a route from the socket to dst is looked up for, where
// unicastIf is IP_UNICAST_IF's interface: as Linux keeps a peer's route, that of
// when the socket was connected, for what goes to the peer.
func (k *IPSocket) flowLocked(dst ipv4.Addr, unicastIf int32) route.Flow {
	f := route.Flow{Src: k.addr, Dst: dst, Device: k.device, Broadcast: k.broadcast.Load(), Loop: !k.multicast.quiet,
		Protocol: k.proto, TOS: uint8(k.tos.Load()), Mark: k.sending.Mark(), AnySource: k.binding.Transparent()} // IP_FREEBIND is for bind alone
	if k.s.routes.Net().ReceivesOnly(k.addr) {
		f.Src = k.source
	}
	if f.Device == 0 && !dst.IsMulticast() {
		f.Device = unicastIf
	}
	return f
}

// sendDevices remembers by which two devices a socket looked up its routes lately,
// 0 for by none in particular: a path MTU that it is told of is that of the path
// which it took, whether SO_BINDTODEVICE, IP_UNICAST_IF or a datagram's IP_PKTINFO
// has chosen it.
type sendDevices struct {
	// pair has the latest in its lower half, another one before it in its upper
	// half, each one more than the index, and 0 if there was none.
	pair atomic.Uint64
}

// add notes a device.
func (d *sendDevices) add(device int32) {
	v := uint64(uint32(device)) + 1
	for {
		old := d.pair.Load()
		if old&0xffffffff == v || d.pair.CompareAndSwap(old, old<<32|v) {
			return
		}
	}
}

// latest returns the devices, the latest first.
func (d *sendDevices) latest() []int32 {
	pair := d.pair.Load()
	var both [2]int32
	n := 0
	for ; pair != 0; pair >>= 32 {
		both[n] = int32(uint32(pair) - 1)
		n++
	}
	return both[:n]
}

// PathMTU returns the MTU in bytes of the path to the peer as it is known now
// (IP_MTU, ip(7)): ENOTCONN if there is no peer.
func (k *IPSocket) PathMTU() (int, error) {
	if k.Closed() {
		return 0, unix.EBADF
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.connected {
		return 0, unix.ENOTCONN
	}
	f := k.flowLocked(k.peer, k.peerIf)
	f.Broadcast, f.OnLink = true, k.sending.DontRoute()
	k.multicast.apply(&f)
	h, e := k.s.routes.Find(f)
	if e != 0 {
		return 0, unix.ENOTCONN // as ip(7) has it: no path is known
	}
	return h.PathMTU, nil
}

// localError reports a datagram that was too long to be sent, to a socket that
// wants to know (ip_local_error in Linux).
func (k *IPSocket) localError(errno unix.Errno, dst ipv4.Addr, port uint16, mtu int) {
	if k.errors.RecvErr() {
		k.errors.push(QueuedError{Errno: errno, Origin: unix.SO_EE_ORIGIN_LOCAL, Info: uint32(mtu), Dst: dst, DstPort: port})
	}
}

// icmpError takes in an ICMP error about a datagram of the socket's, by the rules
// of Linux' udp_err: without IP_RECVERR only hard errors count, and only on
// connected sockets. It copies e's payload if it keeps it.
func (k *IPSocket) icmpError(e QueuedError, hard bool) {
	if !k.errors.RecvErr() {
		if hard && k.hasPeer.Load() {
			k.errors.set(e.Errno)
		}
		return
	}
	if !k.recvExtension.Load() {
		e.Extension = icmp.Extension{}
	}
	e.Origin, e.Payload = unix.SO_EE_ORIGIN_ICMP, bytes.Clone(e.Payload)
	k.errors.push(e)
	k.errors.set(e.Errno)
}

// A Way is how a socket's datagrams come and go.
type Way struct {
	// InBand says that an operating system's own sockets bring or take them, and no ring.
	InBand bool
	// Interface is the index of the device, 0 if that depends on the datagram.
	Interface int
}

// Way returns how datagrams go to the socket's peer, or, without one, come to the address
// that it is bound to. A packet socket's come as it is bound.
func (k *Endpoint) Way() Way {
	if s := k.kind.ip(); s != nil {
		return s.way()
	}
	to, _ := k.kind.(*PacketSocket).BoundLink()
	return Way{Interface: max(to.Interface, 0)} // below 0: its interface is gone
}

func (k *IPSocket) way() Way {
	k.mu.Lock()
	defer k.mu.Unlock()
	net := k.s.routes.Net()
	if !k.connected {
		switch d := net.With(k.addr); {
		case k.recvExtras.Has(option.HolderOnly) && !k.addr.IsMulticast():
			return Way{InBand: true, Interface: int(k.device)}
		case d != nil:
			return wayBy(d, 0)
		case k.device != 0:
			return Way{InBand: net.Present(k.device) == nil, Interface: int(k.device)}
		default:
			return Way{}
		}
	}
	f := k.flowLocked(k.peer, k.peerIf)
	f.Broadcast, f.OnLink = true, k.sending.DontRoute()
	k.multicast.apply(&f)
	h, e := k.s.routes.Find(f)
	if e != 0 {
		return Way{}
	}
	return wayBy(h.Device, h.Via)
}

// wayBy returns the way by a device, or by way of it by another.
func wayBy(d *route.Device, via int32) Way {
	if via != 0 {
		return Way{InBand: true, Interface: int(via)}
	}
	return Way{InBand: link.InBand(d.Link), Interface: int(d.Index)}
}
