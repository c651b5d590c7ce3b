package output

import (
	"slices"
	"testing"

	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// once returns what refuses the n-th frame once, with an error.
func once(n int, err error) func(int) error {
	done := false
	return func(at int) error {
		if at != n || done {
			return nil
		}
		done = true
		return err
	}
}

// always refuses the frames from the n-th on.
func always(n int, err error) func(int) error {
	return func(at int) error {
		if at < n {
			return nil
		}
		return err
	}
}

// What a call that does not wait does with messages of one, two and one frames, of which
// the device takes some: what leaves, what counts as sent, what goes to the backlog.
func TestCarryOn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		refuse   func(int) error
		lossSent bool
		e        unix.Errno
		sent     int    // messages
		left     []byte // frames
		behind   bool
		losses   uint64
		counted  uint64 // datagrams
	}{
		{name: "all leave", sent: 3, left: []byte{0, 1, 2, 3}, counted: 3},
		{name: "full at once", refuse: always(0, unix.EAGAIN), e: unix.EAGAIN},
		{name: "full after the first", refuse: always(1, unix.EAGAIN), e: unix.EAGAIN, sent: 1, left: []byte{0}, counted: 1},
		{name: "full midway", refuse: always(2, unix.EAGAIN), e: unix.EAGAIN, sent: 2, left: []byte{0, 1}, behind: true, counted: 2},
		{name: "full before the last", refuse: always(3, unix.EAGAIN), e: unix.EAGAIN, sent: 2, left: []byte{0, 1, 2}, counted: 2},
		{name: "the first is lost", refuse: once(0, unix.ENOBUFS), lossSent: true, sent: 3, left: []byte{1, 2, 3}, losses: 1, counted: 2},
		{name: "one of two is lost", refuse: once(1, unix.ENOBUFS), lossSent: true, sent: 3, left: []byte{0, 3}, losses: 1, counted: 2},
		{name: "lost, and told", refuse: once(1, unix.ENOBUFS), e: unix.ENOBUFS, sent: 1, left: []byte{0}, losses: 1, counted: 1},
		{name: "the last is lost", refuse: once(3, unix.ENOBUFS), lossSent: true, sent: 3, left: []byte{0, 1, 2}, losses: 1, counted: 2},
		{name: "down", refuse: always(1, unix.ENETDOWN), e: unix.ENETDOWN, sent: 1, left: []byte{0}, counted: 1},
		{name: "no errno", refuse: always(0, errNoErrno{}), e: unix.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			s := r.socket(1)
			s.lossSent = tt.lossSent
			s.WayOutOf(r.dev)
			tx := r.Acquire(1)
			r.l.q.refuse = tt.refuse
			r.l.q.room = func() bool { return false }
			for i, message := range []int{0, -1, 1, 2} {
				build(t, tx, r.dev.Queue, byte(i), message)
				if message >= 0 {
					s.Count(tx, false)
				}
			}
			e := s.Finish(tx, unix.MSG_DONTWAIT, 0)
			if e != tt.e || tx.Sent != tt.sent || tx.Failed != 0 || len(tx.Batch) != 0 || tx.Midway || tx.used != 0 {
				t.Errorf("%v, %d sent, failed %v, %d frames built, midway %v; want %v, %d", e, tx.Sent, tx.Failed, len(tx.Batch), tx.Midway, tt.e, tt.sent)
			}
			if left := r.l.q.frames(); !slices.Equal(left, tt.left) {
				t.Errorf("frames %v have left, want %v", left, tt.left)
			}
			if behind := s.BehindOn() != nil; behind != tt.behind {
				t.Errorf("behind: %v", behind)
			}
			if n := tx.Count[counter.UDPSndbufErrors].Load(); n != tt.losses {
				t.Errorf("%d losses", n)
			}
			if n := tx.Count[counter.UDPOutDatagrams].Load(); n != tt.counted {
				t.Errorf("%d datagrams count as sent, want %d", n, tt.counted)
			}
			if n := tx.Count[counter.DropLinkError].Load(); n != 0 && (tt.e == unix.EAGAIN || tt.e == 0 && !tt.lossSent) || n == 0 && (tt.losses > 0 || tt.e == unix.ENETDOWN) {
				t.Errorf("%d errors of the link", n)
			}
			if full := s.full.Load() != nil; full != (tt.e == unix.EAGAIN) || s.TakeMissed() != full {
				t.Errorf("known to be full: %v", full)
			}
		})
	}
}

type errNoErrno struct{}

func (errNoErrno) Error() string { return "no errno" }

// What the stack itself sends, or has kept for a socket, has nobody to tell: of what there
// is no room for the stack's own is lost, the socket's goes to its backlog; what the device
// drops is lost alone.
func TestFlushOwned(t *testing.T) {
	for _, tt := range []struct {
		name   string
		owned  bool
		refuse func(int) error
		left   []byte
		behind int
	}{
		{"full", false, always(1, unix.EAGAIN), []byte{0}, 0},
		{"one is lost", false, once(1, unix.ENOBUFS), []byte{0, 2, 3}, 0},
		{"the last is lost", false, once(3, unix.ENOBUFS), []byte{0, 1, 2}, 0},
		{"down", false, always(1, unix.ENETDOWN), []byte{0}, 0},
		{"full, of a socket", true, always(1, unix.EAGAIN), []byte{0}, 3},
		{"one is lost, of a socket", true, once(1, unix.ENOBUFS), []byte{0, 2, 3}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.l.q.room = func() bool { return false }
			var s *Sender
			if tt.owned {
				s = &r.socket(1).Sender
			}
			tx := r.beginOwned()
			tx.Owner = s
			for i := range byte(4) {
				build(t, tx, r.dev.Queue, i, -1)
			}
			r.l.q.refuse = tt.refuse
			r.endOwned(tx)
			if left := r.l.q.frames(); !slices.Equal(left, tt.left) || tx.Failed != 0 || len(tx.Batch) != 0 {
				t.Errorf("frames %v have left, want %v; failed %v, %d built", left, tt.left, tx.Failed, len(tx.Batch))
			}
			if s != nil && len(s.backlog.frames) != tt.behind {
				t.Errorf("%d frames in the backlog, want %d", len(s.backlog.frames), tt.behind)
			}
		})
	}
}

// Finish is that of the call that a Buffer is in; without one, nobody hears of a loss.
func TestBufferFinish(t *testing.T) {
	for _, owned := range []bool{false, true} {
		r := newRig(t)
		tx := r.Acquire(1)
		tx.Flags = unix.MSG_DONTWAIT
		want := unix.Errno(0)
		if owned {
			tx.Owner, want = &r.socket(1).Sender, unix.EAGAIN
		}
		build(t, tx, r.dev.Queue, 0, 0)
		r.l.q.refuse = always(0, unix.EAGAIN)
		if e := tx.Finish(); e != want || len(tx.Batch) != 0 || tx.Failed != 0 {
			t.Errorf("in a call %v: %v, %d frames left", owned, e, len(tx.Batch))
		}
	}
}

// A Buffer sends what was built before it takes a frame that goes elsewhere, one more than a
// batch has, or more than it has memory for; what is refused stands in the way of what goes
// elsewhere only.
func TestBufferRoom(t *testing.T) {
	r := newRig(t)
	other := &WayOut{Dev: &Device{}, out: new(testQueue)}
	tx := r.Acquire(1)
	for i := range byte(txBatch) {
		build(t, tx, r.dev.Queue, i, int(i))
	}
	if len(r.l.q.sent) != 0 || len(tx.Batch) != txBatch {
		t.Fatalf("%d frames were sent before a batch is full", len(r.l.q.sent))
	}
	build(t, tx, r.dev.Queue, txBatch, txBatch)
	if !slices.Equal(r.l.q.calls, []int{txBatch}) || tx.Sent != txBatch || len(tx.Batch) != 1 {
		t.Errorf("batches of %v, %d messages sent, %d frames built", r.l.q.calls, tx.Sent, len(tx.Batch))
	}
	build(t, tx, other, 0, txBatch+1)
	if !slices.Equal(r.l.q.calls, []int{txBatch, 1}) || tx.To != other || len(tx.Batch) != 1 {
		t.Errorf("what goes elsewhere: batches of %v, %d frames built", r.l.q.calls, len(tx.Batch))
	}
	tx.Flush()

	for i, n := range []int{txArena / 2, txArena / 2, 1} {
		b, e := tx.Room(r.dev.Queue, n)
		if e != 0 || len(b) != n {
			t.Fatalf("room for %d bytes: %d, %v", n, len(b), e)
		}
		tx.Add(b, -1)
		if sent := len(r.l.q.calls) - 2; sent != i/2 || len(tx.Batch) != 1+i%2 {
			t.Errorf("%d frames, of which two fill the memory: %d batches, %d built", i+1, sent, len(tx.Batch))
		}
	}
	tx.Flush()

	build(t, tx, r.dev.Queue, 1, 0)
	r.l.q.refuse = always(0, unix.EAGAIN)
	if b, e := tx.Room(other, 60); e != unix.EAGAIN || b != nil {
		t.Errorf("something in the way: %v", e)
	}
	if b, e := tx.Room(r.dev.Queue, 60); e != 0 || b == nil || len(tx.Batch) != 1 {
		t.Errorf("behind what is in the way: %v, %d frames built", e, len(tx.Batch))
	}
}

// A frame alone is sent alone.
func TestFlush(t *testing.T) {
	r := newRig(t)
	tx := r.Acquire(1)
	if tx.Flush() != 0 || len(r.l.q.calls) != 0 {
		t.Error("nothing was sent")
	}
	for i, message := range []int{-1, 0} {
		build(t, tx, r.dev.Queue, byte(i), message)
		if e := tx.Flush(); e != 0 || tx.Midway != (message < 0) || tx.Sent != i {
			t.Errorf("frame %d: %v, midway %v, %d messages sent", i, e, tx.Midway, tx.Sent)
		}
	}
}

// Who may wait for room does, until there is some, or until the call has to end.
func TestAwaitRoom(t *testing.T) {
	for _, tt := range []struct {
		name     string
		flags    int
		state    uint32
		deadline int64
		want     bool
	}{
		{"waits", 0, 0, 1e9 + 1, true},
		{"does not wait", unix.MSG_DONTWAIT, 0, 1e9 + 1, false},
		{"an error", 0, StateError, 1e9 + 1, false},
		{"shut down", 0, StateShutWrite, 1e9 + 1, false},
		{"shut down for reading", 0, StateShutRead, 1e9 + 1, true},
		{"closed", 0, StateClosed, 1e9 + 1, false},
		{"late", 0, 0, 1e9, false},
	} {
		r := newRig(t)
		s := r.socket(1)
		s.state.Store(tt.state)
		if got := s.awaitRoom(r.dev.Queue, tt.flags, tt.deadline); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// A message ends with the frame that completes it, a datagram also where one is counted.
func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		ends        []frameEnd
		first, unit int
	}{
		{[]frameEnd{{message: 0}, {message: 1}}, 1, 1},
		{[]frameEnd{{message: -1}, {message: 0}, {message: 1}}, 2, 2},
		{[]frameEnd{{message: -1, Datagrams: 1}, {message: 0}}, 2, 1},
		{[]frameEnd{{message: -1}, {message: -1}}, 2, 2},
	} {
		tx := &Buffer{Ends: tt.ends}
		if tx.first() != tt.first || tx.unit() != tt.unit {
			t.Errorf("%v: %d of the first message, %d of the first datagram", tt.ends, tx.first(), tx.unit())
		}
	}
}
