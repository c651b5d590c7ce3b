package sockapi

import (
	"os"
	"testing"
	"time"

	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/sockapi/internal/snapshot"
	"golang.org/x/sys/unix"
)

// What the error queue has is cut, and says so; without an error nothing is had from there,
// whatever else there is.
func TestErrorQueueIsApart(t *testing.T) {
	a := newAPI(t)
	for name, s := range both(t, a) {
		if _, err := s.Sendto([]byte("x"), 0, nameOf(t, s)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(make([]byte, 9), unix.MSG_ERRQUEUE); err != unix.EAGAIN {
			t.Errorf("%s: no error: %v", name, err)
		}
		if _, err := s.Recvmmsg([]Mmsghdr{{Hdr: Msghdr{Iov: [][]byte{nil}}}}, unix.MSG_ERRQUEUE, -1); err != unix.EAGAIN {
			t.Errorf("%s: no error of several: %v", name, err)
		}
		enable(t, s, unix.SOL_IP, unix.IP_RECVERR)
		if err := s.Connect(Inet4([4]byte{127, 0, 0, 1}, 1)); err != nil {
			t.Fatal(err)
		}
		s.Send([]byte("datagram"), 0) // to nobody
		err := error(nil)
		for end := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(end); {
			_, err = s.Recvmmsg(nil, 0, -1)
		}
		if err != unix.ECONNREFUSED {
			t.Errorf("%s: no messages, and an error: %v", name, err)
		}
		if _, err := s.Recvmsg(&Msghdr{}, unix.MSG_ERRQUEUE); err != nil {
			t.Errorf("%s: the error in the queue: %v", name, err)
		}
		for _, room := range []int{7, 8, 9} {
			s.Send([]byte("datagram"), 0)
			m := Msghdr{Iov: [][]byte{make([]byte, room)}, Control: make([]byte, 100)}
			n, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE)
			for end := time.Now().Add(5 * time.Second); err == unix.EAGAIN && time.Now().Before(end); { // the kernel's answer comes by itself
				n, err = s.Recvmsg(&m, unix.MSG_ERRQUEUE)
			}
			if n != min(room, 8) || err != nil || m.Flags&unix.MSG_TRUNC != 0 != (room < 8) {
				t.Errorf("%s, room for %d: %d, flags %#x, %v", name, room, n, m.Flags, err)
			}
			s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
		}
	}
}

// A call ends with its time-out; one that is asked for records of what was sent, with the
// socket; what has come before times were wanted has none.
func TestCallsEnd(t *testing.T) {
	a := newAPI(t)
	s := waitSocket(t, a, SOCK_OOB)
	if _, err := s.Sendto([]byte("before"), 0, nameOf(t, s)); err != nil {
		t.Fatal(err)
	}
	setTimes(t, s, EVL_SOF_TIMESTAMPS)
	m := Msghdr{Iov: [][]byte{make([]byte, 99)}, Control: make([]byte, IOTimesLen)}
	if n, err := s.OobRecvmsg(&m, nil, 0); n != 6 || err != nil || m.ControlLen != 0 {
		t.Errorf("what has come before: %d, %v, %d bytes of times", n, err, m.ControlLen)
	}
	if _, err := s.Fcntl(unix.F_SETFL, 0); err != nil { // it may wait
		t.Fatal(err)
	}
	if err := s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(make([]byte, 9), 0); err != unix.EAGAIN {
		t.Errorf("after its time-out: %v", err)
	}
	if err := s.Connect(nameOf(t, s)); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if n, err := s.OobRecvmsg(&m, nil, MSG_TIMESTAMP); n != 0 || err != nil {
		t.Errorf("records of a socket that is shut down: %d, %v", n, err)
	}
	in := waitSocket(t, a, 0)
	if _, err := in.OobRecvmsg(&m, nil, MSG_TIMESTAMP); err != unix.EINVAL {
		t.Errorf("records of an in-band socket: %v", err)
	}
	e := waitEpoll(t, a)
	in.Close()
	if err := e.Ctl(unix.EPOLL_CTL_ADD, in, EpollEvent{Events: unix.EPOLLIN}); err != unix.EBADF {
		t.Errorf("an Epoll of a closed in-band socket: %v", err)
	}
	if n, err := in.Fcntl(unix.F_GETOWN, 0); n != -1 || err != unix.EBADF {
		t.Errorf("the owner of a closed in-band socket: %d, %v", n, err)
	}
	s.Close()
	if err := s.FcntlOwner(unix.F_SETOWN_EX, &FileOwner{Type: 1, PID: int32(os.Getpid())}); err != unix.EBADF {
		t.Errorf("an owner of a closed socket: %v", err)
	}
	var set FdSet
	set.Set(s)
	if _, err := a.Select(&set, nil, nil, 0); err != unix.EBADF {
		t.Errorf("select of a closed socket: %v", err)
	}
}

// In a process without standard input an in-band socket may be descriptor 0.
func TestDescriptorZero(t *testing.T) {
	if saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3); err == nil {
		defer func() {
			unix.Dup2(saved, 0)
			unix.Close(saved)
		}()
	}
	a := newAPI(t)
	unix.Close(0)
	s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if fd, err := s.PollFD(); err != nil || fd != 0 {
		t.Fatalf("%v, descriptor %d", err, fd)
	}
	fds := []PollFd{{Socket: s, Events: unix.POLLOUT}}
	if n, err := a.Poll(fds, 0); n != 1 || err != nil || fds[0].Revents != unix.POLLOUT {
		t.Errorf("%d, %v, events %#x", n, err, fds[0].Revents)
	}
	var set FdSet
	set.SetFd(0)
	if n, err := a.Select(nil, &set, nil, 0); n != 1 || err != nil {
		t.Errorf("select: %d, %v", n, err)
	}
	s.Close()
	event, err := unix.Eventfd(0, unix.EFD_NONBLOCK)
	if err != nil || event != 0 {
		t.Fatalf("%v, descriptor %d", err, event)
	}
	time.AfterFunc(5*time.Millisecond, func() { unix.Write(0, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	if n, err := a.Poll([]PollFd{{Fd: 0, Events: unix.POLLIN}}, time.Minute); n != 1 || err != nil {
		t.Errorf("poll: %d, %v", n, err)
	}
	unix.Close(0)
}

// A snapshot whose kind, name or settings cannot be had is not restored, and says why.
func TestRestoreRefused(t *testing.T) {
	a := newAPI(t)
	b, err := waitSocket(t, a, SOCK_OOB).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(s *snapshot.Snapshot)
		want   error
	}{
		{"a kind", func(s *snapshot.Snapshot) { s.Kind.Domain = unix.AF_INET6 }, unix.EAFNOSUPPORT},
		{"a name", func(s *snapshot.Snapshot) { s.Bound = Inet4([4]byte{192, 0, 2, 1}, 9).Raw() }, unix.EADDRNOTAVAIL},
		{"a peer", func(s *snapshot.Snapshot) { s.Bound, s.Peer = nil, Inet4([4]byte{192, 0, 2, 1}, 9).Raw() }, unix.ENETUNREACH},
		{"a setting", func(s *snapshot.Snapshot) {
			s.Bound, s.Settings = nil, append(s.Settings, option.Setting{Level: unix.SOL_IP, Name: 9999, Value: make([]byte, 4)})
		}, unix.ENOPROTOOPT},
		{"nothing", func(s *snapshot.Snapshot) { s.Bound = nil }, nil},
	} {
		shot, ok := snapshot.Parse(b)
		if !ok {
			t.Fatal("it is no snapshot")
		}
		tt.change(&shot)
		s, err := a.Restore(shot.Append(nil))
		if err != tt.want && (err != nil || tt.want != nil) || (s != nil) != (tt.want == nil) {
			t.Errorf("%s: %v, %v, want %v", tt.name, s, err, tt.want)
		}
		if s != nil {
			s.Close()
		}
	}
}
