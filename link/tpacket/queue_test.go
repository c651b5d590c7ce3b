package tpacket

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A stuck lab is one whose near device lets nothing through until it is told to.
type stuckLab struct {
	*lab
	q *netlink.Tbf
}

// queueBuffer is the SO_SNDBUF of the tests' queues.
const queueBuffer = 64 << 10

func newStuckLab(t *testing.T) *stuckLab {
	s := &stuckLab{lab: newLab(t, 1500)}
	s.stop()
	return s
}

// stop has the near device keep what it gets. The first frames of a new bucket pass:
// they are spent here.
func (s *stuckLab) stop() {
	s.q = &netlink.Tbf{Rate: 1000, Buffer: 2e9 >> 6, Limit: 64 << 20, QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: s.near.link().Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}}
	check(s.t, s.near.nl.QdiscAdd(s.q))
}

// flow drops what the device keeps, and lets it flow.
func (s *stuckLab) flow() { check(s.t, s.near.nl.QdiscDel(s.q)) }

// openStuck opens a link whose frames go by the queueing discipline.
func (s *stuckLab) openStuck(o Options) *Link {
	o.Qdisc, o.SendBuffer = true, queueBuffer
	return s.near.open(o)
}

// fill sends until EAGAIN, and returns how many frames went.
func (s *stuckLab) fill(send func([]byte) error) int {
	s.t.Helper()
	frame := ethernet(s.far.mac(), s.near.mac(), make([]byte, 1000))
	for n := 0; n < 10000; n++ {
		switch err := send(frame); {
		case errors.Is(err, unix.EAGAIN):
			return n
		case err != nil:
			s.t.Fatal(err)
		}
	}
	s.t.Fatal("never full")
	return 0
}

func (s *stuckLab) openQueue(l *Link) link.TxQueue {
	s.t.Helper()
	q, err := l.OpenQueue(queueBuffer)
	check(s.t, err)
	return q
}

// readable reports whether poll(2) calls a descriptor so within the time, in
// milliseconds; -1: for ever.
func readable(t testing.TB, fd, timeout int) bool {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, timeout)
	check(t, err)
	return n > 0
}

// txQueues are all ways out of a link.
var txQueues = []struct {
	name string
	o    Options
	open func(*stuckLab, *Link) link.TxQueue
}{
	{"link", Options{}, func(_ *stuckLab, l *Link) link.TxQueue { return l.Queue() }},
	{"link by sendto", Options{TxMode: TxSendto}, func(_ *stuckLab, l *Link) link.TxQueue { return l.Queue() }},
	{"own", Options{}, func(s *stuckLab, l *Link) link.TxQueue { return s.openQueue(l) }},
	{"own by sendto", Options{TxMode: TxSendto}, func(s *stuckLab, l *Link) link.TxQueue { return s.openQueue(l) }},
}

// A queue tells the truth: there is no room from EAGAIN on, and there is again, by its
// descriptor too, when the device has let go.
func TestQueueRoom(t *testing.T) {
	for _, tt := range txQueues {
		for _, asked := range []bool{false, true} {
			name := tt.name + ", asked late"
			if asked {
				name = tt.name + ", asked before"
			}
			t.Run(name, func(t *testing.T) {
				s := newStuckLab(t)
				l := s.openStuck(tt.o)
				defer l.Close()
				q := tt.open(s, l)
				if !q.Room() {
					t.Error("no room at first")
				}
				if n := allocsPerRun(10, func() { q.Room() }); n > 0 {
					t.Errorf("Room takes %v allocations", n)
				}
				if asked {
					q.RoomFD()
				}
				n := s.fill(q.Send)
				if n == 0 || q.Room() {
					t.Errorf("room after EAGAIN of frame %d", n)
				}
				if q.Queued() < queueBuffer {
					t.Errorf("%d bytes queued", q.Queued())
				}
				if readable(t, q.RoomFD(), 0) {
					t.Error("the descriptor tells of room")
				}
				s.flow()
				if !readable(t, q.RoomFD(), int(patience.Milliseconds())) || !q.Room() {
					t.Error("no room when the device has let go")
				}
				if n := q.Queued(); n != 0 {
					t.Errorf("%d bytes queued at the end", n)
				}
				s.flows(q)
			})
		}
	}
}

// flows sends a few frames by a queue that flows again.
func (s *stuckLab) flows(q link.TxQueue) {
	s.t.Helper()
	frame := ethernet(s.far.mac(), s.near.mac(), make([]byte, 1000))
	n, err := q.SendBatch([]link.TxFrame{{Data: frame}, {Data: frame, Priority: 3}, {Data: frame}})
	if n != 3 || err != nil {
		s.t.Errorf("sent %d of 3: %v", n, err)
	}
}

// The link's own descriptor of room, once asked for, is that of the socket that is full
// now: frames that want more go by another one than plain ones.
func TestRoomFollowsTheFullSocket(t *testing.T) {
	s := newStuckLab(t)
	l := s.openStuck(Options{})
	defer l.Close()
	q := l.Queue()
	s.fill(q.Send)
	fd := q.RoomFD()
	s.flow()
	if !readable(t, fd, int(patience.Milliseconds())) {
		t.Fatal("frames stay")
	}
	s.stop()
	s.fill(func(frame []byte) error {
		_, err := q.SendBatch([]link.TxFrame{{Data: frame, Priority: 3}})
		return err
	})
	if readable(t, fd, 0) {
		t.Error("the descriptor tells of room in a socket that was full before")
	}
	s.flow()
	if !readable(t, fd, int(patience.Milliseconds())) {
		t.Error("no room when the device has let go")
	}
}

// With no descriptor left, what SetRoom registered tells of room.
func TestQueueWithoutDescriptor(t *testing.T) {
	s := newStuckLab(t)
	l := s.openStuck(Options{})
	defer l.Close()
	for _, q := range []link.TxQueue{l.Queue(), s.openQueue(l)} {
		s.fill(q.Send)
		told := make(chan struct{}, 1)
		q.SetRoom(func() {
			if q.Room() {
				select {
				case told <- struct{}{}:
				default:
				}
			}
		})
		withoutDescriptors(t, func() {
			if fd := q.RoomFD(); fd != -1 {
				t.Errorf("descriptor %d", fd)
			}
		})
		s.flow()
		select {
		case <-told:
		case <-time.After(patience):
			t.Error("not told of room")
		}
		s.stop()
	}
}

// withoutDescriptors runs f while the process can open no file.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var old unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}))
	defer func() { check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	f()
}

// What one sender has waiting is nobody else's: neither what it may send nor what it is
// told.
func TestQueuesApart(t *testing.T) {
	s := newStuckLab(t)
	l := s.openStuck(Options{})
	defer l.Close()
	s.fill(l.Send)
	a, b := s.openQueue(l), s.openQueue(l)
	if a.Queued() != 0 || !a.Room() {
		t.Errorf("%d bytes of others in a new queue", a.Queued())
	}
	frames := s.fill(a.Send)
	if b.Queued() != 0 || !b.Room() {
		t.Errorf("%d bytes of another's", b.Queued())
	}
	if n := s.fill(b.Send); n != frames {
		t.Errorf("%d frames by one queue, %d by the other", frames, n)
	}
	b.SetBuffer(2 * queueBuffer)
	more := s.fill(b.Send)
	if more < frames*3/4 || more > frames*5/4 {
		t.Errorf("%d more frames in twice the buffer, the first half took %d", more, frames)
	}
}

// A sender gets the queue that another has given back, unless its frames are still there.
func TestQueueReuse(t *testing.T) {
	s := newStuckLab(t)
	l := s.openStuck(Options{})
	defer l.Close()
	a := s.openQueue(l)
	s.fill(a.Send)
	check(t, a.Close())
	check(t, a.Close())
	b := s.openQueue(l)
	if b == a || b.Queued() != 0 {
		t.Errorf("a queue with %d bytes in it", b.Queued())
	}
	s.flow()
	if !readable(t, a.RoomFD(), int(patience.Milliseconds())) {
		t.Fatal("frames stay")
	}
	if c := s.openQueue(l); c != a {
		t.Error("a queue that is free is left unused")
	}
}

// Queues are bounded in number; those that nobody has are closed but for a few.
func TestQueueLimit(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.near.open(Options{})
	before := openFDs()
	var all []link.TxQueue
	for {
		q, err := l.OpenQueue(queueBuffer)
		if err != nil {
			if err != unix.ENOBUFS || len(all) != maxQueues {
				t.Errorf("after %d: %v", len(all), err)
			}
			break
		}
		all = append(all, q)
	}
	for _, q := range all {
		check(t, q.Close())
	}
	l.mu.Lock()
	n := len(l.queues)
	l.mu.Unlock()
	if n > spareQueues+1 {
		t.Errorf("%d queues kept", n)
	}
	q, err := l.OpenQueue(queueBuffer)
	check(t, err)
	check(t, q.Send(ethernet(lb.far.mac(), lb.near.mac(), make([]byte, 100))))
	check(t, l.Close())
	if err := q.Send(make([]byte, 60)); err != unix.ENETDOWN {
		t.Errorf("Send after the link's Close: %v", err)
	}
	if !q.Room() || q.RoomFD() != -1 || q.Queued() != 0 {
		t.Errorf("room %v, descriptor %d, %d queued after Close", q.Room(), q.RoomFD(), q.Queued())
	}
	check(t, q.Close())
	if _, err := l.OpenQueue(queueBuffer); err != unix.ENETDOWN {
		t.Errorf("OpenQueue after Close: %v", err)
	}
	await(t, "descriptors given back", func() bool { return openFDs() < before })
}

// A queue goes with its link to a device that is made anew.
func TestQueueFollowsDevice(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.near.open(Options{})
	defer l.Close()
	q, err := l.OpenQueue(queueBuffer)
	check(t, err)
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	await(t, "device gone", func() bool { return l.Info().State == link.Gone })
	if err := q.Send(make([]byte, 60)); err != unix.ENETDOWN {
		t.Errorf("Send without a device: %v", err)
	}
	lb.join(1500)
	await(t, "device up", func() bool { return l.Info().State == link.Up })
	fd := lb.far.raw(experimental, false)
	check(t, q.Send(ethernet(lb.far.mac(), lb.near.mac(), make([]byte, 100))))
	read(t, fd)
}

// A link can be closed, and queues opened and given back, while others send by them.
func TestQueueConcurrently(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.near.open(Options{})
	f := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, 100))
	var wg, started sync.WaitGroup
	started.Add(4)
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				q, err := l.OpenQueue(queueBuffer)
				if err != nil {
					return
				}
				for range 10 {
					q.SendBatch([]link.TxFrame{{Data: f}, {Data: f}})
					q.Room()
					q.RoomFD()
				}
				q.Close()
				if i == 20 {
					started.Done()
				}
			}
		})
	}
	started.Wait() // all are at it
	check(t, l.Close())
	wg.Wait()
}
