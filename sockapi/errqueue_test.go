package sockapi

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestSelectErrQueueAsLinux looks at a socket with an error, and with something in
// its error queue, in all ways of waiting.
func TestSelectErrQueueAsLinux(t *testing.T) {
	for _, selects := range []int{0, 1} {
		bothKinds(t, func(w *waitScript) {
			var err error
			if w.e, err = w.a.EpollCreate(); err != nil {
				t.Fatal(err)
			}
			defer w.e.Close()
			w.add(unix.EPOLLIN | unix.EPOLLPRI)
			w.s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVERR, 1)
			w.s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE, selects)
			look := func(when string) {
				w.note("%s:", when)
				w.wait()
				for _, events := range []int16{0, unix.POLLPRI, unix.POLLIN | unix.POLLPRI} {
					fds := []PollFd{{Socket: w.s, Events: events}}
					n, err := w.a.Poll(fds, 0)
					w.note("poll %#x: %d %v %#x", events, n, err, fds[0].Revents)
				}
				var r, x FdSet
				r.Set(w.s)
				x.Set(w.s)
				n, err := w.a.Select(&r, nil, &x, 0)
				w.note("select: %d %v %t %t", n, err, r.IsSet(w.s), x.IsSet(w.s))
				x.Set(w.s)
				n, err = w.a.Select(nil, nil, &x, 0)
				w.note("select: %d %v %t", n, err, x.IsSet(w.s))
			}
			look("nothing")
			w.refuse()
			look("refused")
			w.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
			look("in the queue only")
			m := Msghdr{Iov: [][]byte{make([]byte, 10)}}
			n, err := w.s.Recvmsg(&m, unix.MSG_ERRQUEUE)
			w.note("%d %v", n, err)
			look("taken")
		})
	}
}

// TestPollFDTellsOfErrorQueue has a descriptor that is readable while time stamps
// wait in the error queue.
func TestPollFDTellsOfErrorQueue(t *testing.T) {
	a := waitAPI(t)
	s, p := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, SOCK_OOB)
	fd, err := s.PollFD()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPING,
		unix.SOF_TIMESTAMPING_TX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for range 2 {
			if _, err := s.Sendto([]byte("x"), 0, nameOf(t, p)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			if !readableFD(fd) {
				t.Fatalf("not readable before stamp %d", i)
			}
			m := Msghdr{Iov: [][]byte{make([]byte, 10)}}
			if _, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE); err != nil {
				t.Fatal(err)
			}
		}
		if readableFD(fd) {
			t.Fatal("readable with nothing in the queue")
		}
	}
}
