package sockapi

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEpollPollFD asks the kernel whether an Epoll's descriptor is readable,
// in-band, where it is the kernel's own business, and out-of-band.
func TestEpollPollFD(t *testing.T) {
	for name, events := range map[string]uint32{"level": unix.EPOLLIN, "edge": unix.EPOLLIN | unix.EPOLLET,
		"one-shot": unix.EPOLLIN | unix.EPOLLONESHOT, "out": unix.EPOLLOUT, "nothing": 0} {
		for _, late := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				bothKinds(t, func(w *waitScript) { epollFDScript(t, w, events, late) })
			})
		}
	}
}

func epollFDScript(t *testing.T, w *waitScript, events uint32, late bool) {
	w.e = waitEpoll(t, w.a)
	fd := -1
	open := func() {
		var err error
		if fd, err = w.e.PollFD(); err != nil {
			t.Fatal(err)
		}
	}
	look := func(when string) { w.note("%s: %v", when, readableFD(fd)) }
	if !late {
		open()
		look("empty")
	}
	w.send()
	w.add(events)
	if late {
		open()
	}
	if again, err := w.e.PollFD(); again != fd || err != nil {
		t.Errorf("the second time it is %d, not %d, %v", again, fd, err)
	}
	look("added")
	w.wait()
	look("after a wait")
	w.recv()
	look("received")
	w.send()
	look("another")
	w.recv()
	look("received unseen")
	w.send()
	w.send()
	w.mod(unix.EPOLLIN)
	look("changed")
	w.recv()
	look("one of two")
	w.recv()
	look("both")
	w.refuse()
	look("an error")
	w.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
	look("taken")
	w.send()
	w.del()
	look("deleted")
	w.add(unix.EPOLLIN)
	look("added again")
	w.s.Close()
	look("closed")
	w.e.Close()
	_, err := w.e.PollFD()
	w.note("%v", err)
}

// TestEpollPollFDNests has Epolls and descriptors of the kernel's inside.
func TestEpollPollFDNests(t *testing.T) {
	bothKinds(t, func(w *waitScript) {
		outer, inner := waitEpoll(t, w.a), waitEpoll(t, w.a)
		fd, err := outer.PollFD()
		if err != nil {
			t.Fatal(err)
		}
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pipe[0])
		defer unix.Close(pipe[1])
		look := func(when string) { w.note("%s: %v", when, readableFD(fd)) }
		events := make([]EpollEvent, 4)
		w.note("%v", outer.CtlEpoll(unix.EPOLL_CTL_ADD, inner, EpollEvent{Events: unix.EPOLLIN}))
		w.note("%v", inner.Ctl(unix.EPOLL_CTL_ADD, w.s, EpollEvent{Events: unix.EPOLLIN}))
		w.note("%v", inner.CtlFd(unix.EPOLL_CTL_ADD, pipe[0], EpollEvent{Events: unix.EPOLLIN}))
		look("nothing")
		w.send()
		look("a datagram")
		w.recv()
		n, err := outer.Wait(events, 0)
		w.note("%d %v", n, err)
		look("received")
		unix.Write(pipe[1], []byte("x"))
		look("a byte")
		unix.Read(pipe[0], make([]byte, 1))
		n, err = outer.Wait(events, 0)
		w.note("%d %v", n, err)
		look("read")
		w.note("%v", outer.CtlFd(unix.EPOLL_CTL_ADD, pipe[0], EpollEvent{Events: unix.EPOLLIN}))
		unix.Write(pipe[1], []byte("x"))
		look("a byte for both")
	})
}

// TestPollEpoll has Epolls in the sets of Poll and Select.
func TestPollEpoll(t *testing.T) {
	bothKinds(t, func(w *waitScript) {
		w.e = waitEpoll(t, w.a)
		w.add(unix.EPOLLIN)
		poll := func(events int16) {
			fds := []PollFd{{Epoll: w.e, Events: events}, {Socket: w.s, Events: unix.POLLIN}, {Epoll: w.e, Events: events}}
			n, err := w.a.Poll(fds, 0)
			w.note("poll: %d %v %#x %#x %#x", n, err, fds[0].Revents, fds[1].Revents, fds[2].Revents)
			var read, except FdSet
			read.SetEpoll(w.e)
			except.SetEpoll(w.e)
			n, err = w.a.Select(&read, nil, &except, 0)
			w.note("select: %d %v %v %v", n, err, read.IsSetEpoll(w.e), except.IsSetEpoll(w.e))
		}
		poll(unix.POLLIN)
		w.send()
		poll(unix.POLLIN)
		poll(0)
		poll(0x3fff)
		w.wait()
		poll(unix.POLLIN)
		w.recv()
		poll(unix.POLLIN)
		w.del()
		w.send()
		poll(unix.POLLIN)
		w.e.Close()
		poll(unix.POLLIN)
	})
}

// TestPollEpollWaits has Poll wait for what happens inside an Epoll.
func TestPollEpollWaits(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	tests := []struct {
		name   string
		happen func(w *waitScript)
		want   int16
	}{
		{"a datagram", func(w *waitScript) { w.send() }, unix.POLLIN},
		{"a socket is added", func(w *waitScript) {
			w.send()
			w.add(unix.EPOLLIN)
		}, unix.POLLIN},
		{"a pipe is added", func(w *waitScript) {
			w.e.CtlFd(unix.EPOLL_CTL_ADD, pipe[0], EpollEvent{Events: unix.EPOLLIN})
			time.Sleep(time.Millisecond)
			unix.Write(pipe[1], []byte("x"))
		}, unix.POLLIN},
		{"it is closed", func(w *waitScript) { w.e.Close() }, unix.POLLNVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &waitScript{t: t, a: waitAPI(t), flag: SOCK_OOB}
			w.s, w.p, w.e = waitSocket(t, w.a, SOCK_OOB), waitSocket(t, w.a, SOCK_OOB), waitEpoll(t, w.a)
			if tt.name == "a datagram" {
				w.add(unix.EPOLLIN)
			}
			fds := []PollFd{{Epoll: w.e, Events: unix.POLLIN}}
			var wg sync.WaitGroup
			wg.Go(func() {
				if n, err := w.a.Poll(fds, 10*time.Second); n != 1 || err != nil || fds[0].Revents != tt.want {
					t.Errorf("Poll: %d %v %#x", n, err, fds[0].Revents)
				}
			})
			for pollsOf(w.e) == 0 {
				time.Sleep(100 * time.Microsecond)
			}
			tt.happen(w)
			wg.Wait()
			if pollsOf(w.e) != 0 {
				t.Error("the call is still told")
			}
		})
	}
}

// TestEpollPollFDKeepsUp answers datagrams from a loop of the kernel's.
func TestEpollPollFDKeepsUp(t *testing.T) {
	a := waitAPI(t)
	s, p, e := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, SOCK_OOB), waitEpoll(t, a)
	fd, err := e.PollFD()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{Events: unix.EPOLLIN}); err != nil {
		t.Fatal(err)
	}
	const datagrams = 2000
	var wg sync.WaitGroup
	to := nameOf(t, s)
	wg.Go(func() {
		b := make([]byte, 10)
		p.SetNonblock(false)
		p.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 10*time.Second)
		for i := range datagrams {
			p.Sendto(b, 0, to)
			if _, err := p.Recv(b, 0); err != nil {
				t.Errorf("answer %d: %v", i, err)
				return
			}
		}
	})
	b, events := make([]byte, 10), make([]EpollEvent, 1)
	for n := 0; n < datagrams && !t.Failed(); {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if got, err := unix.Poll(fds, 10000); err == unix.EINTR {
			continue
		} else if got == 0 || err != nil {
			t.Errorf("after %d datagrams: %d, %v", n, got, err)
			break
		}
		if got, _ := e.Wait(events, 0); got == 0 {
			continue
		}
		if _, from, err := s.Recvfrom(b, unix.MSG_DONTWAIT); err == nil {
			s.Sendto(b, 0, from)
			n++
		}
	}
	wg.Wait()
}
