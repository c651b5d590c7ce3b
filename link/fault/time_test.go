package fault_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/pipe"
)

// arrivals waits until n frames have arrived at l, with a Poller as a stack does, and
// returns their serial numbers and when each came.
func arrivals(t *testing.T, l link.Link, n int) (got []uint64, at []time.Duration) {
	t.Helper()
	p := link.NewPoller()
	l.SetNotify(p.Wake, nil)
	start := time.Now()
	for len(got) < n {
		frames := drain(l)
		for range frames {
			at = append(at, time.Since(start))
		}
		got = append(got, serials(frames)...)
		if len(frames) == 0 {
			if time.Since(start) > time.Hour {
				t.Fatalf("%d of %d frames arrived", len(got), n)
			}
			p.Wait([]link.Pollable{l}, 2*time.Hour)
		}
	}
	return got, at
}

func TestDelay(t *testing.T) {
	both(t, 1, fault.Faults{Delay: 5 * time.Second}, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
		sent := time.Now().UnixNano()
		for i := range 3 {
			a.Send(frame(uint64(i), 60))
		}
		go func() {
			time.Sleep(2 * time.Second)
			a.Send(frame(3, 60))
		}()
		got, at := arrivals(t, b, 4)
		s := time.Second
		if !slices.Equal(got, []uint64{0, 1, 2, 3}) || !slices.Equal(at, []time.Duration{5 * s, 5 * s, 5 * s, 7 * s}) {
			t.Errorf("arrived: %v at %v", got, at)
		}
		if c := counters(); c.Delayed != 4 || c.Reordered != 0 {
			t.Errorf("Counters = %+v", c)
		}
		a.Send(frame(4, 60))
		drain(b)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if f := drain(b); len(f) != 1 || f[0].Time-sent != int64(12*time.Second) {
			t.Errorf("time stamp %v after the first frame was sent, want 12s", time.Duration(f[0].Time-sent))
		}
	})
}

func TestJitter(t *testing.T) {
	f := fault.Faults{Delay: 10 * time.Millisecond, Jitter: 4 * time.Millisecond}
	both(t, 1, f, func(t *testing.T, a, b *fault.Link, _ func() fault.Counters) {
		const n = 500
		for i := range n {
			a.Send(frame(uint64(i), 60))
		}
		got, at := arrivals(t, b, n)
		if slices.IsSorted(got) {
			t.Error("jitter longer than the gaps reordered nothing")
		}
		if first, last := at[0], at[n-1]; first < 6*time.Millisecond || first > 7*time.Millisecond ||
			last < 13*time.Millisecond || last > 14*time.Millisecond {
			t.Errorf("first at %v, last at %v; want 6ms to 14ms", first, last)
		}
	})
}

func TestJitterLongerThanDelay(t *testing.T) {
	f := fault.Faults{Delay: time.Millisecond, Jitter: 10 * time.Millisecond}
	both(t, 1, f, func(t *testing.T, a, b *fault.Link, _ func() fault.Counters) {
		for i := range 100 {
			a.Send(frame(uint64(i), 60))
		}
		if _, at := arrivals(t, b, 100); at[0] != 0 || at[99] > 11*time.Millisecond {
			t.Errorf("first at %v, last at %v", at[0], at[99])
		}
	})
}

func TestReorder(t *testing.T) {
	f := fault.Faults{Reorder: 0.2, ReorderDelay: 3 * time.Second}
	both(t, 1, f, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
		const n = 100
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for i := range n {
				a.Send(frame(uint64(i), 60))
				time.Sleep(time.Second)
			}
		})
		got, at := arrivals(t, b, n)
		late := 0
		for i, serial := range got {
			switch d := at[i] - time.Duration(serial)*time.Second; d {
			case 0:
			case 3 * time.Second:
				late++
			default:
				t.Errorf("frame %d came %v late", serial, d)
			}
		}
		if late < 10 || late > 30 || counters().Reordered != uint64(late) {
			t.Errorf("%d frames late; Counters = %+v", late, counters())
		}
	})
}

func TestReorderByDefault(t *testing.T) {
	both(t, 1, fault.Faults{Reorder: 1}, func(t *testing.T, a, b *fault.Link, _ func() fault.Counters) {
		a.Send(frame(1, 60))
		if _, at := arrivals(t, b, 1); at[0] != time.Millisecond {
			t.Errorf("arrived after %v", at[0])
		}
	})
}

func TestRate(t *testing.T) {
	// 125 bytes are 1000 bits: 10 ms at 100 kbit/s.
	both(t, 1, fault.Faults{Rate: 100_000}, func(t *testing.T, a, b *fault.Link, _ func() fault.Counters) {
		for i := range 5 {
			a.Send(frame(uint64(i), 125))
		}
		_, at := arrivals(t, b, 5)
		for i, d := range at {
			if want := time.Duration(i+1) * 10 * time.Millisecond; d != want {
				t.Errorf("frame %d at %v, want %v", i, d, want)
			}
		}
		time.Sleep(time.Hour) // an idle wire saves nothing up
		a.Send(frame(5, 125))
		if _, at := arrivals(t, b, 1); at[0] != 10*time.Millisecond {
			t.Errorf("after a pause: %v", at[0])
		}
	})
}

func TestBounds(t *testing.T) {
	tests := []struct {
		name   string
		faults fault.Faults
		want   int // of 100 frames of 125 bytes
	}{
		{"limit", fault.Faults{Delay: time.Second, Limit: 10}, 10},
		{"rate queue", fault.Faults{Rate: 100_000, RateQueue: 1000}, 8},
		{"rate queue shorter than a frame", fault.Faults{Rate: 100_000, RateQueue: 1}, 1},
		{"limit of a rate", fault.Faults{Rate: 100_000, Limit: 3}, 3},
		{"slowest", fault.Faults{Rate: 1, RateQueue: 1}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			both(t, 1, tt.faults, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
				for i := range 100 {
					if err := a.Send(frame(uint64(i), 125)); err != nil {
						t.Fatal(err)
					}
				}
				got, _ := arrivals(t, b, tt.want)
				time.Sleep(time.Hour)
				if rest := len(drain(b)); len(got) != tt.want || rest != 0 {
					t.Errorf("%d and %d frames arrived, want %d", len(got), rest, tt.want)
				}
				if c := counters(); c.Overflow != uint64(100-tt.want) {
					t.Errorf("Counters = %+v", c)
				}
			})
		})
	}
}

// TestLimitIsNoLoss shows that more frames than the limit can wait on the wrapped
// link, if nothing holds them.
func TestLimitIsNoLoss(t *testing.T) {
	both(t, 1, fault.Faults{Loss: 1e-300, Limit: 5}, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
		for i := range 100 {
			a.Send(frame(uint64(i), 60))
		}
		if got := drain(b); len(got) != 100 || counters().Overflow != 0 {
			t.Errorf("%d arrived, Counters = %+v", len(got), counters())
		}
	})
}

func TestExtremeTimes(t *testing.T) {
	both(t, 1, fault.Faults{Rate: 1, Delay: 1<<63 - 1, Jitter: 1<<63 - 1, Limit: 10}, func(t *testing.T, a, b *fault.Link, _ func() fault.Counters) {
		for i := range 20 {
			a.Send(frame(uint64(i), 1500))
		}
		if got := drain(b); len(got) != 0 {
			t.Errorf("%d frames arrived", len(got))
		}
	})
}

// TestLateErrors shows that frames which cannot be sent when they are due are counted.
func TestLateErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, 1, fault.Faults{Delay: time.Second}, fault.Faults{})
		a.Send(frame(1, 60))
		a.Unwrap().(*pipe.Link).SetUp(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if c := a.Counters().Tx; c.SendErrors != 1 {
			t.Errorf("Counters = %+v", c)
		}
	})
}

// TestOwnClock moves a clock by hand.
func TestOwnClock(t *testing.T) {
	now := int64(1000)
	x, y := pipe.New(pipe.Options{})
	b := fault.Wrap(y, fault.Config{Now: func() int64 { return now }, Rx: fault.Faults{Delay: time.Hour}})
	defer b.Close()
	x.Send(frame(1, 60))
	for _, step := range []struct {
		add  time.Duration
		want int
	}{{0, 0}, {time.Hour - 1, 0}, {1, 1}, {time.Hour, 0}} {
		now += int64(step.add)
		if n := len(drain(b)); n != step.want {
			t.Errorf("%v later: %d frames, want %d", step.add, n, step.want)
		}
	}
}

// fdLink is a pipe's end that has a descriptor, an eventfd, as a device would.
type fdLink struct {
	*pipe.Link
	fd int
}

func newFDLink(t *testing.T, l *pipe.Link) *fdLink {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	f := &fdLink{l, fd}
	l.SetNotify(func() { unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }, nil)
	return f
}

func (f *fdLink) FD() int               { return f.fd }
func (f *fdLink) SetNotify(_, _ func()) {}
func (f *fdLink) Receive(b []link.Frame) int {
	var count [8]byte
	unix.Read(f.fd, count[:])
	return f.Link.Receive(b)
}

// TestWaitOnDescriptor sleeps in poll(2) for frames that arrive at once at the wrapped
// link, and are due later: first the descriptor, then the timer ends a sleep.
func TestWaitOnDescriptor(t *testing.T) {
	x, y := pipe.New(pipe.Options{})
	b := fault.Wrap(newFDLink(t, y), fault.Config{Rx: fault.Faults{Delay: 2 * time.Millisecond}})
	defer b.Close()
	p := link.NewPoller()
	defer p.Close()
	b.SetNotify(p.Wake, nil)
	const n = 20
	turns := make(chan uint64, 1) // of frames to send
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(turns)
	wg.Go(func() {
		for i := range turns {
			x.Send(frame(i, 60))
		}
	})
	limit := time.Now().Add(patience)
	for got, asked := 0, 0; got < n; {
		if got == asked { // the next is sent while this sleeps
			turns <- uint64(asked)
			asked++
		}
		frames := drain(b)
		got += len(frames)
		if len(frames) == 0 {
			p.Wait([]link.Pollable{b}, time.Until(limit))
		}
		if time.Now().After(limit) {
			t.Fatalf("%d of %d frames arrived", got, n)
		}
	}
}

// patience bounds what must come, far beyond what a machine that is busy takes.
const patience = time.Minute

// TestConcurrent sends from several goroutines through delays, changes the
// configuration meanwhile, and closes under load.
func TestConcurrent(t *testing.T) {
	f := fault.Faults{Delay: 50 * time.Microsecond, Jitter: 50 * time.Microsecond, Duplicate: 0.1, Limit: 1 << 16}
	a, b := pair(t, 1, f, f)
	p := link.NewPoller()
	b.SetNotify(p.Wake, nil)
	var wg sync.WaitGroup
	for s := range 4 {
		wg.Go(func() {
			for i := range 300 {
				a.Send(frame(uint64(s<<16|i), 60+i))
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			a.SetConfig(a.Config())
			a.Counters()
			a.Held()
		}
	})
	seen := map[uint64]bool{}
	deadline := time.Now().Add(patience)
	for len(seen) < 1200 {
		frames := drain(b)
		for _, s := range serials(frames) {
			seen[s] = true
		}
		if len(frames) == 0 {
			p.Wait([]link.Pollable{b}, time.Until(deadline))
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 1200 frames arrived", len(seen))
		}
	}
	wg.Wait()
	for range 4 {
		wg.Go(func() {
			for a.Send(frame(1, 60)) == nil {
			}
		})
	}
	a.Close()
	wg.Wait()
}
