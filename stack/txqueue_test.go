package stack

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// A slowLink is a link whose device keeps frames until the test lets them go, each
// charged to the queue that it came by.
type slowLink struct {
	*pipe.Link
	own  *slowQueue
	none error // what OpenQueue says instead

	mu     sync.Mutex
	held   []heldFrame
	opened []*slowQueue
}

type heldFrame struct {
	q    *slowQueue
	data []byte
}

// A slowQueue takes frames until it holds limit of them.
type slowQueue struct {
	l           *slowLink
	limit, held int
	room        func()
	closed      bool
}

// framesOf returns how many frames of the tests a buffer holds.
func framesOf(buffer int) int { return max(buffer/output.DefaultSndbuf*10, 2) }

func newSlowLink(l *pipe.Link) *slowLink {
	s := &slowLink{Link: l}
	s.own = &slowQueue{l: s, limit: framesOf(output.DefaultSndbuf)}
	return s
}

func (l *slowLink) Send(frame []byte) error                      { return l.own.Send(frame) }
func (l *slowLink) SendBatch(frames []link.TxFrame) (int, error) { return l.own.SendBatch(frames) }
func (l *slowLink) Queue() link.TxQueue                          { return l.own }

func (l *slowLink) OpenQueue(buffer int) (link.TxQueue, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &slowQueue{l: l, limit: framesOf(buffer)}
	l.opened = append(l.opened, q)
	if l.none != nil {
		return nil, l.none
	}
	return q, nil
}

// free lets n frames go, -1: all.
func (l *slowLink) free(n int) {
	l.mu.Lock()
	if n < 0 {
		n = len(l.held)
	}
	var told []func()
	for _, f := range l.held[:n] {
		l.Link.Send(f.data)
		full := !f.q.hasRoomLocked()
		if f.q.held--; full && f.q.hasRoomLocked() && f.q.room != nil {
			told = append(told, f.q.room)
		}
	}
	l.held = l.held[n:]
	l.mu.Unlock()
	for _, f := range told {
		f()
	}
}

func (q *slowQueue) hasRoomLocked() bool { return q.held < (q.limit+1)/2 }

func (q *slowQueue) Send(frame []byte) error {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	if q.held >= q.limit {
		return unix.EAGAIN
	}
	q.held++
	q.l.held = append(q.l.held, heldFrame{q, slices.Clone(frame)})
	return nil
}

func (q *slowQueue) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		if err := q.Send(frames[i].Data); err != nil {
			return i, err
		}
	}
	return len(frames), nil
}

func (q *slowQueue) Queued() int {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	return q.held * 1000
}

func (q *slowQueue) Room() bool {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	return q.hasRoomLocked()
}

func (q *slowQueue) RoomFD() int { return -1 }

func (q *slowQueue) SetRoom(f func()) {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	q.room = f
}

func (q *slowQueue) SetBuffer(n int) {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	q.limit = framesOf(n)
}

func (q *slowQueue) Close() error {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	q.closed = true
	return nil
}

// A slowWire is a wire by a slowLink.
type slowWire struct {
	*wire
	l *slowLink
}

// slowBubble runs a test with a slow wire in simulated time.
func slowBubble(t *testing.T, f func(t *testing.T, w *slowWire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.Options{})
		l := newSlowLink(a)
		w := &slowWire{&wire{t: t, s: newStack(t, Config{}), near: a, far: b}, l}
		w.ifc = addLink(t, w.s, l, "10.9.0.1/24")
		check(t, w.ifc.SetNeighbour(farAddr, farMAC, arp.Permanent))
		t.Cleanup(func() { b.Close() })
		synctest.Wait()
		l.free(-1)
		w.sent()
		f(t, w)
	})
}

// sender opens a socket that is connected to a port of the far end's.
func (w *slowWire) sender(local string) *UDPSocket {
	w.t.Helper()
	return w.socket(local, "10.9.0.2:7")
}

// company has another socket send by the wire too.
func (w *slowWire) company() *UDPSocket {
	w.t.Helper()
	k := w.sender("10.9.0.1:99")
	w.number(k, 0, 1)
	w.l.free(-1)
	w.sent()
	return k
}

// number sends datagrams with numbers from on, without waiting, until EAGAIN or n are
// sent, and returns how many were.
func (w *slowWire) number(k Socket, from, n int) int {
	w.t.Helper()
	for i := range n {
		err := k.Send(binary.BigEndian.AppendUint16(nil, uint16(from+i)), unix.MSG_DONTWAIT, NoDeadline)
		if errors.Is(err, unix.EAGAIN) {
			return i
		}
		check(w.t, err)
	}
	return n
}

// numbers returns those of the datagrams that have come by.
func (w *slowWire) numbers() (got []int) {
	for _, f := range w.sentIP() {
		got = append(got, int(binary.BigEndian.Uint16(f.data[output.HeadersLen:])))
	}
	return got
}

// upTo returns the numbers from a to b, b excluded.
func upTo(a, b int) (all []int) {
	for i := a; i < b; i++ {
		all = append(all, i)
	}
	return all
}

// A socket is charged for its own frames: one that fills the device as far as it may
// keeps no other from sending, and what it is told of itself is true.
func TestSocketsApart(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		bulk, urgent := w.sender("10.9.0.1:1"), w.sender("10.9.0.1:2")
		if n := w.number(bulk, 0, 100); n != 10 {
			t.Errorf("%d datagrams before EAGAIN", n)
		}
		if len(w.l.opened) != 0 {
			t.Error("a queue for who is alone")
		}
		if bulk.Events()&unix.EPOLLOUT != 0 || urgent.Events()&unix.EPOLLOUT == 0 {
			t.Error("readiness of one is the other's")
		}
		if m := w.number(urgent, 1000, 3); m != 3 {
			t.Errorf("%d urgent datagrams of 3", m)
		}
		if b, u := bulk.SendQueued(), urgent.SendQueued(); b != 10000 || u != 3000 {
			t.Errorf("%d and %d bytes queued", b, u)
		}
		if m := w.number(w.sender("10.9.0.1:3"), 2000, 100); m != 10 {
			t.Errorf("%d datagrams of another before EAGAIN", m)
		}
		w.l.free(-1)
		if got, want := w.numbers(), slices.Concat(upTo(0, 10), upTo(1000, 1003), upTo(2000, 2010)); !slices.Equal(got, want) {
			t.Errorf("came %v", got)
		}
		if bulk.Events()&unix.EPOLLOUT == 0 {
			t.Error("not writable when the device is empty")
		}
	})
}

// What a socket has left in the way out that all use, when it got its own, is not held
// against others.
func TestWhatIsLeftBehind(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		other, bulk := w.company(), w.sender("10.9.0.1:1")
		if n := w.number(bulk, 0, 100); n != 20 { // ten by either way
			t.Errorf("%d datagrams before EAGAIN", n)
		}
		if other.Events()&unix.EPOLLOUT == 0 {
			t.Error("not writable for what another has left")
		}
		if n := bulk.SendQueued(); n != 10000 {
			t.Errorf("%d bytes queued by its own way", n)
		}
		if n := w.number(other, 100, 100); n != 10 {
			t.Errorf("%d datagrams of another before EAGAIN", n)
		}
		w.l.free(-1)
		if a, b := bulk.SendQueued(), other.SendQueued(); a != 0 || b != 0 {
			t.Errorf("%d and %d bytes queued at the end", a, b)
		}
		if n := w.ifc.dev.Sharers.Load(); n != 0 {
			t.Errorf("%d sockets share what none uses", n)
		}
	})
}

// To ask whether a socket is writable costs no memory, whichever its ways out, and an
// interface that was removed is remembered no longer than until the next is used.
func TestWaysOutCostNothing(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		w.company()
		k := w.sender("10.9.0.1:1")
		w.number(k, 0, 12)
		if n := testing.AllocsPerRun(100, func() { k.Events() }); n != 0 {
			t.Errorf("%v allocations", n)
		}
		u := udpSocket(t, w.s, "0.0.0.0:77")
		for n := range 5 {
			a, b := pipe.New(pipe.Options{})
			i := addLink(t, w.s, a, netip.PrefixFrom(netip.AddrFrom4(ipv4.Addr{10, 8, byte(n), 1}), 24).String())
			peer := netip.AddrFrom4(ipv4.Addr{10, 8, byte(n), 2})
			check(t, i.SetNeighbour(peer, farMAC, arp.Permanent))
			check(t, u.SendTo([]byte("by this one"), 0, NoDeadline, netip.AddrPortFrom(peer, 7)))
			check(t, w.s.RemoveLink(i.Index()))
			b.Close()
		}
		if n := len(*u.out.Own.Shares.Load()); n != 1 {
			t.Errorf("%d interfaces are remembered", n)
		}
		w.l.free(-1)
	})
}

// Who watches hears of room when half of it is free, by an edge, whichever of the calls
// filled it.
func TestRoomIsAnEdge(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		w.company()
		k := w.sender("10.9.0.1:1")
		edges := make(chan struct{}, 100)
		check(t, k.Watch(&Watch{Notify: func(ev uint32) bool {
			if ev&unix.EPOLLOUT != 0 {
				edges <- struct{}{}
			}
			return false
		}}))
		take := func() (n int) {
			synctest.Wait()
			for len(edges) > 0 {
				<-edges
				n++
			}
			return n
		}
		w.number(k, 0, 12) // the last two by its own
		take()
		w.number(k, 12, 6)
		if n := take(); n > 3 || k.Events()&unix.EPOLLOUT != 0 {
			t.Errorf("%d edges, events %#x with eight of ten taken", n, k.Events())
		}
		w.l.free(13)
		if n := take(); n != 0 {
			t.Errorf("%d edges with half of it taken", n)
		}
		w.l.free(1)
		if n := take(); n != 1 {
			t.Errorf("%d edges when there is room", n)
		}
	})
}

// A blocked send ends when there is room, in order, and not by turns.
func TestBlockedUntilRoom(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		w.company()
		k := w.sender("10.9.0.1:1")
		n := w.number(k, 0, 100)
		done := make(chan error)
		go func() { done <- k.Send(binary.BigEndian.AppendUint16(nil, uint16(n)), 0, NoDeadline) }()
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("not blocked")
		}
		w.l.free(n)
		check(t, <-done)
		w.l.free(-1)
		if got := w.numbers(); !slices.Equal(got, upTo(0, n+1)) {
			t.Errorf("came %v", got)
		}
	})
}

// What a closed socket has left to send leaves whole, by its own way out, which is
// given back then and not before.
func TestCloseBehind(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		w.company()
		k := w.sender("10.9.0.1:1")
		w.number(k, 0, 12)
		payload := make([]byte, 2*45) // segments, more than there is room for at a time
		for i := range 45 {
			binary.BigEndian.PutUint16(payload[2*i:], uint16(12+i))
		}
		_, err := k.SendMessages([]OutMessage{{Buffers: [][]byte{payload}, Options: &SendOptions{Segment: 2}}},
			unix.MSG_DONTWAIT, NoDeadline)
		check(t, err)
		check(t, k.Close())
		synctest.Wait()
		if len(w.l.opened) != 1 || w.l.opened[0].closed {
			t.Fatalf("%d queues, given back before all has left", len(w.l.opened))
		}
		for range 6 {
			w.l.free(-1)
			synctest.Wait()
		}
		if got := w.numbers(); !slices.Equal(got, upTo(0, 57)) {
			t.Errorf("came %v", got)
		}
		if !w.l.opened[0].closed {
			t.Error("the queue was not given back")
		}
	})
}

// Where no queue can be had the socket stays with the one that all use, and does not
// ask for each datagram.
func TestNoQueueToBeHad(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		w.l.none = unix.EMFILE
		w.company()
		k := w.sender("10.9.0.1:1")
		if n := w.number(k, 0, 100); n != 10 {
			t.Errorf("%d datagrams before EAGAIN", n)
		}
		w.number(k, 0, 1)
		w.number(k, 0, 1)
		if len(w.l.opened) != 1 || k.Events()&unix.EPOLLOUT != 0 {
			t.Errorf("asked %d times, events %#x", len(w.l.opened), k.Events())
		}
		w.l.free(6)
		if n := w.number(k, 10, 3); n != 3 {
			t.Errorf("%d datagrams when there was room", n)
		}
		check(t, k.Close())
		w.l.free(-1)
	})
}

// A smaller SO_SNDBUF holds from the first datagram on, a question how much is queued
// from then on, and another size at once.
func TestOwnBuffer(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		small, asked := w.sender("10.9.0.1:1"), w.sender("10.9.0.1:2")
		small.SetSendBuffer(4608)
		if n := w.number(small, 0, 100); n != 2 {
			t.Errorf("%d datagrams in a small buffer", n)
		}
		small.SetSendBuffer(output.DefaultSndbuf)
		if n := w.number(small, 2, 100); n != 8 {
			t.Errorf("%d datagrams more in an ordinary one", n)
		}
		if n := asked.SendQueued(); n != 0 {
			t.Errorf("%d bytes queued of one who has sent none", n)
		}
		w.company()
		w.number(asked, 100, 4)
		if n := asked.SendQueued(); n != 4000 {
			t.Errorf("%d bytes queued", n)
		}
		w.number(asked, 104, 1)
		if len(w.l.opened) != 2 {
			t.Errorf("%d queues, of one with a size and of one who has asked", len(w.l.opened))
		}
		w.l.free(-1)
	})
}

// A socket that is closed, or has its own way out, is no company any more.
func TestAloneAgain(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		other := w.company()
		check(t, other.Close())
		apart := w.company()
		apart.SetSendBuffer(4608)
		w.number(apart, 0, 1)
		w.l.free(-1)
		w.sent()
		opened := len(w.l.opened)
		if n := w.number(w.sender("10.9.0.1:1"), 0, 100); n != 10 || len(w.l.opened) != opened {
			t.Errorf("%d datagrams, %d queues more", n, len(w.l.opened)-opened)
		}
		w.l.free(-1)
	})
}
