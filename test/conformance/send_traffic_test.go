package conformance

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// A message is what one call, or one place in a sendmmsg(2), has: datagrams that bear
// their numbers.
type message struct {
	first   uint32
	n       int // datagrams
	payload []byte
}

// A traffic is a kind of messages, and by which calls they are sent.
type traffic struct {
	name     string
	messages int
	sizes    []int // of datagrams, in turn
	segments int   // datagrams that UDP_SEGMENT makes of a message; 0: it is one
	batch    int   // messages a sendmmsg(2); 0: send(2)
}

var traffics = []traffic{
	{name: "1000 bytes each", messages: 300, sizes: []int{1000}},
	{name: "UDP_SEGMENT of 40 x 1000", messages: 20, sizes: []int{1000}, segments: 40},
	{name: "sendmmsg of 64 x 1000", messages: 256, sizes: []int{1000}, batch: 64},
	{name: "fragments of 50000 bytes", messages: 8, sizes: []int{50000}},
	{name: "sendmmsg of fragments", messages: 64, sizes: []int{9000}, batch: 16},
	{name: "sendmmsg of mixed sizes", messages: 200, sizes: []int{8, 1472, 1473, 600, 4000, 20, 20, 20}, batch: 40},
	{name: "sendmmsg of UDP_SEGMENT", messages: 20, sizes: []int{900}, segments: 40, batch: 5},
}

// make returns the messages, numbered from first on.
func (c *traffic) make(first uint32) (all []message) {
	for i := range c.messages {
		m := message{first: first, n: max(c.segments, 1)}
		for range m.n {
			m.payload = append(m.payload, sealed(c.sizes[i%len(c.sizes)], first)...)
			first++
		}
		all = append(all, m)
	}
	return all
}

// prepare sets what the messages need of a socket.
func (c *traffic) prepare(t testing.TB, s *sockapi.Socket) {
	t.Helper()
	if c.segments > 0 {
		check(t, s.SetsockoptInt(unix.SOL_UDP, unix.UDP_SEGMENT, c.sizes[0]))
	}
}

// frames returns how many frames m takes.
func (m *message) frames() int {
	if m.n > 1 {
		return m.n
	}
	const room = 1480 // of IP's payload
	return (8 + len(m.payload) + room - 1) / room
}

// A promise is what a call says of a message.
type promise uint8

const (
	refused  promise = iota // never comes
	perhaps                 // may come, once and whole: the call that had it was ended
	promised                // comes, once
)

// ledger is what was promised of messages.
type ledger map[*message]promise

// attempt sends the first of msgs, or the first batch of them, and returns how many
// were taken.
func (c *traffic) attempt(s *sockapi.Socket, msgs []message, flags int) (int, error) {
	if c.batch == 0 {
		n, err := s.Send(msgs[0].payload, flags)
		if err != nil {
			return 0, err
		}
		if n != len(msgs[0].payload) {
			return 0, unix.EIO
		}
		return 1, nil
	}
	var payloads [][]byte
	for i := range msgs[:min(c.batch, len(msgs))] {
		payloads = append(payloads, msgs[i].payload)
	}
	n, err := s.Sendmmsg(batchOf(payloads...), flags)
	if n == 0 && err == nil {
		return 0, unix.EIO // a loop that sends the rest would not end
	}
	return max(n, 0), err
}

// A manner is how a program goes about a socket that does not take everything.
type manner struct {
	name  string
	flags int
	// again says what to do after EAGAIN: send the same message, or pass it over.
	again func(w *sendWorld, s *sockapi.Socket) bool
	wants unix.Errno // what may come, beside success
}

// pollOut waits until a socket is writable.
func pollOut(w *sendWorld, s *sockapi.Socket) bool {
	began := time.Now()
	n, err := w.api.Poll([]sockapi.PollFd{{Socket: s, Events: unix.POLLOUT}}, lab.Patience)
	// At the end of its time poll(2) looks once more: what it finds then, nobody told it.
	if n != 1 || err != nil || time.Since(began) >= lab.Patience {
		w.t.Errorf("poll: %d, %v, after %v", n, err, time.Since(began))
		return false
	}
	return true
}

func passOver(*sendWorld, *sockapi.Socket) bool { return false }

var manners = []manner{
	{name: "blocking"},
	{name: "MSG_DONTWAIT, passing over what is refused", flags: unix.MSG_DONTWAIT, again: passOver, wants: unix.EAGAIN},
	{name: "MSG_DONTWAIT and poll", flags: unix.MSG_DONTWAIT, again: pollOut, wants: unix.EAGAIN},
}

// run sends all messages in that manner. spurious is how often a call said EAGAIN
// right after poll(2) had said that it would not.
func (c *traffic) run(w *sendWorld, s *sockapi.Socket, msgs []message, how manner) (l ledger, spurious int, err error) {
	l = ledger{}
	polled := false
	for i := 0; i < len(msgs); {
		n, err := c.attempt(s, msgs[i:], how.flags)
		for range n {
			l[&msgs[i]] = promised
			i++
		}
		if err == nil {
			polled = false
			continue
		}
		if err != how.wants {
			return l, spurious, err
		}
		if polled {
			spurious++
		}
		if polled = how.again(w, s); !polled {
			i++
		}
	}
	return l, spurious, nil
}

// An arrivals is what has come of numbered datagrams at a socket of the kernel's.
type arrivals struct {
	t     testing.TB
	from  *inband.UDP
	count map[uint32]int
}

func newArrivals(t testing.TB, at *lab.Endpoint, port uint16) *arrivals {
	t.Helper()
	a := &arrivals{t: t, from: at.UDP(t, port), count: map[uint32]int{}}
	check(t, a.from.SetBuffers(64<<20))
	return a
}

// next takes the next datagram in, and returns its number.
func (a *arrivals) next() uint32 {
	a.t.Helper()
	b, _ := recvInBand(a.t, a.from)
	number, ok := intact(b)
	if !ok {
		a.t.Fatalf("a datagram of %d bytes is not as it was sent", len(b))
	}
	a.count[number]++
	return number
}

// all takes datagrams in until all that was promised has come.
func (a *arrivals) all(l ledger) {
	a.t.Helper()
	left := 0
	for m, p := range l {
		for i := range m.n {
			if p == promised && a.count[m.first+uint32(i)] == 0 {
				left++
			}
		}
	}
	due := map[uint32]bool{}
	for m, p := range l {
		for i := range m.n {
			due[m.first+uint32(i)] = p == promised
		}
	}
	for left > 0 {
		if n := a.next(); due[n] && a.count[n] == 1 {
			left--
		}
	}
}

// until takes datagrams in until one of that number comes.
func (a *arrivals) until(number uint32) {
	a.t.Helper()
	for a.next() != number {
	}
}

// judge fails the test unless each message has come as often as was promised.
func (a *arrivals) judge(msgs []message, l ledger) {
	a.t.Helper()
	var lost, late, twice, part int
	for i := range msgs {
		m, came := &msgs[i], 0
		for j := range m.n {
			n := a.count[m.first+uint32(j)]
			came += min(n, 1)
			twice += max(n-1, 0)
		}
		switch p := l[m]; {
		case p == promised && came < m.n:
			lost += m.n - came
		case p == refused:
			late += came
		case p == perhaps && came != 0 && came != m.n:
			part++
		}
	}
	if lost+late+twice+part > 0 {
		a.t.Errorf("of %d messages: %d datagrams lost, %d come that were refused, %d copies, %d messages in part", len(msgs), lost, late, twice, part)
	}
}
