package stack

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// IOTimes says when a datagram passed three points on its way, in nanoseconds of
// CLOCK_MONOTONIC; 0 where nobody looked (EVL's struct evl_net_iotimes).
//
// On receive: the device had it, a receiver took it from the link, it was given
// to its socket. On send: the link had taken it, it was handed to the link, the
// call began.
type IOTimes struct{ Device, Queuing, Delivery int64 }

// SetReceiveTimes says whether Info.Taken and Info.Delivered are wanted.
func (k *Endpoint) SetReceiveTimes(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if on == k.recvExtras.Has(option.ReceiveTimes) || on && k.Closed() {
		return
	}
	k.s.lockLanes()
	if k.recvExtras.Put(option.ReceiveTimes, on); on {
		k.s.timed++
	} else {
		k.s.timed--
	}
	k.s.unlockLanes()
}

// stampTaken remembers when frames were taken from a link, if any socket wants to
// know.
func (l *lane) stampTaken() {
	if l.s.timed > 0 {
		l.taken = l.s.Monotonic()
	}
}

// ReceiveTimes returns the times of a datagram that was received while they were
// wanted. The device's is the link's stamp, if that was made by the system's
// clock: a device's own clock tells nothing about CLOCK_MONOTONIC.
func (s *Stack) ReceiveTimes(in *Info) IOTimes {
	t := IOTimes{Queuing: in.Taken, Delivery: in.Delivered}
	if in.Clock == link.ClockSoftware {
		t.Device = in.Time - s.clock.WallOffset()
	}
	return t
}

// maxTransmitTimes is how many records a socket keeps.
const maxTransmitTimes = 256

// txTimes are the records of what a socket has sent, oldest first.
type txTimes struct {
	on atomic.Bool
	n  atomic.Int32 // records kept; changed with mu held

	mu   sync.Mutex
	ring []IOTimes // maxTransmitTimes long, from the first use on
	head int
	lost bool
}

// SetTransmitTimes says whether the times of sent datagrams are recorded, for
// TransmitTimes. Records of before are dropped. A datagram that waits for its
// neighbour leaves later, and is not recorded.
func (k *Endpoint) SetTransmitTimes(on bool) {
	x := &k.sentTimes
	x.mu.Lock()
	if on && x.ring == nil {
		x.ring = make([]IOTimes, maxTransmitTimes)
	}
	x.on.Store(on)
	x.head, x.lost = 0, false
	x.n.Store(0)
	x.mu.Unlock()
	k.changed(drive.Stamp)
	k.sendExtras.Follow(option.TransmitTimes, x.on.Load)
}

// push adds a record. If there is no room it is lost, and the next reader is
// told.
func (x *txTimes) push(t IOTimes) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := int(x.n.Load())
	if !x.on.Load() || n == len(x.ring) {
		x.lost = x.lost || x.on.Load()
		return
	}
	x.ring[(x.head+n)%len(x.ring)] = t
	x.n.Store(int32(n + 1))
}

// pop takes records.
func (x *txTimes) pop(times []IOTimes) (n int, lost bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	have := int(x.n.Load())
	for n < have && n < len(times) {
		times[n] = x.ring[x.head]
		x.head = (x.head + 1) % len(x.ring)
		n++
	}
	x.n.Store(int32(have - n))
	lost, x.lost = x.lost, false
	return n, lost
}

// sendTimed sends what is built in tx, and records when.
func (k *Endpoint) sendTimed(tx *output.Buffer, o *outgoing, pkt *output.Packet) unix.Errno {
	t := IOTimes{Queuing: k.s.Monotonic(), Delivery: o.began}
	e := k.sendStamped(tx, &pkt.Stamp)
	if e == 0 {
		e = tx.Finish()
	}
	if e != 0 || pkt.Queued {
		return e
	}
	t.Device = k.s.Monotonic()
	k.sentTimes.push(t)
	k.changed(EventsIn | drive.Stamp)
	return 0
}

// TransmitTimes takes the oldest records of what was sent and returns how many;
// lost says that there were more than are kept since the last call. It waits as
// Recv does, and after Shutdown, of either direction, returns none at once. EINVAL:
// they are not recorded. EBADF: the socket is closed.
func (k *Endpoint) TransmitTimes(times []IOTimes, flags int, deadline int64) (n int, lost bool, err error) {
	x := &k.sentTimes
	for {
		switch {
		case k.Closed():
			return 0, false, unix.EBADF
		case !x.on.Load():
			return 0, false, unix.EINVAL
		}
		if n, lost = x.pop(times); n > 0 || lost || len(times) == 0 {
			k.drained()
			return n, lost, nil
		}
		if flags&unix.MSG_DONTWAIT == 0 && k.state.Load()&(output.StateShutRead|output.StateShutWrite) != 0 {
			return 0, false, nil // there will be no more
		}
		if flags&unix.MSG_DONTWAIT != 0 || !k.awaitTimes(deadline) {
			return 0, false, unix.EAGAIN
		}
	}
}

// awaitTimes waits for a record, or until there will be none.
func (k *Endpoint) awaitTimes(deadline int64) bool {
	x, d := &k.sentTimes, &k.s.drive
	g := drive.Goal{Ready: func() bool { return x.n.Load() > 0 || !x.on.Load() || k.ended() }}
	c := drive.Call{Spin: &k.spin, Deadline: deadline, Until: &k.readBy, Budget: k.spin.Budget(),
		List: &k.watches, Events: drive.Stamp | unix.EPOLLHUP}
	v := d.Wait(&g, &c)
	d.Finish(&c)
	return v == drive.Ready
}

// Solicit is Stack.Solicit for the way that the socket's datagrams would take:
// by the device and from the address that it is bound to, if it is. EBADF: the
// socket is closed, or was meanwhile. EPIPE: it is shut down, in either direction.
func (k *Endpoint) Solicit(dst netip.Addr, timeout time.Duration, flags SolicitFlags) error {
	if k.ended() {
		return k.whyEnded()
	}
	local := k.kind.LocalAddr().Addr().As4()
	f := route.Flow{Src: local, Device: int32(k.Device())}
	if k.s.routes.Net().ReceivesOnly(f.Src) {
		f.Src = ipv4.Addr{}
	}
	return k.s.solicitBy(k, f, dst, timeout, flags)
}

// ended reports whether the socket was closed or shut down, whyEnded which.
func (k *Endpoint) ended() bool {
	return k.state.Load()&(output.StateShutRead|output.StateShutWrite|output.StateClosed) != 0
}

func (k *Endpoint) whyEnded() error {
	if k.Closed() {
		return unix.EBADF
	}
	return unix.EPIPE
}
