package stack

import (
	"math"
	"sync/atomic"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// Times is what a socket has of times: those of its datagrams that it wants to know, and
// those at which they are to leave.
type Times struct {
	k      *Endpoint
	flags  atomic.Uint32 // SOF_TIMESTAMPING_* of what is sent
	key    atomic.Uint32 // the next datagram's number (OPT_ID)
	sent   option.SentTimes
	txTime atomic.Pointer[TxTime]
}

// IOTimes says when a datagram passed three points on its way.
type IOTimes = option.IOTimes

// TxTime is how the datagrams of a socket are scheduled (struct sock_txtime of
// linux/net_tstamp.h).
type TxTime struct {
	// Clock is the clock of the datagrams' times: unix.CLOCK_MONOTONIC, _REALTIME or
	// _TAI. Times are converted when the datagram is sent: a clock that is set
	// after that has no effect on it.
	Clock int32
	// Deadline says that a datagram leaves at once, unless its time is over.
	Deadline bool
	// Report puts datagrams that are dropped into the error queue.
	Report bool
}

// Times returns what the socket has of times.
func (k *Endpoint) Times() *Times { return &k.times }

// SetReceiveTimes says whether Info.Taken and Info.Delivered are wanted.
func (t *Times) SetReceiveTimes(on bool) {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	if on == t.k.recvExtras.Has(option.ReceiveTimes) || on && t.k.Closed() {
		return
	}
	t.k.s.lockLanes()
	if t.k.recvExtras.Put(option.ReceiveTimes, on); on {
		t.k.s.timed++
	} else {
		t.k.s.timed--
	}
	t.k.s.unlockLanes()
}

// SetTransmitTimes says whether the times of sent datagrams are recorded, for
// TransmitTimes. Records of before are dropped. A datagram that waits for its
// neighbour leaves later, and is not recorded.
func (t *Times) SetTransmitTimes(on bool) {
	t.sent.Keep(on)
	t.k.watches.Tell(drive.Stamp)
	t.k.sendExtras.Follow(option.TransmitTimes, t.sent.Kept)
}

// TransmitTimes takes the oldest records of what was sent and returns how many;
// lost says that there were more than are kept since the last call. It waits as
// Recv does, and after Shutdown, of either direction, returns none at once. EINVAL:
// they are not recorded. EBADF: the socket is closed.
func (t *Times) TransmitTimes(times []IOTimes, flags int, deadline int64) (n int, lost bool, err error) {
	for {
		switch {
		case t.k.Closed():
			return 0, false, unix.EBADF
		case !t.sent.Kept():
			return 0, false, unix.EINVAL
		}
		if n, lost = t.sent.Pop(times); n > 0 || lost || len(times) == 0 {
			t.k.watches.Drained()
			return n, lost, nil
		}
		if flags&unix.MSG_DONTWAIT == 0 && t.k.state.Load()&(output.StateShutRead|output.StateShutWrite) != 0 {
			return 0, false, nil // there will be no more
		}
		if flags&unix.MSG_DONTWAIT != 0 || !t.awaitTimes(deadline) {
			return 0, false, unix.EAGAIN
		}
	}
}

// awaitTimes waits for a record, or until there will be none.
func (t *Times) awaitTimes(deadline int64) bool {
	d := &t.k.s.drive
	g := drive.Goal{Ready: func() bool { return t.sent.Len() > 0 || !t.sent.Kept() || t.k.ended() }}
	c := drive.Call{Spin: &t.k.spin, Deadline: deadline, Until: &t.k.readBy, Budget: t.k.spin.Budget(),
		List: &t.k.watches, Events: drive.Stamp | unix.EPOLLHUP}
	v := d.Wait(&g, &c)
	d.Finish(&c)
	return v == drive.Ready
}

// SetTimestamping sets which time stamps of sent datagrams go to the error queue,
// as SOF_TIMESTAMPING_* flags: TX_SCHED when a datagram is handed to the device,
// TX_SOFTWARE when that has taken it. OPT_ID numbers those that are stamped, from
// 0 on when it is turned on; OPT_TSONLY leaves the frame out of the entry. Of a
// datagram in fragments the first is stamped, of one of UDP_SEGMENT the first too.
// What waits for its neighbour is stamped when it leaves.
func (t *Times) SetTimestamping(flags uint32) {
	if old := t.flags.Swap(flags); flags&^old&unix.SOF_TIMESTAMPING_OPT_ID != 0 {
		t.key.Store(0)
	}
	t.k.sendExtras.Follow(option.SendStamps, func() bool { return t.flags.Load()&output.StampRecord != 0 })
}

// beginStamp finds out if a datagram is to be stamped, and numbers it. dropStamp
// or stampSent ends what it begins.
func (t *Times) beginStamp(o *outgoing) (st output.Stamp) {
	flags := t.flags.Load()
	if o.opts != nil && o.opts.Timestamping != 0 {
		flags = flags&^output.StampRecord | o.opts.Timestamping
	}
	if flags&output.StampRecord == 0 || o.segment {
		return output.Stamp{}
	}
	st.Flags = flags
	switch {
	case o.opts != nil && o.opts.HasStampID:
		st.Key = o.opts.StampID
	case flags&unix.SOF_TIMESTAMPING_OPT_ID != 0:
		st.Key = t.key.Add(1) - 1
	}
	return st
}

// dropStamp gives the number of a datagram back that is not sent.
func (t *Times) dropStamp(st *output.Stamp, o *outgoing) {
	if st.Flags&unix.SOF_TIMESTAMPING_OPT_ID != 0 && (o.opts == nil || !o.opts.HasStampID) {
		t.key.Add(^uint32(0))
	}
}

// sendStamped sends what is built in tx, and stamps the datagram in it if that is
// wanted.
func (t *Times) sendStamped(tx *output.Buffer, st *output.Stamp) unix.Errno {
	if st.Flags&output.StampFlags == 0 {
		return 0
	}
	before := t.k.s.WallTime()
	if errno := tx.Finish(); errno != 0 {
		return errno
	}
	t.k.out.TellStamp(st, before, t.k.s.WallTime())
	return 0
}

// sendTimed sends what is built in tx, and records when.
func (t *Times) sendTimed(tx *output.Buffer, o *outgoing, pkt *output.Packet) unix.Errno {
	at := IOTimes{Queuing: t.k.s.Monotonic(), Delivery: o.began}
	e := t.sendStamped(tx, &pkt.Stamp)
	if e == 0 {
		e = tx.Finish()
	}
	if e != 0 || pkt.Queued {
		return e
	}
	at.Device = t.k.s.Monotonic()
	t.sent.Push(at)
	t.k.watches.Tell(EventsIn | drive.Stamp)
	return 0
}

// stampSent sends what is built if the datagram's time is wanted.
func (t *Times) stampSent(tx *output.Buffer, o *outgoing, pkt *output.Packet) unix.Errno {
	if o.opts != nil {
		o.opts.Queued = pkt.Queued
	}
	e := unix.Errno(0)
	switch {
	case t.k.sendExtras.Has(option.TransmitTimes):
		e = t.sendTimed(tx, o, pkt)
	case pkt.Stamp.Flags != 0:
		e = t.sendStamped(tx, &pkt.Stamp)
	}
	if e != 0 {
		t.dropStamp(&pkt.Stamp, o)
	}
	return e
}

// SetTxTime lets datagrams have times (SO_TXTIME): see SendOptions.TxTime.
func (t *Times) SetTxTime(how TxTime) { t.txTime.Store(&how) }

// TxTime returns what SetTxTime set; ok is false if nothing did.
func (t *Times) TxTime() (how TxTime, ok bool) {
	if p := t.txTime.Load(); p != nil {
		return *p, true
	}
	return TxTime{}, false
}

// later returns when a datagram is to leave; nil: now.
func (t *Times) later(o *outgoing) *output.Later {
	how := t.txTime.Load()
	if o.opts == nil || o.opts.TxTime == 0 || how == nil {
		return nil
	}
	l := &output.Later{Time: o.opts.TxTime, Report: how.Report}
	l.Due = t.k.s.timeOf(how.Clock, int64(l.Time))
	if how.Deadline && l.Due >= t.k.s.clock.Now() {
		return nil
	}
	return l
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

// timeOf returns a time of one of the kernel's clocks by the stack's clock.
func (s *Stack) timeOf(clock int32, t int64) int64 {
	from := s.clock.Base() // of the clock's time at 0
	if clock != unix.CLOCK_MONOTONIC {
		var now unix.Timespec
		if unix.ClockGettime(clock, &now) != nil {
			return math.MinInt64 // no such time: it is over
		}
		from = now.Nano() - s.clock.Now()
	}
	due := t - from
	if from < 0 && due < t {
		return never - 1 // beyond what the clock can tell
	}
	return due
}

// Scheduled returns how many frames wait for their time (SO_TXTIME).
func (s *Stack) Scheduled() int {
	return s.out.ScheduledFrames()
}
