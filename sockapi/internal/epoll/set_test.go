package epoll

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A testSource is a source whose events a test sets.
type testSource struct {
	st      *stack.Stack
	holds   atomic.Uint32
	refuses error // what Watch says
	closed  bool
	watch   *stack.Watch
}

func (s *testSource) Of(st *stack.Stack) bool     { return s.st == st }
func (s *testSource) Closed() bool                { return s.closed }
func (s *testSource) EventsOf(want uint32) uint32 { return s.holds.Load() & want }
func (s *testSource) Unwatch(w *stack.Watch)      { s.watch = nil }

func (s *testSource) Watch(w *stack.Watch) error {
	if s.refuses != nil {
		return s.refuses
	}
	s.watch = w
	return nil
}

func (s *testSource) ChangeWatch(w *stack.Watch, change func(w *stack.Watch)) { change(w) }

// raise has events begin to hold.
func (s *testSource) raise(events uint32) {
	s.holds.Store(events)
	s.watch.Notify(events)
}

func newGroup(t testing.TB) *Group {
	t.Helper()
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return NewGroup(st)
}

func (g *Group) set(t testing.TB) *Set {
	t.Helper()
	e, err := g.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// eventfd returns an eventfd that is readable, or not.
func eventfd(t testing.TB, readable bool) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if readable {
		unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	return fd
}

// in are the events of something that is there to be read.
var in = Event{Events: unix.EPOLLIN, Data: 7}

// descriptors returns how many descriptors the process has.
func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// Whatever takes descriptors says so if there are not as many, leaves none open, and can be
// done later; what is readable then is seen from the outermost set.
func TestOutOfDescriptors(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	add := unix.EPOLL_CTL_ADD
	for name, do := range map[string]func(outer, inner *Set, fd int) error{
		"a descriptor of the kernel's": func(outer, _ *Set, fd int) error { return outer.CtlFd(add, fd, in) },
		"a descriptor for poll":        func(outer, _ *Set, fd int) error { _, err := outer.PollFD(); return err },
		"a set with one of the kernel's in another": func(outer, inner *Set, fd int) error {
			if len(inner.sockets) == 0 && !inner.kernel.used() {
				if err := inner.CtlFd(add, fd, in); err != nil {
					return err
				}
			}
			return outer.CtlEpoll(add, inner, in)
		},
		"one of the kernel's for a set in another": func(outer, inner *Set, fd int) error {
			if err := outer.CtlEpoll(add, inner, in); err != nil && err != unix.EEXIST {
				return err
			}
			return inner.CtlFd(add, fd, in)
		},
		"one of the kernel's for a set that has a descriptor for poll": func(outer, _ *Set, fd int) error {
			if _, err := outer.PollFD(); err != nil {
				return err
			}
			return outer.CtlFd(add, fd, in)
		},
	} {
		g := newGroup(t)
		outer, inner := g.set(t), g.set(t)
		fd := eventfd(t, true)
		before, refused := -1, 0
		for limit := uint64(0); ; limit++ {
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
				t.Fatal(err)
			}
			err := do(outer, inner, fd)
			unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
			if err == nil {
				break
			}
			if limit > 1000 || !errors.Is(err, unix.EMFILE) {
				t.Fatalf("%s, with %d descriptors: %v", name, limit, err)
			}
			refused++
			if n := descriptors(t); n < before || before >= 0 && n > before+4 {
				t.Errorf("%s: %d descriptors are open after it was refused, %d before", name, n, before)
			} else {
				before = n
			}
		}
		if refused == 0 {
			t.Errorf("%s: never refused", name)
		}
		if name == "a descriptor for poll" {
			if err := outer.CtlFd(add, fd, in); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := outer.Wait(make([]Event, 4), 0); n != 1 || err != nil {
			t.Errorf("%s: %d events, %v", name, n, err)
		}
		if outer.fd.on.Load() {
			if p, err := outer.PollFD(); err != nil || PollNow([]unix.PollFd{{Fd: int32(p), Events: unix.POLLIN}}) != 1 {
				t.Errorf("%s: the descriptor for poll shows nothing, %v", name, err)
			}
		}
	}
}

// Sets know no sockets of other stacks and no sets of other groups, and forget what cannot be
// watched.
func TestStrangers(t *testing.T) {
	g, other := newGroup(t), newGroup(t)
	e := g.set(t)
	if err := e.Ctl(unix.EPOLL_CTL_ADD, &testSource{st: other.st}, in); err != unix.EXDEV {
		t.Errorf("a socket of another stack: %v", err)
	}
	if err := e.CtlEpoll(unix.EPOLL_CTL_ADD, other.set(t), in); err != unix.EXDEV {
		t.Errorf("a set of another stack: %v", err)
	}
	s := &testSource{st: g.st, refuses: unix.EBADF}
	for range 2 {
		if err := e.Ctl(unix.EPOLL_CTL_ADD, s, in); err != unix.EBADF {
			t.Errorf("a socket that cannot be watched: %v", err)
		}
	}
	if n, err := e.Wait(nil, 0); n != 0 || err != unix.EINVAL {
		t.Errorf("no room for events: %d, %v", n, err)
	}
}

// Nothing is opened once the stack gives back what there is, or after the end.
func TestTooLateToOpen(t *testing.T) {
	g := newGroup(t)
	e, late := g.set(t), g.set(t)
	fd := eventfd(t, true)
	if err := e.CtlFd(unix.EPOLL_CTL_ADD, fd, in); err != nil {
		t.Fatal(err)
	}
	g.open.closeAll()
	if !e.closed() || e.Close() != unix.EBADF {
		t.Error("what was open is not closed")
	}
	if g.open.add(late) || len(g.open.all) != 0 {
		t.Error("opened too late")
	}
	if _, err := late.PollFD(); err != unix.EBADF || late.fd.on.Load() {
		t.Errorf("a descriptor for poll: %v", err)
	}
	if err := late.CtlFd(unix.EPOLL_CTL_ADD, fd, in); err != unix.EBADF || late.kernel.used() {
		t.Errorf("a descriptor of the kernel's: %v", err)
	}
	var calls callCount
	if !calls.enter() || !calls.close() || calls.enter() || calls.close() {
		t.Error("a call enters after the end, or none before")
	}
	if calls.leave() || !calls.leave() {
		t.Error("the last call that leaves is another")
	}
	if calls.enter() {
		t.Error("a call enters after all have left")
	}
}

// The descriptor for poll is one, shows what is, and is not written to after its end, when
// its number may be another's.
func TestPollFD(t *testing.T) {
	g := newGroup(t)
	e := g.set(t)
	s := &testSource{st: g.st}
	if err := e.Ctl(unix.EPOLL_CTL_ADD, s, in); err != nil {
		t.Fatal(err)
	}
	fd, err := e.PollFD()
	again, err2 := e.PollFD()
	if err != nil || err2 != nil || fd != again {
		t.Fatalf("%d, %v; then %d, %v", fd, err, again, err2)
	}
	shows := func() bool { return PollNow([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}) == 1 }
	if shows() {
		t.Error("readable before anything is")
	}
	for range 2 {
		if s.raise(unix.EPOLLIN); !shows() {
			t.Error("not readable")
		}
	}
	s.holds.Store(0)
	if s.watch.Drained(); shows() {
		t.Error("readable after all was taken")
	}
	event := e.fd.event
	e.Close()
	others := eventfd(t, false)
	for others < event {
		others = eventfd(t, false)
	}
	e.fd.mark()
	var b [8]byte
	if n, err := unix.Read(others, b[:]); err != unix.EAGAIN {
		t.Errorf("another's eventfd was written to: %d, %v", n, err)
	}
}

// Many sets inside another one are all seen, in one call; those without descriptors take
// none.
func TestManyInside(t *testing.T) {
	g := newGroup(t)
	outer := g.set(t)
	const n = 2*nestBatch + 3
	if err := outer.CtlEpoll(unix.EPOLL_CTL_ADD, g.set(t), in); err != nil || len(outer.Descriptors()) != 0 {
		t.Fatalf("a set without descriptors: %v, %d descriptors", err, len(outer.Descriptors()))
	}
	var fds []int
	for i := range n {
		inner := g.set(t)
		fds = append(fds, eventfd(t, false))
		if err := inner.CtlFd(unix.EPOLL_CTL_ADD, fds[i], in); err != nil {
			t.Fatal(err)
		}
		if err := outer.CtlEpoll(unix.EPOLL_CTL_ADD, inner, Event{Events: unix.EPOLLIN, Data: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, fd := range fds {
		unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	events := make([]Event, 2*n)
	got, err := outer.Wait(events, 0)
	if err != nil || got != n {
		t.Fatalf("%d of %d, %v", got, n, err)
	}
	var seen []uint64
	for _, ev := range events[:got] {
		seen = append(seen, ev.Data)
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != n {
		t.Errorf("%d different ones of %d", len(slices.Compact(seen)), n)
	}
	late := g.set(t)
	if err := outer.CtlEpoll(unix.EPOLL_CTL_ADD, late, Event{Events: unix.EPOLLIN | unix.EPOLLET, Data: n}); err != nil {
		t.Fatal(err)
	}
	outer.kernel.items = nil // of which the kernel tells, and that are gone
	if got, err := outer.Wait(events, 0); err != nil || got != n {
		t.Errorf("once more: %d of %d, %v", got, n, err)
	}
}

// A set inside another has up to two epolls of the kernel's, and the outer hears of both.
func TestTwoInside(t *testing.T) {
	for which := range 2 {
		g := newGroup(t)
		outer, middle, leaf := g.set(t), g.set(t), g.set(t)
		fds := [2]int{eventfd(t, false), eventfd(t, false)}
		for _, err := range []error{middle.CtlFd(unix.EPOLL_CTL_ADD, fds[0], in), leaf.CtlFd(unix.EPOLL_CTL_ADD, fds[1], in),
			middle.CtlEpoll(unix.EPOLL_CTL_ADD, leaf, in), outer.CtlEpoll(unix.EPOLL_CTL_ADD, middle, in)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if n, err := outer.Wait(make([]Event, 1), 0); n != 0 || err != nil {
			t.Errorf("nothing is readable: %d, %v", n, err)
		}
		unix.Write(fds[which], []byte{1, 0, 0, 0, 0, 0, 0, 0})
		if n, err := outer.Wait(make([]Event, 1), 0); n != 1 || err != nil {
			t.Errorf("%d is readable: %d, %v", which, n, err)
		}
	}
}

// In a process without standard input an epoll of the kernel's may be descriptor 0.
func TestDescriptorZero(t *testing.T) {
	if saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3); err == nil {
		defer func() {
			unix.Dup2(saved, 0)
			unix.Close(saved)
		}()
	}
	write := func(fd int) { unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }
	g := newGroup(t)
	e, fd := g.set(t), eventfd(t, false)
	outer, fds := g.set(t), [2]int{eventfd(t, false), eventfd(t, false)}
	e.waiter.Reserve()
	outer.waiter.Reserve()
	unix.Close(0)
	if err := e.CtlFd(unix.EPOLL_CTL_ADD, fd, in); err != nil || e.kernel.fds.Load() != 0 {
		t.Fatalf("%v, descriptor %d", err, e.kernel.fds.Load())
	}
	write(fd)
	if n, err := e.Wait(make([]Event, 1), 0); n != 1 || err != nil || !slices.Equal(e.Descriptors(), []int{0}) {
		t.Errorf("its own: %d, %v, descriptors %v", n, err, e.Descriptors())
	}
	if e.Close(); isOpen(0) {
		t.Error("its own is left open")
	}

	if zero, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil || zero != 0 {
		t.Fatalf("%v, descriptor %d", err, zero)
	}
	var inner [2]*Set
	for i := range inner {
		inner[i] = g.set(t)
		if err := inner[i].CtlFd(unix.EPOLL_CTL_ADD, fds[i], in); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			unix.Close(0)
		}
		if err := outer.CtlEpoll(unix.EPOLL_CTL_ADD, inner[i], in); err != nil || outer.kernel.nest.Load() != 0 {
			t.Fatalf("%v, descriptor %d", err, outer.kernel.nest.Load())
		}
	}
	for i := range inner {
		write(fds[i])
		if n, err := outer.Wait(make([]Event, 1), 0); n != 1 || err != nil {
			t.Errorf("what is inside, %d: %d, %v", i, n, err)
		}
		unix.Read(fds[i], make([]byte, 8))
		for _, op := range []int{unix.EPOLL_CTL_DEL, unix.EPOLL_CTL_ADD} {
			if err := outer.CtlEpoll(op, inner[i], in); err != nil {
				t.Errorf("operation %d: %v", op, err)
			}
		}
	}
	if outer.Close(); isOpen(0) {
		t.Error("what is inside is left open")
	}
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// An item is on the ready list once.
func TestReadyList(t *testing.T) {
	var l readyList
	a, b := new(epollItem), new(epollItem)
	for range 2 {
		l.add(a)
		l.addFirst(b)
	}
	if l.n.Load() != 2 || l.pop() != b || l.pop() != a || l.pop() != nil || l.n.Load() != 0 {
		t.Errorf("%d items are left", l.n.Load())
	}
}

// What one waiting goroutine leaves is for the next: an event that goes on holding wakes all.
func TestWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Millisecond) })
		g := newGroup(t)
		e := g.set(t)
		s := &testSource{st: g.st}
		if err := e.Ctl(unix.EPOLL_CTL_ADD, s, in); err != nil {
			t.Fatal(err)
		}
		k, err := g.st.NewUDPSocket()
		if err != nil {
			t.Fatal(err)
		}
		go k.Recv(make([]byte, 1), 0, stack.NoDeadline) // leads, and goes on to
		synctest.Wait()
		var woken atomic.Int32
		for range 3 {
			go func() {
				if n, err := e.Wait(make([]Event, 1), time.Hour); n == 1 && err == nil {
					woken.Add(1)
				}
			}()
		}
		synctest.Wait()
		s.raise(unix.EPOLLIN)
		time.Sleep(time.Second)
		if synctest.Wait(); woken.Load() != 3 {
			t.Errorf("%d of 3 were woken", woken.Load())
		}
		e.Close()
		k.Close()
		synctest.Wait()
	})
}

// What the kernel refuses is nothing that is ready.
func TestNow(t *testing.T) {
	if n := EpollNow(-1, make([]unix.EpollEvent, 1)); n != 0 {
		t.Errorf("no epoll: %d", n)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: int32(eventfd(t, true)), Events: unix.POLLIN}}
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: old.Max})
	n := PollNow(fds)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	if n != 0 || PollNow(fds) != 1 {
		t.Errorf("more than there may be: %d", n)
	}
}
