package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
)

// burst is a replay link that receives several frames at once.
type burst struct {
	replay
	list [][]byte
	next int
}

func (b *burst) Receive(frames []link.Frame) int {
	n := 0
	for ; n < len(frames) && b.next < len(b.list); n++ {
		f := b.list[b.next]
		b.next++
		frames[n].Data = f
		frames[n].Meta = link.Meta{WireLen: len(f)}
	}
	return n
}

// calls counts how often a link is called to send.
type calls struct {
	replay
	one, batch int
}

func (c *calls) Send([]byte) error {
	c.one++
	return nil
}

func (c *calls) SendBatch(f []link.TxFrame) (int, error) {
	c.batch++
	return len(f), nil
}

// budgetStack is a stack with 10.9.0.1/24 on l, who knows its neighbour.
func budgetStack(t testing.TB, l link.Link) *Stack {
	t.Helper()
	s := newStack(t, Config{})
	i, err := s.AddLink(l, InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := i.SetNeighbour(farAddr, farMAC, arp.Permanent); err != nil {
		t.Fatal(err)
	}
	return s
}

// noAllocs fails if f allocates.
func noAllocs(t *testing.T, f func()) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if n := testing.AllocsPerRun(200, f); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestReceiveAllocatesNothing(t *testing.T) {
	l := &burst{}
	s := budgetStack(t, l)
	k := udpSocket(t, s, "10.9.0.1:9")
	buf := make([]byte, 2048)
	one := [][]byte{udpFrame(9, payload(64))}
	many := make([][]byte, 32)
	for i := range many {
		many[i] = udpFrame(9, payload(64))
	}
	whole := datagram(far4, near4, 7, 9, payload(3000))
	fragments := [][]byte{fragment(1, whole, 0, 1480), fragment(1, whole, 1480, 2960), fragment(1, whole, 2960, len(whole))}
	big := make([]byte, 4000)
	msgs := make([]Message, 40)
	for i := range msgs {
		msgs[i].Buffers = [][]byte{make([]byte, 20), make([]byte, 2048)}
	}
	feed := func(frames [][]byte) {
		s.lockLanes() // the housekeeper looks too
		l.list, l.next = frames, 0
		s.unlockLanes()
	}
	t.Run("Recv", func(t *testing.T) {
		noAllocs(t, func() {
			feed(one)
			if n, _, err := k.Recv(buf, 0, NoDeadline); n != 64 || err != nil {
				t.Fatal(n, err)
			}
		})
	})
	t.Run("Recv from the queue", func(t *testing.T) {
		noAllocs(t, func() {
			feed(many)
			for range many {
				if n, _, err := k.Recv(buf, 0, NoDeadline); n != 64 || err != nil {
					t.Fatal(n, err)
				}
			}
		})
	})
	t.Run("RecvMessages", func(t *testing.T) {
		noAllocs(t, func() {
			feed(many)
			for got := 0; got < len(many); {
				n, err := k.RecvMessages(msgs, 0, NoDeadline)
				if err != nil {
					t.Fatal(n, err)
				}
				got += n
			}
		})
	})
	t.Run("reassembly", func(t *testing.T) {
		noAllocs(t, func() {
			feed(fragments)
			if n, _, err := k.Recv(big, 0, NoDeadline); n != 3000 || err != nil {
				t.Fatal(n, err)
			}
		})
	})
}

func TestSendAllocatesNothing(t *testing.T) {
	s := budgetStack(t, &calls{})
	connected, free := udpSocket(t, s, "10.9.0.1:9"), udpSocket(t, s, "10.9.0.1:8")
	to := netip.AddrPortFrom(farAddr, 7)
	if err := connected.Connect(to); err != nil {
		t.Fatal(err)
	}
	small, large := payload(64), payload(4000)
	msgs := make([]OutMessage, 64)
	for i := range msgs {
		msgs[i] = OutMessage{Buffers: [][]byte{small[:20], small[20:]}}
		if i%2 == 1 {
			msgs[i].To = to
		}
	}
	for _, c := range []struct {
		name string
		send func() error
	}{
		{"Send", func() error { return connected.Send(small, 0, NoDeadline) }},
		{"SendTo", func() error { return free.SendTo(small, 0, NoDeadline, to) }},
		{"Send of fragments", func() error { return connected.Send(large, 0, NoDeadline) }},
		{"SendTo of fragments", func() error { return free.SendTo(large, 0, NoDeadline, to) }},
		{"SendMessages", func() error { _, err := connected.SendMessages(msgs, 0, NoDeadline); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			noAllocs(t, func() {
				if err := c.send(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestEchoAllocatesNothing(t *testing.T) {
	l := &burst{}
	s := budgetStack(t, l)
	frames := [][]byte{goodFrames()["echo"]}
	noAllocs(t, func() {
		s.lockLanes()
		l.list, l.next = frames, 0
		s.lanes.first.pump()
		s.unlockLanes()
	})
}

// TestOneLinkCallPerSend counts what would be system calls.
func TestOneLinkCallPerSend(t *testing.T) {
	l := &calls{}
	s := budgetStack(t, l)
	k := udpSocket(t, s, "10.9.0.1:9")
	to := netip.AddrPortFrom(farAddr, 7)
	if err := k.Connect(to); err != nil {
		t.Fatal(err)
	}
	msgs := make([]OutMessage, 64)
	for i := range msgs {
		msgs[i] = OutMessage{Buffers: [][]byte{payload(1400)}}
	}
	for _, c := range []struct {
		name       string
		send       func() error
		one, batch int
	}{
		{"Send, first", func() error { return k.Send(payload(64), 0, NoDeadline) }, 1, 0},
		{"Send", func() error { return k.Send(payload(64), 0, NoDeadline) }, 1, 0},
		{"SendTo", func() error { return k.SendTo(payload(64), 0, NoDeadline, to) }, 1, 0},
		{"fragments", func() error { return k.Send(payload(65507), 0, NoDeadline) }, 0, 1},
		{"SendMessages", func() error { _, err := k.SendMessages(msgs, 0, NoDeadline); return err }, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.one, l.batch = 0, 0
			if err := c.send(); err != nil {
				t.Fatal(err)
			}
			if l.one != c.one || l.batch != c.batch {
				t.Errorf("%d calls of Send and %d of SendBatch, want %d and %d", l.one, l.batch, c.one, c.batch)
			}
		})
	}
}
