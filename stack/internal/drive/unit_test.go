package drive

import (
	"slices"
	"testing"
	"time"

	"github.com/outband/outband/link"
)

// The adaptive budget grows by waits that a longer spin would have caught, within its
// limits, and shrinks by others.
func TestLearn(t *testing.T) {
	for _, tt := range []struct{ budget, took, want int64 }{
		{spinStart, 0, 2 * spinStart}, {spinStart, spinMax, 2 * spinStart}, {spinStart, spinMax + 1, spinStart / 2}, {spinMax, 1, spinMax}, {spinMax - 1, 1, spinMax},
		{0, 1, spinGrow}, {spinGrow / 2, 1, spinGrow}, {spinGrow, spinMax + 1, spinGrow / 2}, {spinGrow - 2, spinMax + 1, 0}, {0, spinMax + 1, 0},
	} {
		var p Spinner
		p.adaptive.Store(tt.budget)
		if p.Learn(tt.took); p.adaptive.Load() != tt.want {
			t.Errorf("%+v: %d", tt, p.adaptive.Load())
		}
	}
}

func TestBudget(t *testing.T) {
	for _, tt := range []struct {
		fixed  time.Duration
		memory bool
		want   int64
	}{
		{SpinAlways, false, Never}, {SpinNever, false, 0}, {-3, false, 0}, {SpinAdaptive, false, spinStart}, {SpinAdaptive, true, 0}, {1, false, 1}, {1, true, 1},
	} {
		d := new(Driver)
		d.spin = tt.fixed
		d.memoryOnly.Store(tt.memory)
		var follows, own Spinner
		follows.Init(d)
		other := new(Driver)
		other.spin = 77
		other.memoryOnly.Store(tt.memory)
		own.Init(other)
		own.Set(tt.fixed)
		for _, p := range []*Spinner{&follows, &own} {
			if got := p.Budget(); got != tt.want || p.Adapts() != (tt.fixed == SpinAdaptive) {
				t.Errorf("%+v: %d, adapts: %t", tt, got, p.Adapts())
			}
		}
	}
}

func TestUntil(t *testing.T) {
	for _, tt := range []struct {
		now, deadline int64
		want          time.Duration
	}{{5, Never, -1}, {5, 5, 0}, {5, 4, 0}, {5, 6, 1}} {
		if got := Until(tt.now, tt.deadline); got != tt.want {
			t.Errorf("from %d to %d: %v", tt.now, tt.deadline, got)
		}
	}
}

// A fixedClock tells one time.
type fixedClock int64

func (c fixedClock) Now() int64 { return int64(c) }

// A turn that found nothing ends the call when its handle, its deadline or its budget say so,
// which is looked at once in a while.
func TestIdle(t *testing.T) {
	cut := new(Handle)
	cut.Cancel()
	for _, tt := range []struct {
		name string
		c    Call
		now  int64
		want Verdict
	}{
		{"no budget", Call{Deadline: Never}, 100, Spent},
		{"a budget", Call{Deadline: Never, Budget: 10}, 100, again},
		{"begins", Call{Deadline: Never, Budget: 10, rounds: ClockEvery - 1}, 100, again},
		{"goes on", Call{Deadline: Never, Budget: 10, began: 91, rounds: ClockEvery - 1}, 100, again},
		{"spent", Call{Deadline: Never, Budget: 10, began: 90, rounds: ClockEvery - 1}, 100, Spent},
		{"without end", Call{Deadline: Never, Budget: Never, began: 1, rounds: ClockEvery - 1}, 100, again},
		{"deadline", Call{Deadline: 100, Budget: 10, rounds: ClockEvery - 1}, 100, Expired},
		{"a moment before", Call{Deadline: 101, Budget: 10, rounds: ClockEvery - 1}, 100, again},
		{"not looked at", Call{Deadline: 1, Budget: 10, rounds: ClockEvery}, 100, again},
		{"cut", Call{Deadline: 100, Budget: 10, Handle: cut, rounds: ClockEvery - 1}, 100, Cut},
	} {
		d := &Driver{clock: fixedClock(tt.now)}
		if got := d.idle(&tt.c, nil); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	until := new(Deadline)
	until.Set(50)
	for _, tt := range []struct {
		name string
		c    Call
		want Verdict
	}{
		{"none", Call{Deadline: Never}, again}, {"there", Call{Deadline: 100}, Expired}, {"later", Call{Deadline: 101}, again},
		{"another, earlier", Call{Deadline: Never, Until: until}, Expired}, {"another, later", Call{Deadline: 100, Until: new(Deadline)}, Expired},
		{"cut", Call{Deadline: 100, Handle: cut}, Cut}, {"a handle", Call{Deadline: Never, Handle: new(Handle)}, again},
	} {
		d := &Driver{clock: fixedClock(100)}
		if got := d.ended(&tt.c); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A call that does not wait looks through a backlog of others', but not without end; one
// that waits, until its deadline.
func TestBacklog(t *testing.T) {
	cut := new(Handle)
	cut.Cancel()
	for _, tt := range []struct {
		name string
		c    Call
		want int // turns until it ends; 0: it goes on
		v    Verdict
	}{
		{"does not wait", Call{Deadline: Never, Once: true}, maxBacklog, Expired},
		{"a deadline of the past", Call{Deadline: 1}, maxBacklog, Expired},
		{"waits", Call{Deadline: Never}, 0, again},
		{"cut", Call{Deadline: Never, Once: true, Handle: cut}, 1, Cut},
	} {
		d := &Driver{clock: fixedClock(100)}
		turns, v := 0, again
		for v == again && turns < 2*maxBacklog {
			turns++
			v = d.turned(&tt.c, nil, true)
		}
		if v != tt.v || tt.want != 0 && turns != tt.want {
			t.Errorf("%s: %v after %d turns", tt.name, v, turns)
		}
	}
	late := Call{Deadline: 101}
	d := &Driver{clock: fixedClock(100)}
	if v := d.turned(&late, nil, true); v != again {
		t.Errorf("before the deadline: %v", v)
	}
	d.clock = fixedClock(101)
	if v := d.turned(&late, nil, true); v != Expired {
		t.Errorf("at the deadline, with a backlog: %v", v)
	}
	if v := d.turned(&Call{Deadline: Never}, nil, false); v != Spent {
		t.Errorf("without a backlog: %v", v)
	}
}

func TestLock(t *testing.T) {
	var l Lock
	if !l.Try(Held|Spinning) || l.Try(Held) || !l.Spinning() {
		t.Error("the lock is not held")
	}
	before := l.word.Load()
	l.release(true)
	if l.Spinning() || l.word.Load() == before&^uint64(lockFlags) || !l.Try(Held) {
		t.Error("the lock is not given up, or that the links were asked is not seen")
	}
	before = l.word.Load()
	if l.release(false); l.word.Load() != before&^uint64(lockFlags) {
		t.Error("links that were not asked count")
	}
	if l.makeWay() || l.Wanted() {
		t.Error("somebody wants what nobody does")
	}
	l.Take()
	done := make(chan bool)
	go func() { l.Take(); l.release(false); done <- true }()
	for !l.Wanted() {
		time.Sleep(time.Microsecond)
	}
	l.release(false)
	if <-done; l.Wanted() {
		t.Error("somebody wants the lock after all had it")
	}
}

// Timers run when they are due, in order, and say so when the first comes nearer.
func TestTimers(t *testing.T) {
	var ts Timers
	earlier := 0
	ts.init(func() { earlier++ })
	var ran []int
	timers := make([]*Timer, 3)
	for i := range timers {
		timers[i] = NewTimer(func(int64) { ran = append(ran, i) })
	}
	for i, when := range []int64{20, 10, 30} {
		ts.Set(timers[i], when)
	}
	if earlier != 2 || ts.Due(9) || !ts.Due(10) {
		t.Errorf("nearer %d times, due at 9: %t, at 10: %t", earlier, ts.Due(9), ts.Due(10))
	}
	ts.Run(9)
	if ts.Run(20); !slices.Equal(ran, []int{1, 0}) {
		t.Errorf("%v ran", ran)
	}
	if ts.Set(timers[2], Never); ts.Due(Never - 1) {
		t.Error("a timer that is taken out is due")
	}
	times := 0
	again := NewTimer(func(now int64) {
		if times++; times < 3 {
			ts.Again(now + 1)
			ts.Again(now) // once only
		}
	})
	ts.Set(again, 40)
	if ts.Again(0); ts.Due(39) {
		t.Error("none is running")
	}
	for now := range int64(5) {
		ts.Run(40 + now)
	}
	if times != 3 {
		t.Errorf("it ran %d times", times)
	}
	_ = again
}

// Seats of sources are used again, until the end.
func TestSources(t *testing.T) {
	var none *Sources
	if none.set() != nil || none.ready() {
		t.Error("none has something")
	}
	s := new(Sources)
	ready := false
	if s.ready() || s.set() != nil {
		t.Error("empty sources have something")
	}
	s.Set([]link.Pollable{link.Descriptor(-1)}, func() bool { return ready })
	if s.ready() {
		t.Error("ready before its time")
	}
	if ready = true; !s.ready() {
		t.Error("not ready in time")
	}
	if s.Set(nil, nil); s.ready() || s.set() != nil {
		t.Error("something is left")
	}
	a := s.take()
	s.give(a)
	if b := s.take(); b != a || len(s.pollers) != 1 {
		t.Error("a seat that was given back is not taken")
	}
	if b := s.take(); b == a || len(s.pollers) != 2 {
		t.Error("a seat is taken twice")
	}
	if s.Close(); s.free != nil || s.pollers != nil {
		t.Error("seats are left at the end")
	}
	if s.give(a); s.free != nil {
		t.Error("a seat is kept after the end")
	}
}
