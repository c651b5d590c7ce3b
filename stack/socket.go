package stack

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// Socket is the endpoint of any kind of socket.
type Socket = Endpoint

// An Endpoint is a datagram socket of a stack: UDP, ICMP echo ("ping socket",
// icmp(7)), raw (raw(7)) or packet (packet(7)). It has what sockets of every interface need; BSD calls, options and
// flags are package sockapi's. All methods may be called by any goroutines at
// once. Errors are unix.Errno values, those of Linux' socket calls.
type Endpoint struct {
	s     *Stack
	proto uint8
	id    uint64 // never used twice

	state      atomic.Uint32 // see below
	err        atomic.Int32  // the pending error, an errno, if stateError
	queue      queue
	errors     errorQueue
	recvExtras receiveExtras
	sendExtras sendExtras
	bindOpts   bindOptions
	multicast  multicastOptions
	corked     corked
	spin       spinner
	path       atomic.Pointer[path] // where Send without an address goes
	pathKey    atomic.Uint64        // names the socket, as it is set, in txbuf.paths
	warmup     atomic.Pointer[warmup]
	watches    watches
	onTaken    atomic.Pointer[func()] // see SetTaken
	sending    sendBuffer
	backlog    backlog
	sendsBy    sendDevices
	meta       metadataOptions
	solicits   solicits
	losses     lossAccount

	hasPeer atomic.Bool // connected, readable without mu

	// scheduled is how many frames wait for their time (SO_TXTIME), guarded by
	// schedule.mu.
	scheduled int

	// binding is guarded by the receive lock.
	binding udp.Binding[*Endpoint]

	ttl         atomic.Int32 // -1: the stack's default
	tos         atomic.Int32
	mtuDiscover atomic.Int32
	broadcast   atomic.Bool
	recvErr     atomic.Bool
	// recvExtension is IP_RECVERR_RFC4884.
	recvExtension atomic.Bool
	selectErrors  atomic.Bool // see SetSelectErrors

	// mu guards what follows and makes configuration calls take turns.
	mu        sync.Mutex
	addr      ipv4.Addr // bound to, or chosen by Connect
	bound     ipv4.Addr // bound to by Bind
	source    ipv4.Addr // what Connect chose to send from, of a socket bound to a broadcast or a group
	port      uint16
	userPort  bool // Bind named the port, so a disconnect keeps it
	peer      ipv4.Addr
	peerPort  uint16
	peerIf    int32 // see flowLocked
	connected bool
	device    int32
	elsewhere bool // see WaitElsewhere

	raw    *rawSocket    // of a raw socket, which has no proto; see raw.go
	packet *packetSocket // of a packet socket, which has none either; see packetsock.go
}

// protocolNone is the proto of sockets that have no transport protocol: raw and
// packet sockets.
const protocolNone = 0

// Bits of Endpoint.state.
const (
	stateError     = 1 << iota // err holds a pending error
	stateShutRead              // no more receiving
	stateShutWrite             // no more sending
	stateClosed
	stateRecvExtras // datagrams are looked at more closely, see extras.go
	stateSendExtras // so are those sent
	stateSendFull   // the send buffer is full, see sendbuf.go
	stateSendBehind // there is a backlog, see backlog.go

	stateReceive  = stateError | stateShutRead | stateClosed                          // what ends a wait
	stateSendEnds = stateError | stateShutWrite | stateClosed                         // what ends a wait for sending
	stateSend     = stateSendEnds | stateSendExtras | stateSendFull | stateSendBehind // what the fast way out cannot do
)

// defaultRcvbuf and defaultSndbuf are Linux' net.core.rmem_default and
// wmem_default in bytes.
const (
	defaultRcvbuf = 212992
	defaultSndbuf = 212992
)

// NewSocket makes a socket for proto: ipv4.ProtocolUDP or ipv4.ProtocolICMP,
// else EPROTONOSUPPORT.
func (s *Stack) NewSocket(proto uint8) (*Endpoint, error) {
	if s.Closed() {
		return nil, unix.ENETDOWN
	}
	if proto != ipv4.ProtocolUDP && proto != ipv4.ProtocolICMP {
		return nil, unix.EPROTONOSUPPORT
	}
	return s.open(&Endpoint{proto: proto})
}

// open gives a socket what each kind of socket has, and enters it in the stack.
func (s *Stack) open(k *Endpoint) (*Endpoint, error) {
	k.s, k.id = s, s.socketIDs.Add(1)
	k.binding.Owner = k
	k.pathKey.Store(k.id)
	k.ttl.Store(-1)
	k.multicast.ttl = defaultMulticastTTL
	k.mtuDiscover.Store(unix.IP_PMTUDISC_WANT)
	k.recvExtras.cpu.Store(-1)
	k.queue.limit.Store(defaultRcvbuf)
	k.queue.memory, k.errors.memory = &s.receiveMemory, &s.receiveMemory
	k.sending.limit.Store(defaultSndbuf)
	k.spin.adaptive.Store(spinStart)
	k.losses.base.Store(s.lost(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, unix.ENETDOWN
	}
	if len(s.sockets) >= s.limits.Sockets {
		return nil, unix.ENFILE
	}
	s.sockets[k] = struct{}{}
	return k, nil
}

// table returns the table in which the socket's port or ident stands.
func (k *Endpoint) table() *udp.Table[*Endpoint] {
	if k.proto == ipv4.ProtocolICMP {
		return k.s.pings
	}
	return k.s.udp
}

// ready reports whether a receive call would not have to wait.
func (k *Endpoint) ready() bool {
	return k.queue.n.Load() > 0 || k.state.Load()&stateReceive != 0
}

// setState sets bits and wakes everybody who waits. events are those that who
// watches is told of.
func (k *Endpoint) setState(bits, events uint32) {
	k.state.Or(bits)
	k.queue.wakeAll()
	k.sending.wake()
	if bits&stateSendEnds != 0 {
		k.endWaits()
	}
	k.sendExtras.times.wake()
	k.solicits.wake()
	k.changed(events)
}

// setError makes e the socket's pending error: the next call returns it, once.
func (k *Endpoint) setError(e unix.Errno) {
	k.err.Store(int32(e))
	k.setState(stateError, unix.EPOLLERR)
}

// TakeError returns the pending error and clears it (SO_ERROR, socket(7)); 0
// if there is none.
func (k *Endpoint) TakeError() unix.Errno {
	if k.state.Load()&stateError == 0 {
		return 0
	}
	k.state.And(^uint32(stateError))
	e := unix.Errno(k.err.Swap(0))
	k.taken()
	return e
}

// interrupted looks at what ends a wait. It returns done if the call ends,
// with the error or, after a shutdown, with an empty datagram.
func (k *Endpoint) interrupted(t *target, patient bool) (e unix.Errno, done bool) {
	st := k.state.Load()
	switch {
	case st&stateClosed != 0:
		return unix.EBADF, true
	case st&stateError != 0:
		if e := k.TakeError(); e != 0 {
			return e, true
		}
		return 0, false
	case st&stateShutRead != 0 && k.queue.n.Load() == 0 && patient:
		t.count, t.n, t.info = 0, 0, Info{}
		return 0, true
	}
	return 0, false
}

// Recv receives one datagram into p and returns how many bytes it stored;
// Info.Len is the datagram's length. It waits until the deadline, nanoseconds
// of the stack's clock (Deadline makes one): EAGAIN after that, or at once
// with MSG_DONTWAIT. MSG_PEEK leaves the datagram queued. After Shutdown it
// returns 0 bytes. A pending error is returned first. p is not kept.
func (k *Endpoint) Recv(p []byte, flags int, deadline int64) (n int, info Info, err error) {
	t := target{one: p}
	if e := k.s.receive(k, &t, flags, deadline); e != 0 {
		return 0, Info{}, e
	}
	return t.n, t.info, nil
}

// RecvMessages receives at least one datagram, as Recv does, and as many more
// as are there, into msgs, and returns how many.
func (k *Endpoint) RecvMessages(msgs []Message, flags int, deadline int64) (int, error) {
	if len(msgs) == 0 {
		if k.Closed() {
			return 0, unix.EBADF
		}
		return 0, nil
	}
	t := target{msgs: msgs}
	if e := k.s.receive(k, &t, flags, deadline); e != 0 {
		return 0, e
	}
	if t.count == 0 { // shut down: an empty message
		msgs[0].N, msgs[0].Flags, msgs[0].Info = 0, 0, Info{}
		return 1, nil
	}
	return t.count, nil
}

// Deadline returns the deadline d from now, for the calls that take one;
// negative, or beyond what the clock can tell: never.
func (s *Stack) Deadline(d time.Duration) int64 {
	if d < 0 {
		return never
	}
	return clock.After(s.clock.Now(), int64(d))
}

// NoDeadline is the deadline that never comes.
const NoDeadline = int64(never)

// Bind gives the socket a local address and port (udp(7)); the port is the
// ident of a ping socket. Port 0 takes a random free one (RFC 6056), the zero
// address all addresses. EADDRNOTAVAIL: not an address of the stack's. EINVAL:
// bound already. EADDRINUSE: somebody has it.
func (k *Endpoint) Bind(local netip.AddrPort) error {
	if k.Closed() {
		return unix.EBADF
	}
	addr, ok := as4(local.Addr())
	if !ok {
		return unix.EAFNOSUPPORT
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Load()&stateClosed != 0 {
		return unix.EBADF
	}
	switch {
	case k.packet != nil:
		return unix.EINVAL // see BindLink
	case k.raw != nil:
		return errorOf(k.bindRawLocked(addr))
	}
	net := k.s.routes.Net()
	if !k.bindOpts.anyAddress() && !net.Bindable(addr) || k.proto == ipv4.ProtocolICMP && net.ReceivesOnly(addr) {
		return unix.EADDRNOTAVAIL
	}
	if k.port != 0 {
		return unix.EINVAL
	}
	k.source = ipv4.Addr{} // of an earlier connect
	if local.Port() == 0 && k.bindOpts.noPort.Load() {
		k.addr, k.bound = addr, addr
		return nil
	}
	if e := k.bindLocked(addr, local.Port()); e != 0 {
		return e
	}
	k.bound = addr
	k.userPort = local.Port() != 0
	return nil
}

// bindLocked enters the socket into its table.
func (k *Endpoint) bindLocked(addr ipv4.Addr, port uint16) unix.Errno {
	k.s.lockLanes()
	defer k.s.unlockLanes()
	k.binding.Local, k.binding.LocalPort = addr, port
	k.binding.Device = k.device
	if e := k.bindTable(k.table()); e != 0 {
		k.binding.LocalPort = 0
		return e
	}
	k.addr, k.port = addr, k.binding.LocalPort
	k.steeredLocked()
	k.warmup.Store(nil)
	return 0
}

// autobind gives the socket a port if it has none, for sending.
func (k *Endpoint) autobind() unix.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.autobindLocked()
}

// Autobind gives the socket a port if it has none: Linux does so before it looks
// at what is to be sent.
func (k *Endpoint) Autobind() { _ = k.autobind() } // the send that comes to nothing says why

func (k *Endpoint) autobindLocked() unix.Errno {
	if k.port != 0 || k.proto == protocolNone {
		return 0
	}
	if k.state.Load()&stateClosed != 0 {
		return unix.EBADF
	}
	if e := k.bindLocked(k.addr, 0); e != 0 {
		return unix.EAGAIN // as Linux' inet_autobind
	}
	return 0
}

// ported reports whether the socket has the port that sending takes.
func (k *Endpoint) ported() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.port != 0 || k.proto == protocolNone
}

// Connect sets the peer: Send goes there, and only its datagrams are received.
// It chooses the source address by the route. ENETUNREACH: there is no route.
// EACCES: a broadcast address, without SetBroadcast.
func (k *Endpoint) Connect(peer netip.AddrPort) error {
	if k.Closed() {
		return unix.EBADF
	}
	dst, ok := as4(peer.Addr())
	if !ok {
		return unix.EAFNOSUPPORT
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Load()&stateClosed != 0 {
		return unix.EBADF
	}
	if k.packet != nil {
		return unix.EOPNOTSUPP
	}
	if e := k.autobindLocked(); e != 0 { // first, as on Linux: a failed connect leaves a port
		return e
	}
	unicastIf := k.bindOpts.unicastIf.Load()
	// Linux keeps to the address of an earlier connect too.
	f := k.flowLocked(dst, unicastIf)
	k.s.routes.Net().ThisHost(&f)
	f.OnLink = k.DontRoute()
	dst, f.Self = f.Dst, false // Linux looks for the way to it a second time
	k.multicast.apply(&f)
	rt, e := k.s.routes.Find(f)
	if e != 0 {
		return e
	}
	src := k.bound
	if src.IsUnspecified() {
		src = rt.Src
	}
	k.source, k.peerIf = rt.Src, unicastIf
	k.s.lockLanes()
	switch {
	case k.raw != nil:
		k.raw.local, k.raw.peer = src, dst
	case k.proto == ipv4.ProtocolICMP: // Linux' ping sockets hear everybody
		k.table().Disconnect(&k.binding, src)
	default:
		e = k.table().Connect(&k.binding, src, dst, peer.Port())
	}
	k.s.unlockLanes()
	if e != 0 {
		return e
	}
	k.addr, k.peer, k.peerPort, k.connected = src, dst, peer.Port(), true
	k.hasPeer.Store(true)
	k.dropPaths()
	return nil
}

// Disconnect dissolves the association with the peer (connect(2) with
// AF_UNSPEC), if there is one. As on Linux a port that the system chose is given
// up, and the socket is bound to no device any more.
func (k *Endpoint) Disconnect() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Load()&stateClosed != 0 {
		return unix.EBADF
	}
	if k.packet != nil {
		return unix.EOPNOTSUPP
	}
	k.dropPaths()
	k.peer, k.peerPort, k.connected = ipv4.Addr{}, 0, false
	k.hasPeer.Store(false)
	k.addr, k.device = k.bound, 0
	if k.raw != nil {
		k.disconnectRawLocked()
	}
	if k.port == 0 {
		return nil
	}
	k.s.lockLanes()
	defer k.s.unlockLanes()
	k.loseFromLocked(0)
	k.table().Disconnect(&k.binding, k.bound)
	k.table().Rebind(&k.binding, 0)
	k.steeredLocked()
	if !k.userPort {
		k.table().Unbind(&k.binding)
		k.binding.LocalPort, k.port = 0, 0
	}
	return nil
}

// LocalAddr returns the address and port that the socket is bound to; zeros if
// it is not (getsockname(2)).
func (k *Endpoint) LocalAddr() netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	return netip.AddrPortFrom(netip.AddrFrom4(k.addr), k.port)
}

// RemoteAddr returns the peer; ok is false if there is none (getpeername(2)). As
// for Linux a peer whose port is 0 is none.
func (k *Endpoint) RemoteAddr() (peer netip.AddrPort, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return netip.AddrPortFrom(netip.AddrFrom4(k.peer), k.peerPort), k.connected && k.peerPort != 0
}

// Shutdown ends receiving, sending or both (shutdown(2)), and wakes who waits.
// ENOTCONN if the socket has no peer: then it takes effect all the same, as on
// Linux. EINVAL for another value of how.
func (k *Endpoint) Shutdown(how int) error {
	if k.Closed() {
		return unix.EBADF
	}
	var bits uint32
	switch how {
	case unix.SHUT_RD:
		bits = stateShutRead
	case unix.SHUT_WR:
		bits = stateShutWrite
	case unix.SHUT_RDWR:
		bits = stateShutRead | stateShutWrite
	default:
		return unix.EINVAL
	}
	if k.packet != nil {
		return unix.EOPNOTSUPP
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

// Close ends the socket. Every call that waits on it returns EBADF.
func (k *Endpoint) Close() error {
	if k.state.Or(stateClosed)&stateClosed != 0 {
		return unix.EBADF
	}
	k.setState(stateClosed, EventsAll)
	k.unwatchAll()
	k.WaitElsewhere(false)
	k.SetReceiveTimes(false)
	k.mu.Lock()
	k.s.lockLanes()
	switch {
	case k.raw != nil:
		k.s.leaveRawLocked(k)
	case k.port != 0:
		k.table().Unbind(&k.binding)
	}
	k.s.unlockLanes()
	k.mu.Unlock()
	if k.packet != nil {
		k.closePacket()
	}
	k.dropGroups()
	k.dropPaths()
	k.queue.purge(&k.s.pool)
	k.errors.close()
	k.unschedule()
	k.sending.own.close(k)
	k.s.mu.Lock()
	delete(k.s.sockets, k)
	k.s.mu.Unlock()
	return nil
}

// Setters of what the paths and the queue go by. They hold for what is sent and
// received after they return.

// SetTTL sets the time to live of unicast datagrams, 1 to 255; -1 is the default, 64,
// and so is 0, which is never sent (RFC 1122, 3.2.1.7).
func (k *Endpoint) SetTTL(ttl int) { k.ttl.Store(int32(ttl)); k.dropPaths() }

// TTL returns what SetTTL set, or the default.
func (k *Endpoint) TTL() int {
	if v := k.ttl.Load(); v >= 0 {
		return int(v)
	}
	return defaultTTL
}

// SetTOS sets the type-of-service octet (RFC 2474, RFC 3168), and the priority that
// goes with it: see TOSPriority.
func (k *Endpoint) SetTOS(tos int) {
	k.tos.Store(int32(tos))
	k.SetPriority(TOSPriority(uint8(tos)))
}

// TOS returns the type-of-service octet.
func (k *Endpoint) TOS() int { return int(k.tos.Load()) }

// SetMTUDiscover sets one of unix.IP_PMTUDISC_* (ip(7)).
func (k *Endpoint) SetMTUDiscover(mode int) { k.mtuDiscover.Store(int32(mode)); k.dropPaths() }

// MTUDiscover returns what SetMTUDiscover set.
func (k *Endpoint) MTUDiscover() int { return int(k.mtuDiscover.Load()) }

// SetBroadcast permits sending to broadcast addresses.
func (k *Endpoint) SetBroadcast(on bool) { k.broadcast.Store(on); k.dropPaths() }

// Broadcast reports whether sending to broadcast addresses is permitted.
func (k *Endpoint) Broadcast() bool { return k.broadcast.Load() }

// SetRecvErr asks for all ICMP errors, the transient ones too (IP_RECVERR, ip(7)).
// Turned off, it drops what is in the error queue.
func (k *Endpoint) SetRecvErr(on bool) {
	k.recvErr.Store(on)
	if !on {
		k.errors.purge()
		k.taken()
	}
}

// SetRecvExtension asks for where in an ICMP error's payload its extensions are
// (IP_RECVERR_RFC4884 in ip(7)).
func (k *Endpoint) SetRecvExtension(on bool) { k.recvExtension.Store(on) }

// RecvExtension returns what SetRecvExtension set.
func (k *Endpoint) RecvExtension() bool { return k.recvExtension.Load() }

// SetSelectErrors makes an error, and what is in the error queue, EPOLLPRI too
// (SO_SELECT_ERR_QUEUE in socket(7)).
func (k *Endpoint) SetSelectErrors(on bool) {
	k.selectErrors.Store(on)
	k.changed(unix.EPOLLERR)
}

// SelectErrors returns what SetSelectErrors set.
func (k *Endpoint) SelectErrors() bool { return k.selectErrors.Load() }

// RecvErr returns what SetRecvErr set.
func (k *Endpoint) RecvErr() bool { return k.recvErr.Load() }

// SetReceiveBuffer sets how much may be queued, in the bytes that Linux would
// charge: about twice the payload's.
func (k *Endpoint) SetReceiveBuffer(n int) { k.queue.limit.Store(int64(n)) }

// ReceiveBuffer returns what SetReceiveBuffer set.
func (k *Endpoint) ReceiveBuffer() int { return int(k.queue.limit.Load()) }

// SetSpin sets the socket's own spin budget: a duration or one of SpinAdaptive,
// SpinNever and SpinAlways.
func (k *Endpoint) SetSpin(d time.Duration) {
	k.spin.fixed.Store(int64(d))
	k.spin.own.Store(true)
}

// Spin returns the socket's spin budget now: a duration or SpinNever or
// SpinAlways.
func (k *Endpoint) Spin() time.Duration {
	switch b := k.spin.budget(k.s); b {
	case never:
		return SpinAlways
	case 0:
		return SpinNever
	default:
		return time.Duration(b)
	}
}

// Cookie returns a number that no other socket of the stack ever has (SO_COOKIE).
func (k *Endpoint) Cookie() uint64 { return k.id }

// Closed reports whether the socket was closed.
func (k *Endpoint) Closed() bool { return k.state.Load()&stateClosed != 0 }

// KeepError makes err, an errno other than EAGAIN, the pending error again: the
// call that got it has something else to return.
func (k *Endpoint) KeepError(err error) {
	if e, ok := err.(unix.Errno); ok && e != unix.EAGAIN && e != unix.EBADF {
		k.setError(e)
	}
}

// PathMTU returns the MTU in bytes of the path to the peer as it is known now
// (IP_MTU, ip(7)): ENOTCONN if there is no peer.
func (k *Endpoint) PathMTU() (int, error) {
	if k.Closed() {
		return 0, unix.EBADF
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.connected {
		return 0, unix.ENOTCONN
	}
	f := k.flowLocked(k.peer, k.peerIf)
	f.Broadcast, f.OnLink = true, k.DontRoute()
	k.multicast.apply(&f)
	h, e := k.s.routes.Find(f)
	if e != 0 {
		return 0, unix.ENOTCONN // as ip(7) has it: no path is known
	}
	return h.PathMTU, nil
}

// SetReuse sets SO_REUSEADDR and SO_REUSEPORT for a later Bind.
func (k *Endpoint) SetReuse(addr, port bool) {
	if k.proto == protocolNone {
		return // there is nothing to share
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.s.lockLanes()
	defer k.s.unlockLanes()
	k.table().SetReuse(&k.binding, addr, port)
}

// NextLen returns the length of the oldest queued datagram (FIONREAD, udp(7)).
func (k *Endpoint) NextLen() (int, bool) { return k.queue.firstLen() }

// Readable reports whether a receive call would return at once, from the error
// queue or else: poll(2) would tell of one or the other.
func (k *Endpoint) Readable() bool { return k.ready() || k.errors.n.Load() > 0 }

// RenewPaths has routes and neighbours looked up anew for what is sent from now on.
func (k *Endpoint) RenewPaths() { k.dropPaths() }

// dropPaths forgets the socket's cached paths: an option changed what they would be.
func (k *Endpoint) dropPaths() {
	k.pathKey.Store(k.s.socketIDs.Add(1))
	k.path.Store(nil)
	k.warmup.Store(nil)
}

// errorOf returns e as an error, nil if it is 0.
func errorOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// as4 returns an IPv4 address, also one that is mapped into IPv6.
func as4(a netip.Addr) (ipv4.Addr, bool) {
	if a = a.Unmap(); !a.Is4() {
		return ipv4.Addr{}, false
	}
	return a.As4(), true
}
