package output

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"golang.org/x/sys/unix"
)

// A send buffer is full with what reaches its limit, and writable, of which is told, when
// less than half is charged.
func TestSendBuffer(t *testing.T) {
	const frame = 1000
	charge := ChargeFrame(frame)
	r := newRig(t)
	s := r.socket(1)
	s.SetSendBuffer(int(4 * charge))
	for i := range 4 {
		if full, writable := s.SendFull(), s.Writable(); full || writable != (i < 2) {
			t.Errorf("%d of 4 charged: full %v, writable %v", i, full, writable)
		}
		s.chargeSend(frame)
	}
	if !s.SendFull() || s.SendQueued() != int(4*charge) {
		t.Errorf("all charged: full %v, %d bytes", s.SendFull(), s.SendQueued())
	}
	if e := s.NoSpace(); e != unix.EAGAIN || !s.TakeMissed() || s.TakeMissed() {
		t.Error("a send that was refused has not missed space once")
	}
	s.told.Store(0)
	for i := range 4 {
		s.unchargeSend(frame)
		if told := s.told.Load() != 0; told != (i > 1) || s.SendFull() {
			t.Errorf("%d of 4 are free: told %v, full %v", i+1, told, s.SendFull())
		}
	}
	s.chargeSend(frame)
	for half, writable := range map[int64]bool{charge + 1: false, charge + 2: true} {
		if s.SetSendBuffer(int(2 * half)); s.Writable() != writable {
			t.Errorf("%d charged of %d: writable %v", charge, 2*half, !writable)
		}
	}
	s.told.Store(0)
	if s.SetSendBuffer(int(2 * charge)); s.told.Load() != 0 {
		t.Error("told of a buffer that is half full")
	}
	if s.SetSendBuffer(int(charge)); !s.SendFull() {
		t.Error("not full after the limit came down")
	}
	if s.SetSendBuffer(int(3 * charge)); s.SendFull() || s.told.Load()&drive.Out == 0 {
		t.Error("not told after the limit went up")
	}
	if !s.apart.Load() || r.socket(2).apart.Load() {
		t.Error("a buffer of its own needs a way out of its own")
	}
}

// A size of its own is that of the ways out too; what all use has one already.
func TestSendBufferOfWaysOut(t *testing.T) {
	r := newRig(t)
	s := r.socket(1)
	if s.SetSendBuffer(DefaultSndbuf); s.apart.Load() {
		t.Error("the default takes a way out of its own")
	}
	s.ownQueue(r.dev)
	s.SetSendBuffer(5000)
	if r.l.opened[0].buffer != 5000 || r.l.q.buffer != 0 || s.SendBuffer() != 5000 {
		t.Errorf("buffers of %d, and of %d for all", r.l.opened[0].buffer, r.l.q.buffer)
	}
}

// Bytes in the device are the socket's if it alone sends by that way out; if others do too,
// it gets its own.
func TestSendQueued(t *testing.T) {
	r := newRig(t)
	a, b := r.socket(1), r.socket(2)
	r.l.q.queued = 700
	a.WayOutOf(r.dev)
	if n := a.SendQueued(); n != 700 || a.apart.Load() {
		t.Errorf("alone: %d bytes, apart %v", n, a.apart.Load())
	}
	b.WayOutOf(r.dev)
	if n := a.SendQueued(); n != 700 || !a.apart.Load() || b.apart.Load() {
		t.Errorf("one of two: %d bytes, apart %v", n, a.apart.Load())
	}
	a.WayOutOf(r.dev)
	r.l.opened[0].queued = 30
	if n := a.SendQueued(); n != 30 {
		t.Errorf("by a way of its own: %d bytes", n)
	}
}

// A device without room makes a socket unwritable if the socket's send has found it so, or
// if it sends there alone.
func TestStuck(t *testing.T) {
	r := newRig(t)
	has := false
	r.l.q.room = func() bool { return has }
	a, b := r.socket(1), r.socket(2)
	if !a.Writable() {
		t.Error("stuck on what it does not use")
	}
	a.WayOutOf(r.dev)
	if a.Writable() || a.full.Load() != r.dev.Queue {
		t.Error("writable to a full device")
	}
	has = true
	if !a.Writable() || a.full.Load() != nil {
		t.Error("not writable after there was room")
	}
	has = false
	b.WayOutOf(r.dev)
	if !a.Writable() || !b.Writable() {
		t.Error("stuck on what others have filled")
	}
	if a.noRoom(r.dev.Queue); a.Writable() || !b.Writable() {
		t.Error("not stuck on what a send has found full")
	}
	a.ownQueue(r.dev)
	a.full.Store(nil)
	r.l.opened[0].room = func() bool { return false }
	if a.Writable() || a.full.Load() == r.dev.Queue {
		t.Error("writable, but its own way out is full")
	}
}

// Who watches a socket is told of room in the device: at once if there is some, else when
// there is.
func TestTellSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var has atomic.Bool
		has.Store(true)
		r.l.q.room = has.Load
		s := r.socket(1)
		s.watched = true
		s.WayOutOf(r.dev)
		if s.TellSent(); s.told.Load()&drive.Out == 0 {
			t.Error("not told of space")
		}
		has.Store(false)
		s.noRoom(r.dev.Queue) // waits
		s.told.Store(0)
		s.TellSent()
		if synctest.Wait(); s.told.Load() != 0 || len(r.Rooms.waiting) != 1 {
			t.Errorf("told of %#x in a full device", s.told.Load())
		}
		has.Store(true)
		r.l.q.told()
		if synctest.Wait(); s.told.Load()&drive.Out == 0 {
			t.Error("not told of room")
		}
		s.told.Store(0)
		s.chargeSend(1000)
		s.limit.Store(1)
		if s.TellSent(); s.told.Load() != 0 {
			t.Error("told of space that there is not")
		}
		other := r.socket(2)
		has.Store(false)
		other.noRoom(r.dev.Queue)
		if other.Missing(); !other.TakeMissed() || len(r.Rooms.waiting) != 0 {
			t.Error("somebody waits for room on behalf of nobody")
		}
		other.watched = true
		if other.Missing(); len(r.Rooms.waiting) != 1 || r.Rooms.waiting[&other.Sender] != r.dev.Queue {
			t.Error("nobody waits for room")
		}
	})
}

// A call that finds the send buffer full waits, unless it may not, or there is no port to
// wait for.
func TestPause(t *testing.T) {
	for _, tt := range []struct {
		name     string
		flags    int
		state    uint32
		deadline int64
		full     bool
		noPort   bool
		want     bool
	}{
		{"there is space", 0, 0, drive.Never, false, false, true},
		{"full", 0, 0, drive.Never, true, false, true},
		{"full, without a port", 0, 0, drive.Never, true, true, true},
		{"no port", 0, 0, drive.Never, false, true, false},
		{"does not wait", unix.MSG_DONTWAIT, 0, drive.Never, true, false, false},
		{"an error", 0, StateError, drive.Never, true, false, false},
		{"late", 0, 0, 1e9, true, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			s := r.socket(1)
			s.noPort = tt.noPort
			s.state.Or(tt.state)
			if tt.full {
				s.chargeSend(DefaultSndbuf)
			}
			go func() {
				time.Sleep(time.Second)
				if s.Charged.Load() > 0 {
					s.unchargeSend(DefaultSndbuf)
				}
			}()
			start := time.Now()
			got := s.Pause(tt.flags, tt.deadline)
			if waited := time.Since(start) > 0; got != tt.want || waited != (tt.want && tt.full) || got && s.SendFull() {
				t.Errorf("%s: %v, waited %v", tt.name, got, waited)
			}
			time.Sleep(2 * time.Second)
		})
	}
}

// A call of a socket that is behind waits for room in the device.
func TestPauseBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var has atomic.Bool
		r.l.q.room = has.Load
		s := r.socket(1)
		s.Keep(r.dev.Queue, []link.TxFrame{{Data: make([]byte, 60)}})
		go func() {
			time.Sleep(time.Second)
			has.Store(true)
			r.l.q.told()
		}()
		start := time.Now()
		if !s.Pause(0, drive.Never) || time.Since(start) != time.Second {
			t.Errorf("a call that is behind has waited %v", time.Since(start))
		}
	})
}

// A backlog leaves in order, by batches for each way out, as far as there is room; what the
// device loses is counted; when the stack closes it is lost.
func TestBacklog(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refuse  func(int) error
		closing bool
		sent    int
		left    int
		losses  uint64
	}{
		{"room", nil, false, 3, 0, 0},
		{"full", always(1, unix.EAGAIN), false, 1, 2, 0},
		{"one is lost", once(1, unix.ENOBUFS), false, 2, 0, 1},
		{"full at the end", always(1, unix.EAGAIN), true, 1, 0, 2},
	} {
		r := newRig(t)
		r.l.q.room = func() bool { return false }
		r.l.q.refuse = tt.refuse
		r.closing = tt.closing
		s := r.socket(1)
		frames := make([]link.TxFrame, 3)
		for i := range frames {
			frames[i].Data = make([]byte, 60)
		}
		s.Keep(r.dev.Queue, frames)
		if got := s.CaughtUp(); got != (tt.left == 0) || len(r.l.q.sent) != tt.sent || len(s.backlog.frames) != tt.left {
			t.Errorf("%s: caught up %v, %d sent, %d left", tt.name, got, len(r.l.q.sent), len(s.backlog.frames))
		}
		if n := s.Charged.Load(); n != int64(tt.left)*ChargeFrame(60) {
			t.Errorf("%s: %d charged", tt.name, n)
		}
		tx := r.Acquire(s.id)
		if n := tx.Count[counter.UDPSndbufErrors].Load(); n != tt.losses {
			t.Errorf("%s: %d losses", tt.name, n)
		}
	}
	r := newRig(t)
	r.l.q.room = func() bool { return false }
	s := r.socket(1)
	s.Keep(r.dev.Queue, make([]link.TxFrame, txBatch+1))
	if !s.CaughtUp() || len(r.l.q.calls) != 2 {
		t.Errorf("more than a batch: %v", r.l.q.calls)
	}
}
