package drive

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// One sleeps on the descriptors, others follow; whoever leaves gives its place up, and the
// first follower is woken to take it.
func TestSleepers(t *testing.T) {
	d := newDriver()
	all := []*sleeper{newSleeper().(*sleeper), newSleeper().(*sleeper), newSleeper().(*sleeper), newSleeper().(*sleeper)}
	woken := func() (who []int) {
		for i, w := range all {
			select {
			case <-w.token:
				who = append(who, i)
			default:
			}
		}
		return who
	}
	if d.passLead() {
		t.Error("a lead was passed to nobody")
	}
	for i, w := range all {
		if led := d.enter(w, nil); led != (i == 0) {
			t.Errorf("sleeper %d leads: %t", i, led)
		}
	}
	if d.wakeEverybody(); !slices.Equal(woken(), []int{0, 1, 2, 3}) {
		t.Error("not everybody was woken")
	}
	if !d.passLead() || woken() != nil || d.sleepers.n.Load() != 3 {
		t.Error("somebody was woken, though one sleeps on the descriptors")
	}
	d.exit(all[2])
	if n := d.sleepers.n.Load(); n != 2 || !slices.Equal(d.sleepers.followers, []*sleeper{all[1], all[3]}) {
		t.Errorf("%d follow", n)
	}
	d.exit(all[2]) // it is not there
	d.exit(all[0])
	if d.Asleep() || d.Turns() != 1 || d.sleepers.n.Load() != 2 {
		t.Errorf("asleep: %t, %d turns, %d follow", d.Asleep(), d.Turns(), d.sleepers.n.Load())
	}
	if !d.passLead() || !slices.Equal(woken(), []int{1}) || d.sleepers.n.Load() != 1 {
		t.Error("the first follower was not woken")
	}
	d.spinners.Add(1)
	if d.enter(all[0], nil) {
		t.Error("a call sleeps on the descriptors while another spins")
	}
	d.spinners.Add(-1)
	l := (*d.lanes.Load())[0]
	l.Lock.Try(Held | Spinning)
	if d.enter(all[1], nil) {
		t.Error("a call sleeps on the descriptors while a leader spins")
	}
	l.Lock.release(false)
	if !d.enter(all[2], nil) {
		t.Error("nobody sleeps on the descriptors")
	}
}

// Those who watch are told in turn, and are gone when what they watch ends.
func TestListOrder(t *testing.T) {
	var l, other List
	var told []int
	ended := 0
	watches := make([]*Watch, 5)
	for i := range watches {
		watches[i] = &Watch{Exclusive: i >= 3, Notify: func(uint32) bool { told = append(told, i); return i != 3 }, Closed: func() { ended++ }}
		l.Add(watches[i])
		l.Add(watches[i]) // it is there
	}
	watches[0].Closed = nil
	if l.Tell(In); !slices.Equal(told, []int{2, 1, 0, 3, 4}) {
		t.Errorf("%v were told", told)
	}
	told = nil
	other.Remove(watches[1]) // it is not there
	l.Remove(watches[1])
	l.Remove(watches[1])
	l.Remove(watches[4])
	l.Add(watches[4])
	if l.Tell(In); !slices.Equal(told, []int{2, 0, 3, 4}) {
		t.Errorf("%v were told", told)
	}
	told = nil
	watches[3].Notify = func(uint32) bool { told = append(told, 3); return true }
	if l.Tell(In); !slices.Equal(told, []int{2, 0, 3}) {
		t.Errorf("%v were told", told)
	}
	told = nil
	if l.Tell(All); !slices.Equal(told, []int{2, 0, 3, 4}) {
		t.Errorf("%v were told of all", told)
	}
	w := newSleeper().(*sleeper)
	w.attach(&Call{List: &l, Events: In})
	if l.Sleeping(In) != 1 || l.Sleeping(Out) != 0 {
		t.Errorf("%d sleep", l.Sleeping(In))
	}
	if l.End(); ended != 3 || l.Sleeping(In) != 1 || l.Watched() || !l.Wanted(In) {
		t.Errorf("%d ended, %d sleep, watched: %t", ended, l.Sleeping(In), l.Watched())
	}
	if l.Tell(In); len(w.token) != 1 || l.Wanted(All) {
		t.Error("the call was not woken, or stays")
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSleeper().(*sleeper)
		for _, d := range []time.Duration{0, 1, time.Hour} {
			start := time.Now()
			if w.await(d); time.Since(start) != d {
				t.Errorf("%v took %v", d, time.Since(start))
			}
		}
		for _, d := range []time.Duration{-1, 2 * time.Hour} {
			start := time.Now()
			go func() { time.Sleep(time.Hour); w.wake() }()
			if w.await(d); time.Since(start) != time.Hour {
				t.Errorf("%v took %v though it was woken", d, time.Since(start))
			}
		}
	})
}
