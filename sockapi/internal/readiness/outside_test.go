package readiness

import (
	"errors"
	"math"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A fake is a socket of which only the readiness counts.
type fake struct {
	closed, readable, missed bool
	refuse                   error
	watching                 func(w *stack.Watch) // called by Watch
	watches                  []*stack.Watch
	elsewhere                bool
}

func (f *fake) Closed() bool          { return f.closed }
func (f *fake) Readable() bool        { return f.readable }
func (f *fake) TakeMissed() bool      { defer func() { f.missed = false }(); return f.missed }
func (f *fake) WaitElsewhere(on bool) { f.elsewhere = on }

func (f *fake) Watch(w *stack.Watch) error {
	if f.watching != nil {
		f.watching(w)
	}
	if f.refuse == nil {
		f.watches = append(f.watches, w)
	}
	return f.refuse
}

func (f *fake) Unwatch(w *stack.Watch) {
	for i := range f.watches {
		if f.watches[i] == w {
			f.watches = append(f.watches[:i], f.watches[i+1:]...)
			return
		}
	}
}

func (f *fake) tell(events uint32) {
	for _, w := range f.watches {
		w.Notify(events)
	}
}

func newOutside() (*Outside, *fake) {
	o, f := new(Outside), new(fake)
	o.Init(f)
	return o, f
}

// shows reports whether a descriptor is readable.
func shows(t *testing.T, fd int) bool {
	t.Helper()
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(set, 0); err != nil {
		t.Fatal(err)
	}
	return set[0].Revents&unix.POLLIN != 0
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// The descriptor shows what the socket is, from the moment when it is asked for.
func TestFDFollows(t *testing.T) {
	for _, readable := range []bool{false, true} {
		o, f := newOutside()
		f.readable = readable
		if n := o.fd.number(); n != -1 {
			t.Errorf("the descriptor that nobody asked for is %d", n)
		}
		fd, err := o.FD()
		if err != nil || !f.elsewhere || o.fd.number() != fd {
			t.Fatalf("%v, number %d, waits elsewhere: %t", err, o.fd.number(), f.elsewhere)
		}
		if again, err := o.FD(); again != fd || err != nil || len(f.watches) != 1 {
			t.Errorf("asked for again it is %d, not %d: %v; %d watches", again, fd, err, len(f.watches))
		}
		for range 4 {
			if got := shows(t, fd); got != f.readable {
				t.Errorf("readable is %t, it shows %t", f.readable, got)
			}
			f.tell(unix.EPOLLIN) // of nothing new
			if f.readable = !f.readable; f.readable {
				f.tell(unix.EPOLLIN)
			} else {
				f.watches[0].Drained()
			}
		}
		o.CloseFD()
		o.CloseFD()
		if isOpen(fd) || o.fd.number() != -1 {
			t.Error("it is open after its end")
		}
		if other, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil { // of the same number, as a rule
			f.readable = true
			if f.tell(unix.EPOLLIN); shows(t, other) {
				t.Error("another's descriptor of the same number is written to")
			}
			unix.Close(other)
		}
		if _, err := o.FD(); err != unix.EBADF {
			t.Errorf("after its end: %v", err)
		}
	}
}

// With edges, each event is one for EPOLLET; without, the first that makes the descriptor readable.
func TestEdges(t *testing.T) {
	for _, edges := range []bool{false, true} {
		o, f := newOutside()
		o.SetEdges(edges)
		fd, err := o.FD()
		if err != nil {
			t.Fatal(err)
		}
		k, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.EpollCtl(k, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}); err != nil {
			t.Fatal(err)
		}
		edge := func(what string, want bool) {
			t.Helper()
			if n, _ := unix.EpollWait(k, make([]unix.EpollEvent, 1), 0); (n == 1) != want {
				t.Errorf("edges %t: %s: %d events", edges, what, n)
			}
		}
		f.readable = true
		f.tell(bandIn)
		edge("the first", true)
		edge("nothing new", false)
		f.tell(bandIn)
		edge("the second", edges)
		f.tell(bandOut)
		edge("space to send", false)
		f.readable = false
		f.watches[0].Drained()
		if shows(t, fd) {
			t.Errorf("edges %t: all is taken, and it is readable", edges)
		}
		f.readable = true
		f.tell(bandIn)
		edge("the third", true)
		unix.Close(k)
		o.CloseFD()
	}
}

// A descriptor whose socket ends while it is made, or cannot be watched, is closed.
func TestFDRefused(t *testing.T) {
	o, f := newOutside()
	f.closed = true
	if fd, err := o.FD(); fd != -1 || err != unix.EBADF || len(f.watches) != 0 {
		t.Errorf("of a closed socket: %d, %v", fd, err)
	}
	for what, tt := range map[string]struct {
		refuse, want error
		watching     func(*Outside) func(*stack.Watch)
	}{
		"refused":            {unix.EBADF, unix.EBADF, func(*Outside) func(*stack.Watch) { return nil }},
		"refused, otherwise": {unix.ENOMEM, unix.ENOMEM, func(*Outside) func(*stack.Watch) { return nil }},
		"ended meanwhile":    {nil, unix.EBADF, func(o *Outside) func(*stack.Watch) { return func(w *stack.Watch) { w.Closed() } }},
	} {
		o, f := newOutside()
		f.refuse, f.watching = tt.refuse, tt.watching(o)
		next, _ := unix.Eventfd(0, unix.EFD_CLOEXEC) // the next number, as a rule
		unix.Close(next)
		if fd, err := o.FD(); fd != -1 || !errors.Is(err, tt.want) {
			t.Errorf("%s: %d, %v", what, fd, err)
		}
		if o.fd.open || isOpen(o.fd.fd) {
			t.Errorf("%s: descriptor %d is open", what, o.fd.fd)
		}
		if _, err := o.FD(); err != unix.EBADF {
			t.Errorf("%s, asked for again: %v", what, err)
		}
	}
}

// Without a descriptor that could be had there is none, and the next call may have one.
func TestNoDescriptors(t *testing.T) {
	var had unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	o, _ := newOutside()
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: had.Max})
	fd, err := o.FD()
	unix.Setrlimit(unix.RLIMIT_NOFILE, &had)
	if fd != -1 || err != unix.EMFILE {
		t.Errorf("%d, %v", fd, err)
	}
	if _, err := o.FD(); err != nil {
		t.Error(err)
	}
	o.CloseFD()
}

func TestOwners(t *testing.T) {
	for _, tt := range []struct {
		number int
		want   Owner
		err    error
	}{
		{0, Owner{OwnerPID, 0}, nil}, {7, Owner{OwnerPID, 7}, nil}, {-7, Owner{OwnerPGRP, 7}, nil}, {math.MinInt32, Owner{}, unix.EINVAL},
		{math.MinInt32 + 1, Owner{OwnerPGRP, math.MaxInt32}, nil},
	} {
		o, err := Numbered(tt.number)
		if o != tt.want || err != tt.err || err == nil && o.Number() != tt.number {
			t.Errorf("%d: %v, %v, number %d", tt.number, o, err, o.Number())
		}
	}
	if n := (Owner{OwnerTID, 7}).Number(); n != 7 {
		t.Errorf("thread 7 is %d", n)
	}
	o, _ := newOutside()
	pid := int32(unix.Getpid())
	const nobody = 1 << 30 // above any pid_max
	for _, tt := range []struct {
		owner Owner
		want  error
	}{
		{Owner{OwnerPID, pid}, nil}, {Owner{OwnerTID, int32(unix.Gettid())}, nil}, {Owner{OwnerPGRP, int32(unix.Getpgrp())}, nil}, {Owner{OwnerPID, 0}, nil},
		{Owner{-1, pid}, unix.EINVAL}, {Owner{3, pid}, unix.EINVAL}, {Owner{OwnerPID, nobody}, unix.ESRCH}, {Owner{OwnerPID, -pid}, unix.ESRCH},
		{Owner{OwnerTID, nobody}, unix.ESRCH}, {Owner{OwnerPGRP, nobody}, unix.ESRCH},
	} {
		before := o.Owner()
		err := o.SetOwner(tt.owner)
		if want := tt.owner; err != tt.want || err == nil && o.Owner() != want || err != nil && o.Owner() != before {
			t.Errorf("%v: %v, is %v", tt.owner, err, o.Owner())
		}
	}
	o.async.owner = Owner{OwnerPID, nobody} // has ended since
	if got := o.Owner(); got != (Owner{OwnerPID, 0}) {
		t.Errorf("an owner that has ended is %v", got)
	}
	for _, tt := range []struct {
		owner Owner
		want  bool
	}{{Owner{OwnerPID, pid}, true}, {Owner{OwnerPGRP, pid}, false}, {Owner{OwnerTID, int32(unix.Gettid())}, true}, {Owner{OwnerTID, 1}, pid == 1}} {
		if got := tt.owner.canBeTold(); got != tt.want {
			t.Errorf("%v can be told: %t", tt.owner, got)
		}
	}
}

func TestSignalNumbers(t *testing.T) {
	o, _ := newOutside()
	for sig, want := range map[int]error{0: nil, 1: nil, 64: nil, 65: unix.EINVAL, -1: unix.EINVAL} {
		before := o.Signal()
		if err := o.SetSignal(sig); err != want || err == nil && o.Signal() != sig || err != nil && o.Signal() != before {
			t.Errorf("%d: %v, is %d", sig, err, o.Signal())
		}
	}
}

// Signals come for what came, errors, and space that a send had missed, while they are on.
func TestSignalsCome(t *testing.T) {
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGIO, unix.SIGUSR1)
	defer signal.Stop(c)
	for _, sig := range []unix.Signal{unix.SIGIO, unix.SIGUSR1} {
		o, f := newOutside()
		f.tell(bandIn)
		if o.Async() || f.elsewhere {
			t.Error("signals are on at first")
		}
		o.SetAsync(true)
		o.SetAsync(true)
		if !o.Async() || !f.elsewhere || len(f.watches) != 1 {
			t.Fatalf("on: %t, waits elsewhere: %t, %d watches", o.Async(), f.elsewhere, len(f.watches))
		}
		if sig != unix.SIGIO {
			o.SetSignal(int(sig))
		}
		f.tell(bandIn) // to nobody
		if err := o.SetOwner(Owner{OwnerPID, int32(unix.Getpid())}); err != nil {
			t.Fatal(err)
		}
		for i, tt := range []struct {
			events uint32
			missed bool
			want   bool
		}{
			{bandIn, false, true}, {bandErr, false, true}, {bandOut, true, true}, {bandOut, false, false},
			{stack.EventsAll, true, false}, {unix.EPOLLHUP, true, false},
		} {
			f.missed = tt.missed
			f.tell(tt.events)
			f.missed = false
			if tt.want {
				select {
				case got := <-c:
					if got != sig {
						t.Errorf("signal %v, step %d: %v came", sig, i, got)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("signal %v, step %d: nothing came", sig, i)
				}
			}
			if len(c) != 0 {
				t.Errorf("signal %v, step %d: %v came too", sig, i, <-c)
			}
		}
		o.SetAsync(false)
		o.SetAsync(false)
		if o.Async() || f.elsewhere || len(f.watches) != 0 {
			t.Errorf("off: %t, waits elsewhere: %t, %d watches", !o.Async(), f.elsewhere, len(f.watches))
		}
	}
	// What should not have come has had time to, for signals are handled in order.
	unix.Kill(unix.Getpid(), unix.SIGUSR1)
	if got := <-c; got != unix.SIGUSR1 || len(c) != 0 {
		t.Errorf("%v came for nothing", got)
	}
}

// What waits elsewhere are the descriptor and the signals: as long as there is either.
func TestWaitsElsewhere(t *testing.T) {
	o, f := newOutside()
	if _, err := o.FD(); err != nil {
		t.Fatal(err)
	}
	o.SetAsync(true)
	if o.SetAsync(false); !f.elsewhere {
		t.Error("nobody waits elsewhere, with the descriptor open")
	}
	o.CloseFD()
	other, f := newOutside()
	f.refuse = unix.EBADF
	if other.SetAsync(true); f.elsewhere {
		t.Error("somebody waits elsewhere for a socket that is closed")
	}
}
