package conformance

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// writable reports whether poll(2) says POLLOUT now.
func (w *sendWorld) writable(s *sockapi.Socket) bool {
	w.t.Helper()
	n, err := w.api.Poll([]sockapi.PollFd{{Socket: s, Events: unix.POLLOUT}}, 0)
	check(w.t, err)
	return n == 1
}

// outq returns what of a socket's is in the device (SIOCOUTQ).
func outq(t testing.TB, s *sockapi.Socket) int {
	t.Helper()
	n, err := s.IoctlInt(unix.SIOCOUTQ)
	check(t, err)
	return n
}

// fill sends until the socket says EAGAIN, and returns how many datagrams it took.
func fill(t testing.TB, s *sockapi.Socket, size int) int {
	t.Helper()
	for n := range 5000 {
		_, err := s.Send(make([]byte, size), unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return n
		}
		check(t, err)
	}
	t.Fatal("the socket takes without end")
	return 0
}

// Bulk in one class, and in the same one, does not come into the way of another socket:
// each is charged for its own, and is writable while it has room of its own.
func TestSendBuffersAreEachSocketsOwn(t *testing.T) {
	for _, side := range slowSides {
		t.Run(side.name, func(t *testing.T) {
			l := sendLab(t, side)
			w := newSendWorld(t, l.Near(), side, l.Far())
			l.Near().Htb(t, lab.Class{Rate: "100kbit"}, lab.Class{Rate: "100mbit"})
			in := newArrivals(t, l.Far(), 9)
			newArrivals(t, l.Far(), 7)
			newArrivals(t, l.Far(), 8)
			bulk, beside, urgent := w.connected(7), w.connected(8), w.connected(9)
			check(t, urgent.SetsockoptInt(unix.SOL_SOCKET, unix.SO_PRIORITY, lab.ClassPriority(1)))
			fill(t, bulk, 1000)
			if w.writable(bulk) || outq(t, bulk) == 0 {
				t.Errorf("the full socket is writable: %t, with %d bytes out", w.writable(bulk), outq(t, bulk))
			}
			if !w.writable(beside) || !w.writable(urgent) || outq(t, beside) != 0 || outq(t, urgent) != 0 {
				t.Errorf("the others are writable: %t, %t, with %d and %d bytes out", w.writable(beside), w.writable(urgent), outq(t, beside), outq(t, urgent))
			}
			refused := 0
			for i := range uint32(100) {
				_, err := urgent.Send(sealed(1000, i), unix.MSG_DONTWAIT)
				if err == unix.EAGAIN {
					refused++
					continue
				}
				check(t, err)
				in.until(i)
			}
			if refused > 0 {
				t.Errorf("urgent datagrams were refused %d times of 100", refused)
			}
			if n := fill(t, beside, 1000); n < 10 {
				t.Errorf("another socket of the same class may send %d", n)
			}
		})
	}
}

// sendSlowly returns a socket on a device that takes 10 kB a second, with a send buffer of
// that many bytes, 0: as it is.
func sendSlowly(t testing.TB, side sendSide, buffer int) (*lab.Lab, *sendWorld, *sockapi.Socket) {
	t.Helper()
	l := sendLab(t, side)
	w := newSendWorld(t, l.Near(), side, l.Far())
	l.Near().Htb(t, lab.Class{Rate: "80kbit", Packets: 4000})
	newArrivals(t, l.Far(), 7)
	s := w.connected(7)
	if buffer > 0 {
		check(t, s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer))
	}
	return l, w, s
}

// SO_SNDBUF is how much of a socket's may be in the device, and SIOCOUTQ says how much
// is; poll(2) says POLLOUT from less than half on.
func TestSendBufferIsTrue(t *testing.T) {
	for _, size := range []int{100, 1000, 1472} {
		for _, buffer := range []int{0, 8 << 10, 40 << 10, 200 << 10} {
			for _, side := range slowSides {
				l, w, s := sendSlowly(t, side, buffer)
				limit, err := s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_SNDBUF)
				check(t, err)
				fill(t, s, size)
				if n := outq(t, s); n < limit || n > limit+4096 {
					t.Errorf("%s, %d bytes each: full with SIOCOUTQ %d, SO_SNDBUF %d", side.name, size, n, limit)
				}
				l.Near().SetRate(t, 0, "100mbit")
				if !pollOut(w, s) {
					t.Errorf("%s, %d bytes each, SO_SNDBUF %d: never writable again", side.name, size, limit)
				}
				if n := outq(t, s); n > limit/2 {
					t.Errorf("%s, %d bytes each: writable with %d of %d out", side.name, size, n, limit)
				}
				await(t, "nothing is out", func() bool { return outq(t, s) == 0 })
			}
		}
	}
}

// Programs that wait for POLLOUT before each call, or for an edge of EPOLLOUT after
// EAGAIN, are never told EAGAIN right after, and are woken about as often as frames leave.
func TestPollOutIsTrue(t *testing.T) {
	for _, side := range slowSides {
		t.Run(side.name, func(t *testing.T) {
			l := sendLab(t, side)
			w := newSendWorld(t, l.Near(), side, l.Far())
			l.Near().Htb(t, lab.Class{Rate: "2mbit"})
			newArrivals(t, l.Far(), 7)
			s := w.connected(7)
			wakes, again := 0, 0
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				if !pollOut(w, s) {
					break
				}
				wakes++
				if _, err := s.Send(make([]byte, 1000), unix.MSG_DONTWAIT); err == unix.EAGAIN {
					again++
				} else {
					check(t, err)
				}
			}
			// 2 Mbit/s are 240 frames a second, and the buffer holds some 100.
			if again > 0 || wakes > 600 {
				t.Errorf("%d wakes, %d times EAGAIN", wakes, again)
			}
		})
	}
}

// An edge comes when a full socket has room again, and none before.
func TestEdgeOfRoom(t *testing.T) {
	for _, side := range slowSides {
		t.Run(side.name, func(t *testing.T) {
			l := sendLab(t, side)
			w := newSendWorld(t, l.Near(), side, l.Far())
			l.Near().Htb(t, lab.Class{Rate: "80kbit"})
			newArrivals(t, l.Far(), 7)
			s := w.connected(7)
			e, err := w.api.EpollCreate()
			check(t, err)
			defer e.Close()
			check(t, e.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLET, Data: 5}))
			edges := func(timeout time.Duration) int {
				events := make([]sockapi.EpollEvent, 4)
				n, err := e.Wait(events, timeout)
				check(t, err)
				return n
			}
			if n := edges(lab.Patience); n != 1 {
				t.Fatalf("a new socket: %d events", n)
			}
			for round := range 3 {
				fill(t, s, 1000)
				if n := edges(0); n != 0 {
					t.Fatalf("round %d: %d events of a full socket", round, n)
				}
				l.Near().SetRate(t, 0, "100mbit")
				if n := edges(lab.Patience); n != 1 {
					t.Fatalf("round %d: no edge when there is room", round)
				}
				if _, err := s.Send(make([]byte, 1000), unix.MSG_DONTWAIT); err != nil {
					t.Fatalf("round %d: after the edge %v", round, err)
				}
				l.Near().SetRate(t, 0, "80kbit")
			}
		})
	}
}

// A socket takes as much as SO_SNDBUF says before it says EAGAIN: as many datagrams as
// one of the kernel's, within an eighth, the first time too.
func TestSendBufferHolds(t *testing.T) {
	for _, size := range []int{100, 1000, 1472} {
		for _, buffer := range []int{0, 8 << 10, 40 << 10, 200 << 10} {
			took := map[bool]int{}
			for _, side := range slowSides {
				_, _, s := sendSlowly(t, side, buffer)
				took[side.kernel] = fill(t, s, size)
			}
			if a, b := took[true], took[false]; b < a-a/8-1 || b > a+a/8+1 {
				t.Errorf("%d bytes each, SO_SNDBUF %d: %d taken, in-band %d", size, buffer, b, a)
			}
		}
	}
}
