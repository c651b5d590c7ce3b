package output

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/drive"
	"golang.org/x/sys/unix"
)

// A socket shares an interface's way out, however often it sends, until it closes or has a
// way of its own, out of which nothing of its is left in the shared one.
func TestShares(t *testing.T) {
	r := newRig(t)
	a, b := r.socket(1), r.socket(2)
	sharers := func(want int32, when string) {
		t.Helper()
		if n := r.dev.Sharers.Load(); n != want {
			t.Errorf("%s: %d sharers, want %d", when, n, want)
		}
	}
	for range 2 {
		if a.WayOutOf(r.dev) != r.dev.Queue || b.WayOutOf(r.dev) != r.dev.Queue {
			t.Error("another way than the one that all use")
		}
	}
	sharers(2, "two sockets")
	r.l.q.queued = 1
	q := a.ownQueue(r.dev)
	if q == r.dev.Queue || a.ownQueue(r.dev) != q || a.WayOutOf(r.dev) != q || len(r.l.opened) != 1 || a.changes != 1 {
		t.Errorf("its own way out: %d opened, paths changed %d times", len(r.l.opened), a.changes)
	}
	sharers(2, "its own, with frames in the other")
	if n := a.SendQueued(); n != 0 {
		t.Errorf("%d bytes of others' are counted", n)
	}
	sharers(2, "asked while there are frames in the other")
	r.l.q.queued = 0
	a.SendQueued()
	sharers(1, "nothing in the other")
	a.SendQueued()
	sharers(1, "asked once more")
	b.Own.Close(&b.Sender)
	b.Own.Close(&b.Sender)
	sharers(0, "closed")
	b.WayOutOf(r.dev)
	sharers(0, "a send that is late")
	if b.ownQueue(r.dev) != r.dev.Queue || len(r.l.opened) != 1 {
		t.Error("a closed socket has opened a way out")
	}
	a.Own.Close(&a.Sender)
	if a.Own.Close(&a.Sender); r.l.opened[0].closed != 1 {
		t.Errorf("its own way out was closed %d times", r.l.opened[0].closed)
	}
}

// What a socket has of an interface that is gone is forgotten when it begins to send by
// another one.
func TestGoneWaysOut(t *testing.T) {
	r := newRig(t)
	l := newTestLink()
	d, _ := r.device(t, l, 3, "10.0.3.1/24")
	third, _ := r.device(t, newTestLink(), 4, "10.0.4.1/24")
	s, own := r.socket(1), r.socket(2)
	s.WayOutOf(r.dev)
	own.ownQueue(r.dev)
	s.WayOutOf(d)
	own.ownQueue(d)
	if n := len(*s.Own.Shares.Load()); n != 2 {
		t.Errorf("%d interfaces", n)
	}
	if n := len(*own.Own.list.Load()); n != 2 {
		t.Errorf("%d ways out of its own", n)
	}
	r.l.opened[0].queued, l.opened[0].queued = 3, 4
	if n := own.SendQueued(); n != 7 {
		t.Errorf("%d bytes by two ways out", n)
	}
	r.host.gone = unix.ENODEV
	s.WayOutOf(third)
	own.ownQueue(third)
	if list := *s.Own.Shares.Load(); len(list) != 2 || list[0] != third || list[1] != d {
		t.Errorf("%d interfaces after the end of one", len(list))
	}
	if n := len(*own.Own.list.Load()); n != 2 || own.Own.of(r.dev) != nil {
		t.Errorf("%d ways out of its own after the end of an interface", n)
	}
}

// A send that finds the way out full gets its own if others use that too, and asks once
// only.
func TestMoveAside(t *testing.T) {
	for _, tt := range []struct {
		name   string
		shares int
		built  bool
		own    bool // it goes by its own already
		open   error
		want   bool
	}{
		{"shared", 2, true, false, nil, true},
		{"alone", 1, true, false, nil, false},
		{"nothing built", 2, false, false, nil, false},
		{"its own", 2, true, true, nil, false},
		{"no other to be had", 2, true, false, unix.EMFILE, false},
	} {
		r := newRig(t)
		r.l.open = tt.open
		s := r.socket(1)
		s.WayOutOf(r.dev)
		if tt.shares > 1 {
			r.socket(2).WayOutOf(r.dev)
		}
		to := r.dev.Queue
		if tt.own {
			to = s.ownQueue(r.dev)
		}
		tx := r.Acquire(1)
		tx.To = to
		if tt.built {
			build(t, tx, to, 0, 0)
		}
		for again := range 2 {
			got := s.moveAside(tx)
			if got != (tt.want && again == 0) || (tx.To != r.dev.Queue) != (tt.want || tt.own) {
				t.Errorf("%s: %v", tt.name, got)
			}
		}
	}
	r := newRig(t)
	tx := r.Acquire(1)
	build(t, tx, r.dev.Queue, 0, 0)
	if (*Sender)(nil).moveAside(tx) {
		t.Error("the stack itself has got a way out of its own")
	}
}

// What a closed socket was behind with waits for the way that all use: its own is
// another's by then.
func TestBehindAfterClose(t *testing.T) {
	r := newRig(t)
	s := r.socket(1)
	q := s.ownQueue(r.dev)
	r.l.q.room = func() bool { return false }
	s.Own.Close(&s.Sender)
	s.Keep(q, []link.TxFrame{{Data: make([]byte, 60)}})
	if s.BehindOn() != r.dev.Queue {
		t.Error("behind on a way out that was given back")
	}
	s.Own.Close(&s.Sender)
	if s.state.Load()&stateSendBehind == 0 {
		t.Error("it is behind no more")
	}
}

// A socket that is behind keeps its way out.
func TestBehindKeepsItsWay(t *testing.T) {
	r := newRig(t)
	s := r.socket(1)
	q := s.ownQueue(r.dev)
	r.l.opened[0].room = func() bool { return false }
	s.Keep(q, []link.TxFrame{{Data: make([]byte, 60)}})
	if s.Own.Close(&s.Sender); r.l.opened[0].closed != 0 || s.Own.of(r.dev) != q {
		t.Error("its way out was given back")
	}
	if !s.CaughtUp() || len(r.l.opened[0].sent) != 1 {
		t.Error("it has not caught up")
	}
	if s.Own.Close(&s.Sender); r.l.opened[0].closed != 1 {
		t.Error("its way out was not given back")
	}
}

// A call that waits for room sleeps on the descriptor of the way out if that has one, else
// until it is told.
func TestSleepForRoom(t *testing.T) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for name, tell := range map[string]func(r *rig){
		"a descriptor": func(r *rig) { unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) },
		"told":         func(r *rig) { r.l.q.told() },
	} {
		r := newRig(t)
		if name == "a descriptor" {
			r.l.q.fd = fd
			r.driver.LinksChanged(false, false)
		}
		var has bool
		r.l.q.room = func() bool { r.l.q.mu.Lock(); defer r.l.q.mu.Unlock(); return has }
		s := r.socket(1)
		done := make(chan struct{})
		go func() {
			s.sleepForRoom(r.dev.Queue, 1<<62)
			close(done)
		}()
		for s.watches.Sleeping(eventsSend) == 0 {
			time.Sleep(10 * time.Microsecond)
		}
		r.l.q.mu.Lock()
		has = true
		r.l.q.mu.Unlock()
		tell(r)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it sleeps on", name)
		}
	}
}

// What a call sleeps on is the descriptor that there is, be it 0: of a process without
// standard input.
func TestWayOutSources(t *testing.T) {
	for fd, want := range map[int]int{-1: 0, 0: 1, 7: 1} {
		on := (&WayOut{room: &testQueue{fd: fd}}).sources()
		if len(on) != want || want > 0 && on[0].FD() != fd {
			t.Errorf("descriptor %d: %v", fd, on)
		}
	}
}

// Room that comes while a call goes to sleep keeps it awake; a device that cannot tell is
// tried again after a pause.
func TestSleepForRoomLastLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.socket(1)
		there := false
		r.l.q.room = func() bool {
			there = there || s.watches.Wanted(drive.Room)
			return there
		}
		s.sleepForRoom(r.dev.Queue, 1<<62)
		start := time.Now()
		s.sleepForRoom(&WayOut{Dev: r.dev}, 1<<62)
		if d := time.Since(start); d != busyPause {
			t.Errorf("a device that cannot tell is tried again after %v", d)
		}
	})
}

// Calls that wait in one way out share what they sleep on, which goes with the last one of
// a closed socket, or with the stack.
func TestRoomWaits(t *testing.T) {
	r := newRig(t)
	s := r.socket(1)
	a, b := s.block(r.dev.Queue), s.block(r.dev.Queue)
	if a == nil || a != b || r.Rooms.blocked[a] != 2 {
		t.Fatalf("two calls wait with %p, %p: %d", a, b, r.Rooms.blocked[a])
	}
	s.state.Or(StateClosed)
	s.EndWaits()
	s.unblock(a)
	if n := r.Rooms.blocked[a]; n != 1 {
		t.Errorf("%d calls are left of two", n)
	}
	s.unblock(b)
	if _, ok := r.Rooms.blocked[a]; ok {
		t.Error("something is left of calls that have ended")
	}
	r.Rooms.Close()
	if s.block(r.dev.Queue) != nil {
		t.Error("a call waits after the end")
	}
	r.l.q.room = func() bool { return false }
	s.sleepForRoom(r.dev.Queue, 1<<62) // returns
	if s.Rooms.arm(&s.Sender, r.dev.Queue); len(r.Rooms.waiting) != 0 {
		t.Error("somebody waits after the end")
	}
}

// Who waits for room in a device is told once there is some: by a device that says so, and
// after a pause by one that cannot, while others wait on. The first way out counts; the end
// does not wait for room.
func TestRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var has atomic.Bool
		r.l.q.room = has.Load
		s, other := r.socket(1), r.socket(2)
		s.watched = true
		s.Rooms.arm(&s.Sender, r.dev.Queue)
		s.Rooms.arm(&s.Sender, &WayOut{Dev: r.dev}) // which has room
		if synctest.Wait(); s.told.Load() != 0 {
			t.Error("told of room that there is not")
		}
		start := time.Now()
		other.Rooms.arm(&other.Sender, &WayOut{Dev: r.dev})
		if synctest.Wait(); other.told.Load() != 0 {
			t.Error("told at once by a device that cannot tell")
		}
		time.Sleep(2 * busyPause)
		if synctest.Wait(); other.told.Load() == 0 || s.told.Load() != 0 {
			t.Errorf("%v later told %v, and %v of a full device", time.Since(start), other.told.Load() != 0, s.told.Load() != 0)
		}
		has.Store(true)
		r.l.q.told()
		if synctest.Wait(); s.told.Load() == 0 {
			t.Error("not told of room")
		}
		has.Store(false)
		s.Rooms.arm(&s.Sender, r.dev.Queue)
		synctest.Wait()
		r.Rooms.Close() // wakes the goroutine
	})
}

// A socket that is behind goes on when there is room, and is told after that; a closed one
// gives its way out back then.
func TestRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.socket(1)
		q := s.ownQueue(r.dev)
		own := r.l.opened[0]
		var has atomic.Bool
		own.room = has.Load
		own.refuse = func(n int) error {
			if n == 0 || has.Load() {
				return nil
			}
			return unix.EAGAIN
		}
		s.Keep(q, []link.TxFrame{{Data: make([]byte, 60)}, {Data: make([]byte, 60)}})
		if synctest.Wait(); len(own.sent) != 0 || s.CaughtUp() || len(own.sent) != 1 || len(s.backlog.frames) != 1 {
			t.Errorf("%d sent, %d left", len(own.sent), len(s.backlog.frames))
		}
		s.state.Or(StateClosed)
		s.Own.Close(&s.Sender)
		s.told.Store(0)
		has.Store(true)
		own.told()
		if synctest.Wait(); len(own.sent) != 2 || s.told.Load() == 0 || own.closed != 1 {
			t.Errorf("%d sent, told %v, closed %d times", len(own.sent), s.told.Load() != 0, own.closed)
		}
	})
}
