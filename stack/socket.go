package stack

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/loss"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// An Endpoint is what every Socket has, whatever its kind: queues, a pending error, what
// watches it, a spin budget, buffers, the options of socket(7).
type Endpoint struct {
	s    *Stack
	kind kind
	id   uint64 // never used twice

	// What each datagram touches stands together.
	state      atomic.Uint32 // see below
	lane       atomic.Int32  // the number, plus one, of the lane of the device that it is bound to
	hasPeer    atomic.Bool   // connected, readable without mu
	broadcast  atomic.Bool
	cpu        atomic.Int32 // see IncomingCPU
	recvExtras option.Extras
	receiving  option.Receiving
	queue      queue.Datagrams
	watches    drive.List // what is told of its events, calls that wait among them
	spin       drive.Spinner
	warmup     atomic.Pointer[warmup]
	path       atomic.Pointer[output.Path] // where Send without an address goes; nil on packet sockets
	pathKey    atomic.Uint64               // names the socket, as it is set, in output.Buffer.Paths

	sendExtras option.Extras
	sending    option.Sending
	times      Times
	errors     Errors
	readBy     drive.Deadline
	losses     loss.Account

	// mu guards what follows, and what the kinds say, and makes configuration calls
	// take turns.
	mu        sync.Mutex
	device    int32 // bound to it; 0: to none
	elsewhere bool  // see WaitElsewhere

	out output.Sender
}

// defaultRcvbuf is Linux' net.core.rmem_default in bytes.
const defaultRcvbuf = 212992

// open gives a socket what each kind of socket has, and enters it in the stack.
func (s *Stack) open(k *Endpoint, as kind) error {
	k.s, k.kind, k.id = s, as, s.socketIDs.Add(1)
	k.pathKey.Store(k.id)
	k.recvExtras.Init(&k.state, output.StateRecvExtras, output.StateClosed)
	k.receiving = option.MakeReceiving(&k.recvExtras)
	k.sendExtras.Init(&k.state, output.StateSendExtras, output.StateClosed)
	k.sending = option.MakeSending(&k.sendExtras, k)
	k.times.k, k.errors.k = k, k
	k.cpu.Store(-1)
	k.queue.Limit.Store(defaultRcvbuf)
	k.queue.Memory, k.errors.queue.Memory = &s.receiveMemory, &s.receiveMemory
	k.out.Init(&s.out, sendHost{k}, &k.watches, k.id, &k.state)
	k.spin.Init(&s.drive)
	k.losses.Open(&s.links)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.ENETDOWN
	}
	if len(s.sockets) >= s.limits.Sockets {
		return unix.ENFILE
	}
	s.sockets[k] = struct{}{}
	return nil
}

// Base returns k, for what embeds it.
func (k *Endpoint) Base() *Endpoint { return k }

// setState sets bits and wakes all calls that wait. events are those that
// watches are told of.
func (k *Endpoint) setState(bits, events uint32) {
	k.state.Or(bits)
	if bits&output.StateClosed != 0 {
		k.out.EndWaits()
	}
	k.watches.Tell(events)
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

// Close ends the socket. Every call that waits on it returns EBADF.
func (k *Endpoint) Close() error {
	if k.state.Or(output.StateClosed)&output.StateClosed != 0 {
		return unix.EBADF
	}
	k.setState(output.StateClosed, EventsAll)
	k.watches.End()
	k.WaitElsewhere(false)
	k.times.SetReceiveTimes(false)
	k.kind.leave()
	k.RenewPaths()
	k.queue.Purge(&k.s.pool)
	k.errors.queue.Close()
	k.out.Unschedule()
	k.out.Own.Close(&k.out)
	k.s.mu.Lock()
	delete(k.s.sockets, k)
	k.s.mu.Unlock()
	return nil
}

// Setters of what the paths and the queue go by. They hold for what is sent and
// received after they return.

// SetBroadcast permits sending to broadcast addresses.
func (k *Endpoint) SetBroadcast(on bool) { k.broadcast.Store(on); k.RenewPaths() }

// Broadcast reports whether sending to broadcast addresses is permitted.
func (k *Endpoint) Broadcast() bool { return k.broadcast.Load() }

// SetReceiveBuffer sets how much may be queued, in the bytes that Linux would
// charge: about twice the payload's.
func (k *Endpoint) SetReceiveBuffer(n int) { k.queue.Limit.Store(int64(n)) }

// ReceiveBuffer returns what SetReceiveBuffer set.
func (k *Endpoint) ReceiveBuffer() int { return int(k.queue.Limit.Load()) }

// Cookie returns a number that no other socket of the stack ever has (SO_COOKIE).
func (k *Endpoint) Cookie() uint64 { return k.id }

// Closed reports whether the socket was closed.
func (k *Endpoint) Closed() bool { return k.state.Load()&output.StateClosed != 0 }

// NextLen returns the length of the oldest queued datagram (FIONREAD, udp(7)).
func (k *Endpoint) NextLen() (int, bool) { return k.queue.FirstLen() }

// Readable reports whether a receive call would return at once, from the error
// queue or else: poll(2) would tell of one or the other.
func (k *Endpoint) Readable() bool { return k.ready() || k.errors.queue.N.Load() > 0 }

// RenewPaths has routes and neighbours looked up anew for what is sent from now on: the
// socket's cached paths are forgotten, since an option changed what they would be.
func (k *Endpoint) RenewPaths() {
	k.pathKey.Store(k.s.socketIDs.Add(1))
	k.path.Store(nil)
	k.warmup.Store(nil)
}

// as4 returns an IPv4 address, also one that is mapped into IPv6.
func as4(a netip.Addr) (ipv4.Addr, bool) {
	if a = a.Unmap(); !a.Is4() {
		return ipv4.Addr{}, false
	}
	return a.As4(), true
}

// Drops returns how many datagrams the full receive queue and the socket's filter have
// cost, and how many frames that may have been for it, or not, found no room in a
// link's ring since it was opened: the most that the socket has lost. It wraps around.
func (k *Endpoint) Drops() uint32 { return k.queue.Drops.Load() + k.losses.Lost(&k.s.links) }

// ready reports whether a receive call would not have to wait.
func (k *Endpoint) ready() bool {
	return k.queue.N.Load() > 0 || k.state.Load()&output.StateReceive != 0
}

// MemInfo is what a socket holds and may hold, in bytes as Linux charges them
// (SO_MEMINFO in sock_diag(7)).
type MemInfo struct {
	Receive, ReceiveLimit, Send, SendLimit int
	Drops                                  uint32
}

// MemInfo returns the socket's memory.
func (k *Endpoint) MemInfo() MemInfo {
	charged := k.queue.Charged()
	return MemInfo{Receive: int(charged), ReceiveLimit: k.ReceiveBuffer(),
		Send: k.out.Queued(), SendLimit: k.SendBuffer(), Drops: k.Drops()}
}

// A QueuedError is one entry of a socket's error queue (IP_RECVERR in ip(7),
// struct sock_extended_err in recvmsg(2)).
type QueuedError = queue.QueuedError

// Errors is what a socket has to report: the pending error, and the error queue.
type Errors struct {
	k        *Endpoint
	pending  atomic.Int32 // an errno, if output.StateError
	all      atomic.Bool  // see SetRecvErr
	priority atomic.Bool  // see SetSelectErrors
	queue    queue.Errors
}

// Errors returns what the socket has to report.
func (k *Endpoint) Errors() *Errors { return &k.errors }

// set makes e the socket's pending error: the next call returns it, once.
func (x *Errors) set(e unix.Errno) {
	x.pending.Store(int32(e))
	x.k.setState(output.StateError, unix.EPOLLERR)
}

// Take returns the pending error and clears it (SO_ERROR, socket(7)); 0 if there is
// none.
func (x *Errors) Take() unix.Errno {
	if x.k.state.Load()&output.StateError == 0 {
		return 0
	}
	x.k.state.And(^uint32(output.StateError))
	e := unix.Errno(x.pending.Swap(0))
	x.k.watches.Drained()
	return e
}

// Keep makes err, an errno other than EAGAIN, the pending error again: the call that got
// it has something else to return.
func (x *Errors) Keep(err error) {
	if e, ok := err.(unix.Errno); ok && e != unix.EAGAIN && e != unix.EBADF {
		x.set(e)
	}
}

// TakeQueued takes the oldest entry of the error queue (MSG_ERRQUEUE); ok is false if it
// is empty. As on Linux the pending error is then that of the next ICMP error in the
// queue, if there is one.
func (x *Errors) TakeQueued() (e QueuedError, ok bool) {
	e, next, ok := x.queue.Pop()
	switch {
	case !ok:
	case next != 0:
		x.set(next)
	case e.Origin == unix.SO_EE_ORIGIN_ICMP:
		x.Take()
	}
	if ok {
		x.k.watches.Drained()
	}
	return e, ok
}

// Queued returns how many entries the error queue has.
func (x *Errors) Queued() int { return int(x.queue.N.Load()) }

// push appends to the error queue and wakes the calls that wait. What finds no room is counted.
func (x *Errors) push(e QueuedError) {
	if !x.queue.Push(e, x.k.queue.Limit.Load()) {
		x.k.s.errorsLost.Add(1)
		return
	}
	x.k.watches.Tell(unix.EPOLLERR)
}

// SetRecvErr asks for all ICMP errors, the transient ones too (IP_RECVERR, ip(7)).
// Turned off, it drops what is in the error queue.
func (x *Errors) SetRecvErr(on bool) {
	x.all.Store(on)
	if !on {
		x.queue.Purge()
		x.k.watches.Drained()
	}
}

// RecvErr returns what SetRecvErr set.
func (x *Errors) RecvErr() bool { return x.all.Load() }

// SetSelectErrors makes an error, and what is in the error queue, EPOLLPRI too
// (SO_SELECT_ERR_QUEUE in socket(7)).
func (x *Errors) SetSelectErrors(on bool) {
	x.priority.Store(on)
	x.k.watches.Tell(unix.EPOLLERR)
}

// SelectErrors returns what SetSelectErrors set.
func (x *Errors) SelectErrors() bool { return x.priority.Load() }

// errorOf returns e as an error, nil if it is 0.
func errorOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// SetDevice binds the socket to an interface: it sends and receives by that one
// only (SO_BINDTOIFINDEX, SO_BINDTODEVICE); 0 takes the binding away. As on Linux
// an index that no interface has is taken: sends say ENODEV until there is one.
// EINVAL: not an index.
func (k *Endpoint) SetDevice(index int) error {
	if k.Closed() {
		return unix.EBADF
	}
	if index < 0 || index > math.MaxInt32 {
		return unix.EINVAL
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.kind.holdDeviceLocked(int32(index)); e != 0 {
		return e
	}
	k.setDeviceLocked(int32(index))
	k.s.lockLanes()
	defer k.s.unlockLanes()
	k.losses.Of(&k.s.links, k.s.routes.Net().ByIndex(k.device))
	if e := k.kind.rebindLocked(); e != 0 {
		return e
	}
	k.RenewPaths()
	return nil
}

// setDeviceLocked says which interface the socket is bound to. k.mu is held.
func (k *Endpoint) setDeviceLocked(index int32) {
	k.device = index
	lane := int32(0)
	if i := interfaceOf(k.s.routes.Net().ByIndex(index)); i != nil {
		lane = int32(i.lane.number) + 1
	}
	k.lane.Store(lane)
}

// Device returns the index of the interface that the socket is bound to, or 0.
func (k *Endpoint) Device() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int(k.device)
}

// SetIncomingCPU has the socket preferred, among those that a datagram may be for,
// if the thread that takes it in runs on a CPU (SO_INCOMING_CPU in socket(7)):
// the one that drives the stack then, a receiver or the housekeeper. A negative
// number prefers none.
func (k *Endpoint) SetIncomingCPU(cpu int32) {
	k.cpu.Store(cpu)
	k.kind.preferCPU(cpu)
}

// IncomingCPU returns what SetIncomingCPU set, or, once the socket is connected,
// the CPU on which its last datagram was taken in; -1: there is none. To spare
// others the question, datagrams are looked at for it only from the first call
// on.
func (k *Endpoint) IncomingCPU() int32 {
	if k.hasPeer.Load() {
		k.recvExtras.Put(option.NoteCPU, true)
	}
	return k.cpu.Load()
}

// Events of a socket as poll(2) and epoll(7) name them, in the groups in which
// Linux' sockets raise them.
const (
	EventsIn  = drive.In
	EventsOut = drive.Out
	// EventsAll is raised by a change that concerns every watch.
	EventsAll = drive.All
)

// WaitElsewhere says that the socket's owner waits for it outside of the stack,
// told by a Watch, so that another goroutine has to drive the links meanwhile, at
// once and not after the while that the housekeeper else gives receivers.
func (k *Endpoint) WaitElsewhere(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if on == k.elsewhere || on && k.Closed() {
		return
	}
	k.elsewhere = on
	if on {
		k.s.WaitElsewhere(1)
	} else {
		k.s.WaitElsewhere(-1)
	}
}
