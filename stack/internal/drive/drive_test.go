package drive

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// idleHost is a host whose links bring nothing.
type idleHost struct {
	d *Driver
	l *Lane
}

func (idleHost) Pump() Outcome          { return 0 }
func (h idleHost) RunTimers(now int64)  { h.d.Timers.Run(now) }
func (h idleHost) Release()             { h.l.Unlock(); h.d.Released() }
func (idleHost) Links() []link.Pollable { return nil }
func (idleHost) Chores()                {}

// Now is the bubble's time.
func (idleHost) Now() int64 { return time.Now().UnixNano() }

func newDriver() *Driver {
	h := idleHost{new(Driver), new(Lane)}
	h.d.Init(h, h, SpinNever)
	h.l.Init(h.d, h, true)
	h.d.SetLanes([]*Lane{h.l})
	return h.d
}

// TestLastLook: what comes between a call's last look and its place in the list of those
// to be woken, of which nobody tells it, keeps it from sleeping.
func TestLastLook(t *testing.T) {
	var spin Spinner
	for name, prepare := range map[string]func(g *Goal, c *Call) (want Verdict){
		"what it waits for": func(g *Goal, c *Call) Verdict {
			there := false
			g.Ready = func() bool {
				there = there || c.List.Wanted(All)
				return there
			}
			return Ready
		},
		"cancelled": func(g *Goal, c *Call) Verdict {
			c.Handle = new(Handle)
			g.Ready = func() bool {
				if c.List.Wanted(All) {
					c.Handle.cut.Store(true)
				}
				return false
			}
			return Cut
		},
		"other sources": func(g *Goal, c *Call) Verdict {
			c.Sources = new(Sources)
			memory := []link.Pollable{link.Descriptor(-1)}
			c.Sources.Set(memory, func() bool { return false })
			g.Ready = func() bool {
				if c.List.Wanted(All) {
					c.Sources.Set(memory, func() bool { return true })
				}
				return false
			}
			return Ready
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDriver()
			spin.Init(d)
			g, c := Goal{}, Call{Spin: &spin, List: new(List), Events: All, Deadline: d.clock.Now() + int64(time.Hour)}
			want := prepare(&g, &c)
			start := time.Now()
			if v := d.Wait(&g, &c); v != want || time.Since(start) != 0 {
				t.Errorf("%s: %v after %v, want %v at once", name, v, time.Since(start), want)
			}
			d.Finish(&c)
		})
	}
}

// TestTell: who is woken by what, of calls that sleep and those that watch.
func TestTell(t *testing.T) {
	newCall := func(l *List, events uint32, exclusive bool) *sleeper {
		w := newSleeper().(*sleeper)
		w.attach(&Call{List: l, Events: events, Exclusive: exclusive})
		return w
	}
	woken := func(w *sleeper) bool { return len(w.token) > 0 }
	const read, write = In | More | unix.EPOLLERR, Out | unix.EPOLLERR
	for _, tt := range []struct {
		events uint32
		want   [5]bool // two that read, two that write, one that reads if it is not enough
		told   uint32
	}{
		{In, [5]bool{true, false, false, false, false}, In},
		{More, [5]bool{true, false, false, false, false}, 0},
		{Out, [5]bool{false, false, true, true, false}, Out},
		{Room, [5]bool{}, 0},
		{unix.EPOLLERR, [5]bool{true, true, true, true, true}, unix.EPOLLERR},
		{All, [5]bool{true, true, true, true, true}, All},
	} {
		var l List
		var told uint32
		l.Add(&Watch{Notify: func(events uint32) bool { told = events; return true }})
		calls := [5]*sleeper{}
		for i := range calls[:4] {
			if i < 2 {
				calls[i] = newCall(&l, read, true)
			} else {
				calls[i] = newCall(&l, write, false)
			}
		}
		calls[4] = newCall(&l, read, true)
		l.Tell(tt.events)
		for i, w := range calls {
			if woken(w) != tt.want[i] {
				t.Errorf("%#x: call %d woken %t", tt.events, i, !tt.want[i])
			}
		}
		if told != tt.told {
			t.Errorf("%#x: the watch was told %#x", tt.events, told)
		}
		if tt.events == In { // who is woken has left the list
			if l.Tell(In); !woken(calls[1]) || woken(calls[4]) {
				t.Error("the second datagram has not woken the second call")
			}
		}
	}
}

// TestWanted: what nobody is interested in costs one look.
func TestWanted(t *testing.T) {
	var l List
	w := &Watch{Notify: func(uint32) bool { return false }}
	drains := 0
	l.Add(w)
	if !l.Watched() || !l.Wanted(In) || l.Wanted(More|Room|Stamp|drained) {
		t.Errorf("a watch is interested in %#x", l.wanted.Load())
	}
	if l.Drained(); drains != 0 {
		t.Error("told of what it does not want")
	}
	l.Change(w, func(w *Watch) { w.Drained = func() { drains++ } })
	if l.Drained(); drains != 1 {
		t.Error("not told that it is drained")
	}
	l.Remove(w)
	if l.Drained(); drains != 1 || l.Watched() || l.wanted.Load() != 0 {
		t.Errorf("interested in %#x without a watch", l.wanted.Load())
	}
}
