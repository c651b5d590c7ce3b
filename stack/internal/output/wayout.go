package output

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
)

// A WayOut is a way out of an interface. There are two kinds:
//
//   - the link's own (device.queue), the quickest, by which every socket sends
//     until it matters that others do too: a send finds it full, or somebody asks how
//     much has not left yet; or until SO_SNDBUF is set;
//   - one socket's alone (link.Queuer.OpenQueue), from then on: as on Linux the socket
//     is charged for its own frames, up to its SO_SNDBUF, whatever others do.
//
// Where the link has no more of the second kind, the socket stays with the first.
type WayOut struct {
	Dev *Device
	out frameSender
	// Room tells when there is room again; nil: the link cannot tell.
	room link.TxQueue
}

// A frameSender is what of a link or a link.TxQueue sends.
type frameSender interface {
	Send(frame []byte) error
	SendBatch(frames []link.TxFrame) (int, error)
}

// busyPause is when to try again on a link that cannot tell that there is room: a
// few frames' time at 1 Gbit/s.
const busyPause = 50 * time.Microsecond

// newWayOut returns the way out that the link itself is.
func newWayOut(d *Device) *WayOut {
	q := &WayOut{Dev: d, out: d.Link}
	if l, ok := d.Link.(link.Queuer); ok {
		if q.room = l.Queue(); q.room != nil {
			q.room.SetRoom(d.t.Rooms.Look)
		}
	}
	return q
}

// hasRoom reports whether a send has a chance.
func (q *WayOut) hasRoom() bool { return q.room == nil || q.room.Room() }

// sources returns what to sleep on for room, nil if there is no descriptor. The device
// can tell of room.
func (q *WayOut) sources() []link.Pollable {
	if q.room.RoomFD() < 0 {
		return nil
	}
	return []link.Pollable{roomPoll{q.room}}
}

// A roomPoll is what to sleep on for room in a queue.
type roomPoll struct{ to link.TxQueue }

// FD implements link.Pollable.
func (p roomPoll) FD() int { return p.to.RoomFD() }

// PollError implements link.Pollable. The send that comes next says what is wrong.
func (p roomPoll) PollError() {}

// ownQueues are a socket's ways out that are its alone, by interface.
type ownQueues struct {
	// list has the ways out, shares the interfaces by whose own way the socket sends,
	// or has sent. They are never changed, only replaced.
	list   atomic.Pointer[[]*WayOut]
	Shares atomic.Pointer[[]*Device]

	mu     sync.Mutex // of those who replace them; taken before locks of the link
	closed bool
}

// of returns the socket's own way out of an interface, nil if it has none.
func (o *ownQueues) of(d *Device) *WayOut {
	list := o.list.Load()
	if list == nil {
		return nil
	}
	for _, q := range *list {
		if q.Dev == d {
			return q
		}
	}
	return nil
}

// ownQueue returns the socket's own way out of an interface, which it gets if it has
// none: what is sent from now on goes by it. It is the interface's own if there is no
// other to be had. It takes system calls, and must not be called with a lane's lock
// held.
func (s *Sender) ownQueue(d *Device) *WayOut {
	o := &s.Own
	if q := o.of(d); q != nil {
		return q
	}
	l, ok := d.Link.(link.Queuer)
	if !ok {
		return d.Queue
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if q := o.of(d); q != nil || o.closed {
		if q == nil {
			q = d.Queue
		}
		return q
	}
	q := d.Queue // and nobody asks again
	if own, err := l.OpenQueue(s.SendBuffer()); err == nil {
		own.SetRoom(s.Rooms.Look)
		q = &WayOut{Dev: d, out: own, room: own}
	}
	o.addLocked(q)
	o.leaveLocked(d)
	s.host.PathsChanged()
	return q
}

// share notes that the socket sends by an interface's own way out.
func (o *ownQueues) share(d *Device) {
	if list := o.Shares.Load(); list != nil && slices.Contains(*list, d) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	list := []*Device{d}
	if old := o.Shares.Load(); old != nil {
		if slices.Contains(*old, d) {
			return
		}
		for _, other := range *old {
			if other.Host.Gone() == nil {
				list = append(list, other)
			}
		}
	}
	if !o.closed {
		d.Sharers.Add(1)
		o.Shares.Store(&list)
	}
}

// leaveLocked is for a socket that has its own way out of an interface: it shares the
// other as long as there may be frames of its in it, so that nobody takes them for his.
func (o *ownQueues) leaveLocked(d *Device) {
	if q := o.of(d); q != nil && q != d.Queue && d.Queue.hasNothing() {
		o.unshareLocked(d)
	}
}

// leave is leaveLocked.
func (o *ownQueues) leave(d *Device) {
	if o.of(d) == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaveLocked(d)
}

// hasNothing reports whether no frame is in the device.
func (q *WayOut) hasNothing() bool { return q.room == nil || q.room.Queued() == 0 }

// unshareLocked is for a socket that does so no more.
func (o *ownQueues) unshareLocked(d *Device) {
	list := o.Shares.Load()
	if list == nil || !slices.Contains(*list, d) {
		return
	}
	d.Sharers.Add(-1)
	left := slices.DeleteFunc(slices.Clone(*list), func(other *Device) bool { return other == d })
	o.Shares.Store(&left)
}

// addLocked adds a way out, and forgets those of interfaces that have gone.
func (o *ownQueues) addLocked(q *WayOut) {
	list := []*WayOut{q}
	if old := o.list.Load(); old != nil {
		for _, other := range *old {
			if other.Dev.Host.Gone() == nil {
				list = append(list, other)
			}
		}
	}
	o.list.Store(&list)
}

// all yields the ways out that are the socket's alone.
func (o *ownQueues) all(yield func(*WayOut) bool) {
	list := o.list.Load()
	if list == nil {
		return
	}
	for _, q := range *list {
		if q != q.Dev.Queue && !yield(q) {
			return
		}
	}
}

// hold marks the socket as behind, which keeps its ways out from being given back, and
// returns the way out to be behind on: what all use, if they have been already.
func (o *ownQueues) hold(s *Sender, to *WayOut) *WayOut {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.state.Or(stateSendBehind)
	if o.closed {
		return to.Dev.Queue
	}
	return to
}

// Close gives the ways out of a closed socket back, unless it is behind: then that is
// for whoever has caught up.
func (o *ownQueues) Close(s *Sender) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || s.state.Load()&stateSendBehind != 0 {
		return
	}
	o.closed = true
	for q := range o.all {
		q.room.Close()
	}
	o.list.Store(nil)
	if list := o.Shares.Load(); list != nil {
		for _, d := range *list {
			o.unshareLocked(d)
		}
	}
}

// separate has the socket send by ways out of its own from now on.
func (s *Sender) separate() {
	if s.apart.Swap(true) {
		return
	}
	s.host.PathsChanged()
}

// WayOutOf returns the socket's way out of an interface.
func (s *Sender) WayOutOf(d *Device) *WayOut {
	if s.apart.Load() {
		return s.ownQueue(d)
	}
	if q := s.Own.of(d); q != nil {
		return q
	}
	s.Own.share(d)
	return d.Queue
}

// moveAside is for a send that has found a way out full: if that was one which others
// use too, the socket gets its own, and true says that what is left may go by that.
func (s *Sender) moveAside(tx *Buffer) bool {
	if s == nil || len(tx.Batch) == 0 || tx.To != tx.To.Dev.Queue || tx.To.Dev.Sharers.Load() < 2 {
		return false
	}
	to := s.ownQueue(tx.To.Dev)
	if to == tx.To {
		return false
	}
	tx.To = to
	return true
}
