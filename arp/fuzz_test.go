package arp

import (
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// ops is a stream of choices read from fuzz data; it gives zeros at the end.
type ops struct{ b []byte }

func (o *ops) next() byte {
	if len(o.b) == 0 {
		return 0
	}
	c := o.b[0]
	o.b = o.b[1:]
	return c
}

// addr picks one of few addresses, so that things meet.
func (o *ops) addr() ipv4.Addr {
	c := o.next()
	switch {
	case c < 0xe0:
		return ipv4.Addr{10, 0, 0, c & 0x0f}
	case c == 0xfe:
		return ipv4.Addr{}
	}
	return ipv4.Addr{c, 0xff, 0xff, 0xff}
}

func (o *ops) mac() ether.MAC {
	switch c := o.next(); {
	case c < 0xf0:
		return ether.MAC{2, 0, 0, 0, 0, c & 7}
	case c == 0xff:
		return ether.Broadcast
	default:
		return ether.MAC{}
	}
}

// step is a length of time: mostly small, sometimes an hour, seldom backwards.
func (o *ops) step() int64 {
	c := o.next()
	switch {
	case c < 0x40:
		return int64(c) * int64(time.Millisecond)
	case c < 0xc0:
		return int64(c-0x40) * int64(250*time.Millisecond)
	case c < 0xf0:
		return int64(c-0xc0) * int64(10*time.Second)
	case c < 0xff:
		return int64(time.Hour)
	}
	return -int64(time.Second)
}

// FuzzTable does what the data says, and looks at the table after every step.
func FuzzTable(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x02\x01\x01\x05\x02\x02\x01\x01\x06\x50"))
	for seed := uint64(1); seed < 20; seed++ {
		rnd, b := xorshift(seed<<20), make([]byte, 512)
		for i := range b {
			b[i] = byte(rnd() >> 24)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { runOps(t, &ops{data}) })
}

// runOps is the body of FuzzTable.
func runOps(t *testing.T, o *ops) {
	cfg := DefaultConfig()
	setup := o.next()
	cfg.MaxEntries, cfg.GCThreshold = 1+int(setup&7), 2
	cfg.QueueLen, cfg.QueueBytes, cfg.TotalQueueBytes = 3, 600, 900
	cfg.MaxEvents, cfg.MaxAddresses = 8, 3
	cfg.AnswerQueueLen, cfg.AnswerQueueBytes, cfg.MaxAnswering = 2, 700, 2
	cfg.Probe, cfg.StrictSource = setup&8 != 0, setup&16 != 0
	tab := New(cfg, ourMAC, xorshift(uint64(setup)))
	now := int64(0)
	cached := map[*Entry]uint32{}
	given, back := 0, 0
	for len(o.b) > 0 {
		now = max(0, now+o.step())
		switch o.next() % 16 {
		case 0, 1, 2:
			resolve := tab.Resolve
			if o.next()&1 != 0 {
				resolve = tab.ResolveAnswer
			}
			if e, c := resolve(now, o.addr(), o.addr()); (e == nil) != (c != CauseNone) {
				t.Fatalf("entry %v, cause %v", e, c)
			} else if e != nil {
				given += enqueue(tab, e, o, &back)
				cached[e] = e.Version()
			}
		case 3:
			tab.Solicit(now, o.addr(), o.addr())
		case 4, 5, 6:
			op := uint16(OpRequest + o.next()&1)
			src := o.mac()
			tab.InputTo(now, packet(op, o.mac(), o.addr(), o.mac(), o.addr()), src, o.mac())
		case 7:
			n := int(o.next())
			tab.Input(now, o.b[:min(n, len(o.b))], o.mac())
		case 8:
			tab.Set(now, o.addr(), o.mac(), State(1)<<(o.next()&7))
		case 9:
			tab.Delete(o.addr())
		case 10:
			tab.AddAddress(now, o.addr())
		case 11:
			tab.RemoveAddress(o.addr())
		case 12:
			tab.Confirm(now, o.addr())
		case 13:
			if o.next()&1 == 0 {
				tab.LinkDown()
			} else {
				tab.LinkUp(now)
			}
		case 14:
			if m := o.mac(); !m.IsGroup() && m != (ether.MAC{}) {
				tab.SetHardwareAddr(m)
			}
		default:
			back += fetch(t, tab)
		}
		back += settleDown(t, tab, now)
		checkInvariants(t, tab)
		checkCached(t, tab, cached)
	}
	tab.LinkDown()
	back += fetch(t, tab)
	if given != back {
		t.Fatalf("%d datagrams went in, %d came out", given, back)
	}
}

// enqueue hands a datagram in if the MAC is not known, and returns how many went in.
func enqueue(tab *Table, e *Entry, o *ops, back *int) int {
	if _, ok := e.MAC(); ok {
		return 0
	}
	n := int(o.next())
	if _, full := tab.Enqueue(e, Pending{Frame: make([]byte, 14+n), Answer: n&1 != 0}); full {
		*back++
	}
	return 1
}

// fetch takes all events, and returns how many datagrams came out.
func fetch(t *testing.T, tab *Table) (datagrams int) {
	for {
		ev, ok := tab.Next()
		if !ok {
			return datagrams
		}
		switch ev.Kind {
		case Flush, Unreachable, Discard, Purged:
			if ev.Pending.Frame == nil {
				t.Fatal("a datagram without a frame")
			}
			datagrams++
		case Transmit:
			if _, c := Parse(ev.Packet[:]); c != CauseNone {
				t.Fatalf("bad packet sent: %v", c)
			}
		}
	}
}

// settleDown runs the timers that are due, as an owner does, and checks that this
// comes to an end.
func settleDown(t *testing.T, tab *Table, now int64) (datagrams int) {
	for range 100 {
		if tab.Deadline() > tab.clock(now) {
			return datagrams
		}
		tab.Advance(now)
		datagrams += fetch(t, tab)
	}
	t.Fatalf("deadline %d stays before %d", tab.Deadline(), now)
	return 0
}

// checkCached checks that an entry that has left the table has changed its version
// since anybody could have cached it.
func checkCached(t *testing.T, tab *Table, cached map[*Entry]uint32) {
	for e, v := range cached {
		if e.state == None && e.Version() == v {
			t.Fatalf("%v has gone, and its version stays", e.addr)
		}
		if tab.Lookup(e.addr) != e {
			delete(cached, e)
		}
	}
}

// The same with long random runs, so that every go test goes deep.
func TestRandomOps(t *testing.T) {
	for seed := uint64(1); seed <= 200; seed++ {
		rnd, b := xorshift(seed*0x9e3779b97f4a7c15), make([]byte, 6000)
		for i := range b {
			b[i] = byte(rnd() >> 32)
		}
		runOps(t, &ops{b})
	}
}
