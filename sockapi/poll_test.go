package sockapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi/internal/epoll"
	"github.com/outband/outband/sockapi/internal/ioctl"
)

// bothKinds runs a script in-band and out-of-band, and compares what it notes.
func bothKinds(t *testing.T, run func(w *waitScript)) {
	t.Helper()
	var logs [2]string
	for i, flag := range []int{0, SOCK_OOB} {
		w := &waitScript{t: t, a: waitAPI(t), flag: flag}
		w.s, w.p = waitSocket(t, w.a, flag), waitSocket(t, w.a, flag)
		run(w)
		logs[i] = fmt.Sprintf("%q", w.log)
	}
	if logs[0] != logs[1] {
		t.Errorf("in-band:     %s\nout-of-band: %s", logs[0], logs[1])
	}
}

func TestPollAsLinux(t *testing.T) {
	bothKinds(t, func(w *waitScript) {
		poll := func(events int16) {
			fds := []PollFd{{Socket: w.s, Events: events}, {Socket: w.p, Events: events}, {Fd: -1, Revents: 9}}
			n, err := w.a.Poll(fds, 0)
			w.note("poll: %d %v %#x %#x %#x", n, err, fds[0].Revents, fds[1].Revents, fds[2].Revents)
		}
		poll(unix.POLLIN)
		poll(0x3fff)
		w.send()
		poll(unix.POLLIN)
		poll(0)
		w.recv()
		w.refuse()
		poll(unix.POLLIN)
		w.recv()
		w.connect(nameOf(t, w.p))
		w.shutdown(unix.SHUT_RDWR)
		poll(0)
		poll(0x3fff)
		w.s.Close()
		poll(unix.POLLIN)
	})
}

func TestSelectAsLinux(t *testing.T) {
	bothKinds(t, func(w *waitScript) {
		sel := func() {
			var r, wr, x FdSet
			for _, set := range []*FdSet{&r, &wr, &x} {
				set.Set(w.s)
				set.Set(w.p)
			}
			n, err := w.a.Select(&r, &wr, &x, 0)
			w.note("%d %v %v%v %v%v %v%v", n, err, r.IsSet(w.s), r.IsSet(w.p), wr.IsSet(w.s), wr.IsSet(w.p), x.IsSet(w.s), x.IsSet(w.p))
			var only FdSet
			only.Set(w.s)
			n, err = w.a.Select(&only, nil, nil, 0)
			w.note("%d %v %v", n, err, only.IsSet(w.s))
		}
		sel()
		w.send()
		sel()
		w.recv()
		w.refuse()
		sel()
		w.s.Close()
		sel()
	})
	a := waitAPI(t)
	var set FdSet
	s := waitSocket(t, a, SOCK_OOB)
	set.Set(s)
	start := time.Now()
	if n, err := a.Select(nil, nil, &set, 5*time.Millisecond); n != 0 || err != nil || time.Since(start) < 5*time.Millisecond {
		t.Errorf("%d %v after %v", n, err, time.Since(start))
	}
	s.Shutdown(unix.SHUT_RDWR) // POLLHUP, for which no set asks
	set.Set(s)
	start = time.Now()
	if n, err := a.Select(nil, nil, &set, 5*time.Millisecond); n != 0 || err != nil || time.Since(start) < 5*time.Millisecond {
		t.Errorf("%d %v after %v", n, err, time.Since(start))
	}
}

// TestPollSleeps waits for sockets of both kinds and a pipe at once.
func TestPollSleeps(t *testing.T) {
	a := waitAPI(t)
	s, in := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, 0)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fds := []PollFd{{Socket: s, Events: unix.POLLIN}, {Socket: in, Events: unix.POLLIN}, {Fd: int(r.Fd()), Events: unix.POLLIN},
		{Fd: int(r.Fd()), Events: unix.POLLIN}}
	if n, err := a.Poll(fds, time.Millisecond); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	b := make([]byte, 10)
	for i, do := range []struct{ give, take func() }{
		{func() { s.Sendto(b, 0, nameOf(t, s)) }, func() { s.Recv(b, 0) }},
		{func() { in.Sendto(b, 0, nameOf(t, in)) }, func() { in.Recv(b, 0) }},
		{func() { w.Write(b) }, func() { r.Read(b) }},
	} {
		for range 20 {
			done := make(chan int)
			go func() {
				n, _ := a.Poll(fds, 10*time.Second)
				done <- n
			}()
			runtime.Gosched()
			do.give()
			n := <-done
			is := fds[i].Revents
			if i == 2 {
				is |= fds[3].Revents // of the two, the later may be asked when it has come
			}
			if n == 0 || is != unix.POLLIN {
				t.Fatalf("entry %d: %d %+v", i, n, fds)
			}
			do.take()
		}
	}
	done := make(chan int)
	go func() {
		n, _ := a.Poll(fds[:1], 10*time.Second)
		done <- n
	}()
	time.Sleep(time.Millisecond)
	s.Close()
	if <-done; fds[0].Revents != unix.POLLNVAL {
		t.Errorf("closed: %#x", fds[0].Revents)
	}
}

func TestPollAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a := waitAPI(t)
	fds := []PollFd{{Socket: waitSocket(t, a, SOCK_OOB), Events: unix.POLLIN}, {Socket: waitSocket(t, a, SOCK_OOB), Events: unix.POLLIN}}
	if n := testing.AllocsPerRun(100, func() { a.Poll(fds, time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// readableFD asks the kernel.
func readableFD(fd int) bool {
	return epoll.PollNow([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}) == 1
}

func TestPollFD(t *testing.T) {
	for _, flag := range []int{0, SOCK_OOB} {
		a := waitAPI(t)
		s, p := waitSocket(t, a, flag), waitSocket(t, a, flag)
		fd, err := s.PollFD()
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := s.PollFD(); again != fd {
			t.Errorf("the second time it is %d, not %d", again, fd)
		}
		expect := func(want bool, when string) {
			t.Helper()
			if got := readableFD(fd); got != want {
				t.Errorf("%#x: %s: readable is %v", flag, when, got)
			}
		}
		b := make([]byte, 10)
		send := func() { p.Sendto(b, 0, nameOf(t, s)) }
		expect(false, "at first")
		send()
		expect(true, "a datagram")
		send()
		expect(true, "two")
		s.Recv(b, unix.MSG_PEEK)
		s.Recv(b, 0)
		expect(true, "one read")
		s.Recv(b, 0)
		expect(false, "both read")
		send()
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		unix.Poll(fds, 1000)
		expect(true, "another")
		s.Recv(b, 0)
		w := &waitScript{t: t, a: a, flag: flag, s: s, p: p}
		w.refuse()
		expect(true, "an error") // in-band it is POLLERR
		s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
		expect(false, "it was taken")
		s.Shutdown(unix.SHUT_RD)
		expect(true, "shut down")
		s.Close()
		if _, err := s.PollFD(); err != unix.EBADF {
			t.Errorf("closed: %v", err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("the descriptor is still open: %v", err)
		}
	}
}

// TestPollFDKeepsUp answers datagrams from an event loop of the kernel's, where
// only the housekeeper drives the links.
func TestPollFDKeepsUp(t *testing.T) {
	a := waitAPI(t)
	s, p := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, SOCK_OOB)
	fd, err := s.PollFD()
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	go func() {
		b := make([]byte, 10)
		for range n {
			p.Sendto(b, 0, nameOf(t, s))
			time.Sleep(50 * time.Microsecond)
		}
	}()
	b := make([]byte, 10)
	for got := 0; got < n; {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if k, err := unix.Poll(fds, 60000); err == unix.EINTR {
			continue
		} else if k == 0 {
			t.Fatalf("stands still after %d", got)
		}
		for {
			if _, err := s.Recv(b, 0); err != nil {
				break
			}
			got++
		}
	}
}

func TestFcntlAsLinux(t *testing.T) {
	bothKinds(t, func(w *waitScript) {
		call := func(cmd, arg int) {
			n, err := w.s.Fcntl(cmd, arg)
			w.note("%d %#x: %d %v", cmd, arg, n, err)
		}
		call(unix.F_GETFL, 0)
		call(unix.F_SETFL, 0)
		call(unix.F_GETFL, 0)
		call(unix.F_SETFL, unix.O_NONBLOCK|unix.O_APPEND|unix.O_RDONLY|unix.O_CREAT)
		call(unix.F_GETFL, 0)
		w.recv()
		call(unix.F_SETFL, unix.O_NONBLOCK|unix.O_ASYNC)
		call(unix.F_GETFL, 0)
		call(unix.F_SETFL, unix.O_NONBLOCK|unix.O_DIRECT)
		call(unix.F_GETFL, 0)
		call(unix.F_GETFD, 0)
		call(unix.F_SETFD, unix.FD_CLOEXEC)
		call(unix.F_GETOWN, 0)
		call(unix.F_SETOWN, os.Getpid())
		own, err := w.s.Fcntl(unix.F_GETOWN, 0)
		w.note("%v %v", own == os.Getpid(), err)
		call(unix.F_SETOWN, -unix.Getpgrp())
		own, err = w.s.Fcntl(unix.F_GETOWN, 0)
		w.note("%v %v", own == -unix.Getpgrp(), err)
		call(unix.F_SETOWN, 0)
		call(unix.F_GETOWN, 0)
		call(unix.F_SETOWN, 0x3fffffff)
		call(unix.F_SETOWN, -1<<31)
		call(unix.F_GETSIG, 0)
		call(unix.F_SETSIG, 40)
		call(unix.F_GETSIG, 0)
		call(unix.F_SETSIG, 65)
		call(unix.F_SETSIG, -1)
		call(unix.F_SETSIG, 64)
		call(unix.F_GETSIG, 0)
		call(12345, 0)
		w.s.Close()
		call(unix.F_GETFL, 0)
	})
}

func TestIoctlAsLinux(t *testing.T) {
	bothKinds(t, func(w *waitScript) {
		get := func(req uint) {
			v, err := w.s.IoctlInt(req)
			w.note("%#x: %d %v", req, v, err)
		}
		get(FIONREAD)
		get(unix.SIOCOUTQ)
		w.send()
		w.p.Sendto(make([]byte, 99), 0, nameOf(t, w.s))
		get(FIONREAD)
		w.recv()
		get(FIONREAD)
		w.recv()
		w.p.Sendto(nil, 0, nameOf(t, w.s))
		get(FIONREAD)
		w.recv()
		w.note("%v", w.s.IoctlSetInt(FIONBIO, 0))
		fl, _ := w.s.Fcntl(unix.F_GETFL, 0)
		w.note("%#x", fl)
		w.note("%v %v", w.s.IoctlSetInt(FIONBIO, 7), w.s.IoctlSetInt(FIOASYNC, 1))
		fl, _ = w.s.Fcntl(unix.F_GETFL, 0)
		w.note("%#x", fl)
		w.note("%v", w.s.IoctlSetInt(FIOASYNC, 0))
		w.note("%v", w.s.IoctlSetInt(FIOSETOWN, os.Getpid()))
		pid, err := w.s.IoctlInt(FIOGETOWN)
		w.note("%v %v", pid == os.Getpid(), err)
		w.note("%v", w.s.IoctlSetInt(unix.SIOCSPGRP, 0))
		get(unix.SIOCGPGRP)
		get(0x5413) // TIOCGWINSZ
		w.s.Close()
		get(FIONREAD)
	})
}

func TestIoctlStampAsLinux(t *testing.T) {
	for _, nano := range []bool{false, true} {
		bothKinds(t, func(w *waitScript) {
			req, unit := uint(unix.SIOCGSTAMP), time.Microsecond
			if nano {
				req, unit = unix.SIOCGSTAMPNS, time.Nanosecond
			}
			get := func() time.Time {
				var b [16]byte
				n, err := w.s.Ioctl(req, b[:])
				at := time.Unix(int64(binary.NativeEndian.Uint64(b[:])), int64(binary.NativeEndian.Uint64(b[8:]))*int64(unit))
				w.note("%v %v", err, err != nil || n == 16 && time.Since(at) < time.Minute && time.Since(at) > -time.Second)
				return at
			}
			get()
			get()
			w.send()
			w.recv()
			at := get()
			w.note("%v", get().Equal(at))
			w.send()
			w.recv()
			w.note("%v", get().After(at))
		})
		bothKinds(t, func(w *waitScript) { // asked after the first datagram
			w.send()
			w.recv()
			var b [16]byte
			_, err := w.s.Ioctl(unix.SIOCGSTAMP, b[:])
			w.note("%v", err)
		})
	}
}

// TestIoctlInterfacesAsLinux compares the loopback interfaces.
func TestIoctlInterfacesAsLinux(t *testing.T) {
	if out, err := exec.Command("ip", "-4", "addr", "show", "lo", "up").Output(); err != nil || !bytes.Contains(out, []byte("127.0.0.1/8 ")) {
		t.Skip("the kernel's lo is not as it comes: ", err)
	}
	requests := []uint{unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR, unix.SIOCGIFNETMASK, unix.SIOCGIFFLAGS,
		unix.SIOCGIFHWADDR, unix.SIOCGIFMTU, unix.SIOCGIFINDEX}
	bothKinds(t, func(w *waitScript) {
		for _, name := range []string{"lo", "lo:1", "nosuch0", ""} {
			for _, req := range requests {
				var r ioctl.Request
				r.SetName(name)
				for i := range r.Value()[2:] {
					r.Value()[2+i] = 0x55
				}
				_, err := w.s.Ioctl(req, r[:])
				// Linux leaves what is behind the answer in some of them.
				w.note("%s %#x: %x %v", name, req, r[:32], err)
			}
		}
		for _, index := range []uint32{1, 0, 0x7ffffff0} {
			var r ioctl.Request
			binary.NativeEndian.PutUint32(r.Value(), index)
			_, err := w.s.Ioctl(unix.SIOCGIFNAME, r[:])
			w.note("%d: %q %v", index, r.Name(), err)
		}
		var r ioctl.Request
		r.SetName("lo")
		r.SetAddr([4]byte{127, 0, 0, 1})
		_, err := w.s.Ioctl(unix.SIOCGIFADDR, r[:])
		w.note("%x %v", r, err)
		var conf [ioctl.RequestLen]byte
		n, err := w.s.Ioctl(unix.SIOCGIFCONF, conf[:])
		w.note("%d %v %x", n, err, conf)
		n, err = w.s.Ioctl(unix.SIOCGIFCONF, conf[:ioctl.RequestLen-1])
		w.note("%d %v", n, err)
	})
	a := waitAPI(t)
	s := waitSocket(t, a, SOCK_OOB)
	if n, err := s.Ioctl(unix.SIOCGIFCONF, nil); n != ioctl.RequestLen || err != nil {
		t.Errorf("SIOCGIFCONF without a buffer: %d %v", n, err)
	}
	if _, err := s.Ioctl(unix.SIOCGIFADDR, make([]byte, ioctl.RequestLen-1)); err != unix.EFAULT {
		t.Errorf("short: %v", err)
	}
}

// TestSignals has both kinds of sockets send SIGIO.
func TestSignals(t *testing.T) {
	for _, flag := range []int{0, SOCK_OOB} {
		a := waitAPI(t)
		s, p := waitSocket(t, a, flag), waitSocket(t, a, flag)
		got := make(chan os.Signal, 10)
		signal.Notify(got, unix.SIGIO)
		expect := func(want bool, when string) {
			t.Helper()
			wait := 10 * time.Second
			if !want {
				wait = 20 * time.Millisecond
			}
			select {
			case <-got:
				if !want {
					t.Errorf("%#x: %s: a signal", flag, when)
				}
			case <-time.After(wait):
				if want {
					t.Errorf("%#x: %s: no signal", flag, when)
				}
			}
		}
		send := func() { p.Sendto([]byte("x"), 0, nameOf(t, s)) }
		if _, err := s.Fcntl(unix.F_SETOWN, os.Getpid()); err != nil {
			t.Fatal(err)
		}
		send()
		expect(false, "not asked for")
		if _, err := s.Fcntl(unix.F_SETFL, unix.O_ASYNC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		send()
		expect(true, "a datagram")
		send()
		expect(true, "another, unread")
		s.Sendto([]byte("x"), 0, nameOf(t, p))
		expect(false, "one sent")
		w := &waitScript{t: t, a: a, flag: flag, s: s, p: p}
		w.refuse()
		expect(true, "an error")
		s.Shutdown(unix.SHUT_RDWR)
		expect(false, "a shutdown")
		s.Fcntl(unix.F_SETFL, unix.O_NONBLOCK)
		signal.Stop(got)
	}
}

// TestIoctlPing has what Linux returns for a ping socket.
func TestIoctlPing(t *testing.T) {
	s, err := waitAPI(t).Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB, unix.IPPROTO_ICMP)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, req := range []uint{FIONREAD, unix.SIOCOUTQ} {
		if _, err := s.IoctlInt(req); err != unix.ENOTTY {
			t.Errorf("%#x: %v", req, err)
		}
	}
}

// TestSendBufferOption has SO_SNDBUF reach what counts.
func TestSendBufferOption(t *testing.T) {
	s := waitSocket(t, waitAPI(t), SOCK_OOB)
	s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_SNDBUF, 5000)
	if n := oobOf(s).SendBuffer(); n != 10000 {
		t.Errorf("%d bytes", n)
	}
}
