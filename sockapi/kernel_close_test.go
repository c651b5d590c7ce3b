package sockapi

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/sockapi/internal/kernel"
	"golang.org/x/sys/unix"
)

// awaitWaiters returns when n threads wait in a system call on fd.
func awaitWaiters(t testing.TB, fd, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		tasks, err := os.ReadDir(kernel.OwnThreads)
		ok(t, kernel.OwnThreads, err)
		waiting := 0
		for _, task := range tasks {
			if call, err := os.ReadFile(kernel.OwnThreads + "/" + task.Name() + "/syscall"); err == nil && kernel.WaitsOn(call, fd) {
				waiting++
			} else if os.IsPermission(err) {
				t.Skip("may not see what threads wait for")
			}
		}
		if waiting >= n {
			return
		}
	}
	t.Fatalf("no %d threads wait on descriptor %d", n, fd)
}

// waits are calls that wait on a socket without end, one for each way in.
var waits = []struct {
	name               string
	domain, typ, proto int
	call               func(s *Socket) error
}{
	{"Recv, UDP", unix.AF_INET, unix.SOCK_DGRAM, 0, recv1},
	{"Recv, UDP over IPv6", unix.AF_INET6, unix.SOCK_DGRAM, 0, recv1},
	{"Recvmsg, UDP", unix.AF_INET, unix.SOCK_DGRAM, 0, func(s *Socket) error {
		_, err := s.Recvmsg(&Msghdr{Iov: [][]byte{make([]byte, 1)}}, 0)
		return err
	}},
	{"Recvmmsg, UDP", unix.AF_INET, unix.SOCK_DGRAM, 0, func(s *Socket) error {
		_, err := s.Recvmmsg([]Mmsghdr{{Hdr: Msghdr{Iov: [][]byte{make([]byte, 1)}}}}, 0, time.Hour)
		return err
	}},
	{"Recv, UDP with SO_RCVTIMEO", unix.AF_INET, unix.SOCK_DGRAM, 0, func(s *Socket) error {
		if err := s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, time.Hour); err != nil {
			return err
		}
		return recv1(s)
	}},
	{"Accept, TCP", unix.AF_INET, unix.SOCK_STREAM, 0, accept1},
	{"Accept, unix", unix.AF_UNIX, unix.SOCK_STREAM, 0, accept1},
	{"Recv, unix", unix.AF_UNIX, unix.SOCK_DGRAM, 0, recv1},
	{"Recv, netlink", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, recv1},
	{"Recv, packet", unix.AF_PACKET, unix.SOCK_RAW, 0, recv1},
}

func recv1(s *Socket) error { _, err := s.Recv(make([]byte, 1), 0); return err }

func accept1(s *Socket) error {
	_ = s.Bind(Unix("")) // any abstract name; EINVAL for TCP
	if err := s.Listen(1); err != nil {
		return err
	}
	_, _, err := s.Accept(0)
	return err
}

func TestCloseWakes(t *testing.T) {
	for _, tt := range waits {
		t.Run(tt.name, func(t *testing.T) {
			if tt.domain == unix.AF_PACKET {
				needRoot(t)
			}
			s := inband(t, inbandAPI(t), tt.domain, tt.typ, tt.proto)
			const waiters = 3
			errs := make(chan error, waiters)
			for range waiters {
				go func() { errs <- tt.call(s) }()
			}
			awaitWaiters(t, kernelOf(s).FD(), waiters)
			start := time.Now()
			ok(t, "Close", s.Close())
			for range waiters {
				want(t, tt.name, <-errs, unix.EBADF)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("woke after %v", d)
			}
		})
	}
}

func TestCloseWakesSender(t *testing.T) {
	a := inbandAPI(t)
	pair, err := a.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	ok(t, "Socketpair", err)
	defer pair[1].Close()
	b := make([]byte, 1<<16)
	for err == nil {
		_, err = pair[0].Send(b, unix.MSG_DONTWAIT)
	}
	want(t, "Send", err, unix.EAGAIN)
	done := make(chan error)
	go func() { _, err := pair[0].Send(b, 0); done <- err }()
	awaitWaiters(t, kernelOf(pair[0]).FD(), 1)
	ok(t, "Close", pair[0].Close())
	want(t, "Send", <-done, unix.EBADF)
}

func TestCloseFreesPort(t *testing.T) {
	a := inbandAPI(t)
	s := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	local := sockname(t, s)
	done := make(chan error)
	for range 50 {
		go func() { done <- recv1(s) }()
		awaitWaiters(t, kernelOf(s).FD(), 1)
		ok(t, "Close", s.Close())
		next, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		ok(t, "Socket", err)
		ok(t, "Bind to the port of a closed socket", next.Bind(local))
		want(t, "Recv", <-done, unix.EBADF)
		s = next
	}
	ok(t, "Close", s.Close())
}

// TestCloseLeavesOthers: a socket that has another descriptor lives on.
func TestCloseLeavesOthers(t *testing.T) {
	a := inbandAPI(t)
	s, peer := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0), inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	fd, err := unix.FcntlInt(uintptr(kernelOf(s).FD()), unix.F_DUPFD_CLOEXEC, 0)
	ok(t, "dup", err)
	defer unix.Close(fd)
	to := sockname(t, s)
	done := make(chan error)
	go func() { done <- recv1(s) }()
	awaitWaiters(t, kernelOf(s).FD(), 1)
	ok(t, "Close", s.Close())
	want(t, "Recv", <-done, unix.EBADF)
	_, err = peer.Sendto([]byte("x"), 0, to)
	ok(t, "Sendto", err)
	if n, _, err := unix.Recvfrom(fd, make([]byte, 4), unix.MSG_DONTWAIT); n != 1 || err != nil {
		t.Errorf("the other descriptor receives %d, %v", n, err)
	}
}

// TestCloseUnderLoad has sockets closed while many use them, and others opened
// that would get their numbers: nobody sees a socket that is not theirs.
func TestCloseUnderLoad(t *testing.T) {
	a := inbandAPI(t)
	other := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	for range 60 {
		s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		ok(t, "Socket", err)
		ok(t, "Bind", s.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)))
		local := sockname(t, s)
		var users sync.WaitGroup
		started := make(chan struct{}, 8)
		for u := range 8 {
			users.Go(func() {
				started <- struct{}{}
				for {
					name, err := s.Getsockname()
					if err == nil && name != local {
						t.Errorf("socket of %v has become %v", local, name)
					}
					if err == nil && u%2 == 0 {
						err = recv1(s)
					}
					if err == nil && u%2 == 1 {
						_, err = s.Sendto([]byte("x"), 0, local)
					}
					if err != nil {
						want(t, "use of a closed socket", err, unix.EBADF)
						return
					}
				}
			})
		}
		for range 8 {
			<-started
		}
		ok(t, "Close", s.Close())
		want(t, "Close again", s.Close(), unix.EBADF)
		fresh, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		ok(t, "Socket", err)
		ok(t, "Bind", fresh.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)))
		_, err = other.Sendto([]byte("y"), 0, sockname(t, fresh))
		ok(t, "Sendto", err)
		users.Wait()
		if n, err := fresh.Recv(make([]byte, 4), unix.MSG_DONTWAIT); n != 1 || err != nil {
			t.Errorf("another's datagram was taken: %d, %v", n, err)
		}
		ok(t, "Close", fresh.Close())
	}
}

// TestCloseAmongBystanders has descriptors opened and closed all the time, while
// sockets are closed with calls in flight that leave at that moment: nobody's file
// becomes another one, and no descriptor is left.
func TestCloseAmongBystanders(t *testing.T) {
	a := inbandAPI(t)
	before := openDescriptors(t)
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for !stop.Load() {
				fd, err := unix.Eventfd(7, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
				if err != nil {
					t.Errorf("eventfd: %v", err)
					return
				}
				runtime.Gosched()
				var b [8]byte
				if n, err := unix.Read(fd, b[:]); n != 8 || err != nil || b[0] != 7 {
					t.Errorf("a bystander's eventfd has become something else: %d, %v", n, err)
				}
				if err := unix.Close(fd); err != nil {
					t.Errorf("a bystander's eventfd is gone: %v", err)
				}
			}
		})
	}
	for n := range 1500 {
		s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		ok(t, "Socket", err)
		var calls sync.WaitGroup
		for i := range 3 {
			calls.Go(func() {
				for err := error(nil); err != unix.EBADF; {
					switch {
					case n%8 == 0 && i == 0: // one that waits
						err = recv1(s)
					case i == 1:
						_, err = s.Recv(make([]byte, 1), unix.MSG_DONTWAIT)
					default:
						_, err = s.Getsockname()
					}
				}
			})
		}
		if n%3 == 0 {
			runtime.Gosched()
		}
		ok(t, "Close", s.Close())
		calls.Wait()
	}
	stop.Store(true)
	all.Wait()
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestCloseLeavesTimeouts: who shares the socket finds it as it was.
func TestCloseLeavesTimeouts(t *testing.T) {
	s := inband(t, inbandAPI(t), unix.AF_INET, unix.SOCK_DGRAM, 0)
	ok(t, "SO_SNDTIMEO", s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_SNDTIMEO, time.Minute))
	fd, err := unix.FcntlInt(uintptr(kernelOf(s).FD()), unix.F_DUPFD_CLOEXEC, 0)
	ok(t, "dup", err)
	defer unix.Close(fd)
	done := make(chan error)
	go func() { done <- recv1(s) }()
	awaitWaiters(t, kernelOf(s).FD(), 1)
	ok(t, "Close", s.Close())
	want(t, "Recv", <-done, unix.EBADF)
	for option, want := range map[int]int64{unix.SO_RCVTIMEO: 0, unix.SO_SNDTIMEO: 60} {
		if tv, err := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, option); err != nil || tv.Sec != want {
			t.Errorf("time-out %d is %v, %v", option, tv, err)
		}
	}
}

func TestSignalsDoNotInterrupt(t *testing.T) {
	a := inbandAPI(t)
	for _, timeout := range []time.Duration{0, time.Hour} {
		s, peer := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0), inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
		ok(t, "SO_RCVTIMEO", s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, timeout))
		done := make(chan error)
		go func() { done <- recv1(s) }()
		for range 20 {
			awaitWaiters(t, kernelOf(s).FD(), 1)
			kernel.InterruptThreads(kernel.OwnThreads, kernelOf(s).FD())
		}
		_, err := peer.Sendto([]byte("x"), 0, sockname(t, s))
		ok(t, "Sendto", err)
		want(t, "Recv", <-done, nil)
	}
}

// TestSignalsDoNotProlong has a time-out pass although signals come all the time.
func TestSignalsDoNotProlong(t *testing.T) {
	const timeout = 50 * time.Millisecond
	s := inband(t, inbandAPI(t), unix.AF_INET, unix.SOCK_DGRAM, 0)
	ok(t, "SO_RCVTIMEO", s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, timeout))
	done := make(chan error)
	start := time.Now()
	go func() { done <- recv1(s) }()
	for {
		select {
		case err := <-done:
			want(t, "Recv", err, unix.EAGAIN)
			if d := time.Since(start); d < timeout*9/10 || d > 40*timeout {
				t.Errorf("a time-out of %v took %v", timeout, d)
			}
			return
		default:
			kernel.InterruptThreads(kernel.OwnThreads, kernelOf(s).FD())
		}
	}
}
