package drive

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/link"
)

// A sleepless host counts how often somebody is about to sleep on its links, and has the clock
// of the machine.
type sleepless struct {
	idleHost
	sleeps *atomic.Int32
}

func (h sleepless) Links() []link.Pollable { h.sleeps.Add(1); return nil }

// A call that is about to sleep lets what its caller has started run first, if it is to: on one
// CPU nothing else could before the runtime has found out that it sleeps. Now and then the
// runtime has the call go on first all the same.
func TestYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, yields := range []bool{true, false} {
		slept := 0
		for range 10 {
			if sleepsFirst(t, yields) {
				slept++
			}
		}
		if yields != (slept < 5) {
			t.Errorf("yields: %t; %d of 10 slept before the other goroutine ran", yields, slept)
		}
	}
}

// sleepsFirst reports whether a call sleeps before a goroutine runs that was started before it.
func sleepsFirst(t *testing.T, yields bool) bool {
	var sleeps atomic.Int32
	d := newDriver()
	d.Init(sleepless{idleHost{d, (*d.lanes.Load())[0]}, &sleeps}, d.clock, SpinNever)
	var answered atomic.Bool
	g := d.NewWaiter(answered.Load)
	g.spin.SetYield(yields)
	go func() {
		answered.Store(true)
		g.WakeAll()
	}()
	if v := g.WaitFor(d.clock.Now()+int64(time.Minute), nil, nil); v != Ready {
		t.Fatal(v)
	}
	return sleeps.Load() > 0
}
