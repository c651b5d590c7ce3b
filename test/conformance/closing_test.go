package conformance

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// held is what a process holds of the kernel's, and its goroutines.
type held struct{ descriptors, mappings, goroutines int }

func holds(t testing.TB) held {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	maps, err := os.ReadFile("/proc/self/maps")
	check(t, err)
	return held{len(fds), strings.Count(string(maps), "socket:"), runtime.NumGoroutine()}
}

// above reports whether a process holds more of anything.
func (h held) above(before held) bool {
	return h.descriptors > before.descriptors || h.mappings > before.mappings || h.goroutines > before.goroutines
}

// A closable is something with a descriptor, a mapping or a goroutine. The stack's
// Close closes those that are the stack's.
type closable struct {
	name   string
	stacks bool
	close  func() error
}

// objects makes one of each kind, all of one stack on a device of the lab's.
func objects(t testing.TB, near *lab.Endpoint, calls *sync.WaitGroup) []closable {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	ifc, err := st.AddLink(openRing(t, near, linkOptions(64)), stack.InterfaceConfig{})
	check(t, err)
	check(t, ifc.AddAddress(near.Prefix()))
	a := sockapi.New(st)
	all := []closable{{"stack", false, st.Close}}
	waits := func(f func() error) {
		calls.Go(func() {
			if err := f(); err == nil {
				t.Error("a call ended without an error")
			}
		})
	}
	open := func(name string, domain, typ int) *sockapi.Socket {
		s, err := a.Socket(domain, typ, 0)
		check(t, err)
		all = append(all, closable{name, typ&sockapi.SOCK_OOB != 0, s.Close})
		return s
	}
	epoll := func(name string) *sockapi.Epoll {
		e, err := a.EpollCreate()
		check(t, err)
		all = append(all, closable{name, true, e.Close})
		waits(func() error { _, err := e.Wait(make([]sockapi.EpollEvent, 1), -1); return err })
		return e
	}
	udp := open("socket with a PollFD", unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB)
	_, err = udp.PollFD()
	check(t, err)
	packet := open("packet socket with a PollFD", unix.AF_PACKET, unix.SOCK_RAW|sockapi.SOCK_OOB)
	_, err = packet.PollFD()
	check(t, err)
	async := open("socket with signals", unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB)
	_, err = async.Fcntl(unix.F_SETFL, unix.O_ASYNC)
	check(t, err)
	inband := open("in-band socket", unix.AF_INET, unix.SOCK_DGRAM)
	check(t, inband.Bind(sockapi.Inet4([4]byte{}, 0)))
	reader := open("socket with readers", unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB)
	for _, s := range []*sockapi.Socket{reader, reader, inband} {
		waits(func() error { _, err := s.Recv(make([]byte, 1), 0); return err })
	}
	plain, both, outer := epoll("Epoll"), epoll("Epoll with a kernel's socket"), epoll("Epoll around Epolls")
	_, err = both.PollFD()
	check(t, err)
	event := sockapi.EpollEvent{Events: unix.EPOLLIN}
	check(t, plain.Ctl(unix.EPOLL_CTL_ADD, udp, event))
	check(t, both.Ctl(unix.EPOLL_CTL_ADD, inband, event))
	check(t, both.Ctl(unix.EPOLL_CTL_ADD, packet, sockapi.EpollEvent{}))
	check(t, outer.CtlEpoll(unix.EPOLL_CTL_ADD, both, event))
	check(t, outer.CtlEpoll(unix.EPOLL_CTL_ADD, plain, event))
	return all
}

// TestClosingGivesBack closes one of each kind in many orders, or only what the
// stack's Close leaves: nothing is left, and no call goes on.
func TestClosingGivesBack(t *testing.T) {
	l := lab.New(t, lab.Config{})
	var calls sync.WaitGroup
	once := func(onlyStack bool) {
		all := objects(t, l.Near(), &calls)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var order []string
		for _, o := range all {
			if onlyStack && o.stacks {
				continue
			}
			order = append(order, o.name)
			if err := o.close(); err != nil && err != unix.EBADF {
				t.Errorf("%q: %v", order, err)
			}
		}
		ended := make(chan struct{})
		go func() { calls.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			b := make([]byte, 1<<20)
			t.Fatalf("%q: calls go on\n%s", order, b[:runtime.Stack(b, true)])
		}
	}
	once(false)
	before := holds(t)
	for i := range 40 {
		once(i%2 == 0)
	}
	// Fewer goroutines than before there may be: what others left was ending.
	eventually(func() bool { return !holds(t).above(before) })
	if after := holds(t); after.above(before) {
		t.Errorf("%+v before, %+v after", before, after)
	}
}

// TestSleepWithoutDescriptors has the process run out of descriptors after the stack
// was made: sleepers sleep all the same, and are woken.
func TestSleepWithoutDescriptors(t *testing.T) {
	for name, limit := range map[string]uint64{"all in use": 256, "fewer than are polled": 0} {
		t.Run(name, func(t *testing.T) { sleepWithout(t, limit) })
	}
}

// sleepWithout sleeps while the process may have so many descriptors, and has them.
func sleepWithout(t *testing.T, limit uint64) {
	w := newWorld(t, setup{stack: stack.Config{Spin: stack.SpinNever}})
	a := sockapi.New(w.stack)
	in, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	check(t, err)
	defer in.Close()
	e, err := a.EpollCreate()
	check(t, err)
	defer e.Close()
	check(t, e.Ctl(unix.EPOLL_CTL_ADD, in, sockapi.EpollEvent{Events: unix.EPOLLIN}))
	k := w.udp(7)

	var old unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			wantErr(t, err, unix.EMFILE)
			break
		}
		defer unix.Close(fd)
	}
	readers := make(chan error, 3)
	began := time.Now()
	cpu := cpuTime(func() {
		for range 2 {
			go func() { _, _, err := k.Recv(make([]byte, 1), 0, w.stack.Deadline(time.Second)); readers <- err }()
		}
		go func() { _, err := e.Wait(make([]sockapi.EpollEvent, 1), time.Second); readers <- err }()
		for range 3 {
			if err := <-readers; err != nil && err != unix.EAGAIN {
				t.Error(err)
			}
		}
	})
	if took := time.Since(began); cpu > took/25 {
		t.Errorf("asleep for %v, of which %v on a CPU", took, cpu)
	}
	go func() { _, _, err := k.Recv(make([]byte, 1), 0, stack.NoDeadline); readers <- err }()
	time.Sleep(time.Millisecond)
	check(t, k.Close())
	wantErr(t, <-readers, unix.EBADF)
}
