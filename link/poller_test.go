package link_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// fakeLink is of a link what a Poller uses.
type fakeLink struct {
	fd     atomic.Int64
	errors atomic.Int64
}

func (f *fakeLink) FD() int { return int(f.fd.Load()) }

// PollError does as a link must: its descriptor is of no use from now on.
func (f *fakeLink) PollError() {
	f.errors.Add(1)
	f.fd.Store(-1)
}

func memoryLink() *fakeLink {
	f := &fakeLink{}
	f.fd.Store(-1)
	return f
}

// socketLink returns a link with a descriptor, and the descriptor of its peer.
func socketLink(t testing.TB) (*fakeLink, int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	f := &fakeLink{}
	f.fd.Store(int64(p[0]))
	return f, p[1]
}

// newPoller returns a Poller that is closed when the test ends.
func newPoller(t testing.TB) *link.Poller {
	p := link.NewPoller()
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// waitDone runs Wait on a goroutine and returns a channel that is closed when it
// has returned.
func waitDone(p *link.Poller, links []link.Pollable, timeout time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Wait(links, timeout)
	}()
	return done
}

// patience bounds what must come, far beyond what a machine that is busy takes: no test
// is meant to wait for it.
const patience = time.Minute

// mustEnd fails the test if done is not closed within the patience.
func mustEnd(t testing.TB, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal(what + ": Wait did not return")
	}
}

// kinds are the sets of links that make a Poller sleep in its different ways.
func kinds(t testing.TB) map[string][]link.Pollable {
	s, _ := socketLink(t)
	s2, _ := socketLink(t)
	return map[string][]link.Pollable{
		"no links":          nil,
		"memory":            {memoryLink()},
		"descriptor":        {s},
		"memory+descriptor": {memoryLink(), s2, memoryLink()},
	}
}

func TestPollerWakeIsRemembered(t *testing.T) {
	for name, links := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t)
			p.Wake()
			p.Wake()
			mustEnd(t, waitDone(p, links, -1), "Wake before Wait")
			start := time.Now()
			p.Wait(links, time.Millisecond)
			if d := time.Since(start); d < time.Millisecond {
				t.Errorf("two Wakes ended two Waits: the second returned after %v", d)
			}
		})
	}
}

func TestPollerWakeEndsWait(t *testing.T) {
	for name, links := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t)
			for range 100 {
				done := waitDone(p, links, -1)
				runtime.Gosched()
				p.Wake()
				mustEnd(t, done, "Wake")
			}
		})
	}
}

func TestPollerTimeout(t *testing.T) {
	for name, links := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t)
			for _, d := range []time.Duration{0, time.Microsecond, 2 * time.Millisecond, time.Millisecond} {
				mustEnd(t, waitDone(p, links, d), "time-out of "+d.String())
			}
		})
	}
}

func TestPollerReadable(t *testing.T) {
	l, peer := socketLink(t)
	p := newPoller(t)
	links := []link.Pollable{memoryLink(), l}
	done := waitDone(p, links, -1)
	if _, err := unix.Write(peer, []byte("frame")); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, done, "readable during Wait")
	mustEnd(t, waitDone(p, links, -1), "readable before Wait")
	if n := l.errors.Load(); n != 0 {
		t.Errorf("PollError called %d times", n)
	}
}

func TestPollerTellsOfErrors(t *testing.T) {
	tests := []struct {
		name string
		ruin func(l *fakeLink, peer int)
	}{
		{"POLLHUP", func(l *fakeLink, peer int) { unix.Shutdown(peer, unix.SHUT_RDWR) }},
		{"POLLNVAL", func(l *fakeLink, peer int) { l.fd.Store(1 << 20) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad, peer := socketLink(t)
			good, _ := socketLink(t)
			p := newPoller(t)
			links := []link.Pollable{good, bad}
			tt.ruin(bad, peer)
			mustEnd(t, waitDone(p, links, -1), "error")
			if g, b := good.errors.Load(), bad.errors.Load(); g != 0 || b != 1 {
				t.Errorf("PollError calls: good link %d, bad link %d; want 0, 1", g, b)
			}
			start := time.Now()
			p.Wait(links, time.Millisecond)
			if time.Since(start) < time.Millisecond {
				t.Error("Wait turns in circles after PollError")
			}
		})
	}
}

func TestPollerEventIsConsumed(t *testing.T) {
	l, _ := socketLink(t)
	p := newPoller(t)
	links := []link.Pollable{l}
	for range 50 {
		done := waitDone(p, links, -1)
		p.Wake()
		mustEnd(t, done, "Wake")
	}
	// A Wake that came when the sleeper had already gone may cost one more
	// return for no reason, but not a second.
	p.Wait(links, time.Millisecond)
	start := time.Now()
	p.Wait(links, time.Millisecond)
	if time.Since(start) < time.Millisecond {
		t.Error("the eventfd stays readable")
	}
}

func TestPollerClose(t *testing.T) {
	for name, links := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			p := link.NewPoller()
			done := waitDone(p, links, -1)
			runtime.Gosched()
			for range 2 {
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
			}
			mustEnd(t, done, "Close")
			mustEnd(t, waitDone(p, links, -1), "Wait after Close")
			p.Wake()
		})
	}
}

// TestPollerSynctest shows that a sleep over in-memory links is durably
// blocking: the bubble's clock moves only if it is.
func TestPollerSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := link.NewPoller()
		links := []link.Pollable{memoryLink()}
		start := time.Now()
		p.Wait(links, time.Hour)
		p.Wait(links, time.Minute)
		if d := time.Since(start); d != time.Hour+time.Minute {
			t.Errorf("slept %v", d)
		}
		time.AfterFunc(time.Second, p.Wake)
		start = time.Now()
		p.Wait(links, -1)
		if d := time.Since(start); d != time.Second {
			t.Errorf("woken after %v", d)
		}
		p.Close()
	})
}

// TestPollerStress gives items to a sleeper that would sleep for ever if one
// wake-up were lost.
func TestPollerStress(t *testing.T) {
	const producers, items = 4, 5000
	for name, links := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t)
			var queue atomic.Int64
			var wg sync.WaitGroup
			for i := range producers {
				wg.Go(func() {
					for j := range items {
						queue.Add(1)
						p.Wake()
						if (i+j)%7 == 0 {
							runtime.Gosched()
						}
					}
				})
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for got := int64(0); got < producers*items; {
					n := queue.Swap(0)
					if got += n; n == 0 {
						p.Wait(links, -1)
					}
				}
			}()
			mustEnd(t, done, "stress")
			wg.Wait()
		})
	}
}

// TestPollerPingPong hands one token to and fro between two sleepers, so that
// each hand-over needs its own wake-up.
func TestPollerPingPong(t *testing.T) {
	for name, links := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			const rounds = 3000
			ps := [2]*link.Poller{newPoller(t), newPoller(t)}
			var turn atomic.Int64
			var wg sync.WaitGroup
			for i := range ps {
				wg.Go(func() {
					for k := int64(i); k < rounds; k += 2 {
						for turn.Load() != k {
							ps[i].Wait(links, -1)
						}
						turn.Store(k + 1)
						ps[1-i].Wake()
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			mustEnd(t, done, "ping-pong")
		})
	}
}

func TestPollerAllocs(t *testing.T) {
	for name, links := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t)
			p.Wait(links, time.Microsecond)
			if n := testing.AllocsPerRun(100, func() {
				p.Wait(links, time.Microsecond)
				p.Wake()
				p.Wait(links, -1)
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkPollerWake(b *testing.B) {
	p := newPoller(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Wake()
	}
}

func BenchmarkPollerWakeWait(b *testing.B) {
	p := newPoller(b)
	links := []link.Pollable{memoryLink()}
	b.ReportAllocs()
	for b.Loop() {
		p.Wake()
		p.Wait(links, -1)
	}
}

// BenchmarkPollerReadable is a Wait on a descriptor that is readable already:
// the price of one ppoll(2).
func BenchmarkPollerReadable(b *testing.B) {
	l, peer := socketLink(b)
	unix.Write(peer, []byte{1})
	p := newPoller(b)
	links := []link.Pollable{l}
	b.ReportAllocs()
	for b.Loop() {
		p.Wait(links, -1)
	}
}

// TestPollerWithoutEventFD lets the process have no descriptor left: a Wake must end a
// sleep in poll(2) all the same.
func TestPollerWithoutEventFD(t *testing.T) {
	l, _ := socketLink(t)
	p := newPoller(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := old
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	done := waitDone(p, []link.Pollable{l}, -1)
	p.Wake()
	mustEnd(t, done, "Wake without an eventfd")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	done = waitDone(p, []link.Pollable{l}, -1)
	runtime.Gosched()
	p.Wake()
	mustEnd(t, done, "Wake with an eventfd again")
}

// TestPollerArm: a Wake makes the descriptor readable that somebody else sleeps on, one of
// before Arm too, and Disarm consumes it.
func TestPollerArm(t *testing.T) {
	p := newPoller(t)
	readable := func(fd int) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n == 1
	}
	for _, tt := range []struct {
		name          string
		before, after bool // when it is woken
	}{{"never", false, false}, {"before", true, false}, {"after", false, true}, {"both", true, true}} {
		for range 2 {
			if tt.before {
				p.Wake()
			}
			fd, err := p.Arm()
			if err != nil {
				t.Fatal(err)
			}
			if tt.after {
				p.Wake()
			}
			if got := readable(fd); got != (tt.before || tt.after) {
				t.Errorf("%s: readable %t", tt.name, got)
			}
			p.Disarm()
			if readable(fd) {
				t.Errorf("%s: readable after Disarm", tt.name)
			}
		}
	}
	p.Close()
	if _, err := p.Arm(); err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
}
