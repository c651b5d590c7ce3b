package stack

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/fault"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// faulty is a protocol whose handler panics.
const faulty = 253 // for experiments (RFC 3692)

// faultyBubble runs a test with a wire to a stack that contains panics, in simulated time.
func faultyBubble(t *testing.T, f func(t *testing.T, w *wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Millisecond) })
		w := wireOf(t, newStackAs(t, Config{}))
		w.resolved()
		w.s.lockLanes()
		w.s.protocols[faulty] = func(*lane, *arrival, []byte) { panic("mistake") }
		w.s.unlockLanes()
		f(t, w)
	})
}

// sound fails unless all works as before: no lock is held, frames come and go.
func (w *wire) sound() {
	w.t.Helper()
	for name, try := range map[string]interface {
		TryLock() bool
		Unlock()
	}{
		"neighMu": &w.ifc.dev.Neighbours.Mu, "reassembly.mu": &w.s.reasm.mu, "errorLimiter.mu": &w.s.limiter.mu, "outbox.mu": &w.s.out.Outbox.Mu,
		"Stack.mu": &w.s.mu,
	} {
		if !try.TryLock() {
			w.t.Fatalf("%s is held", name)
		}
		try.Unlock()
	}
	w.s.pool.Put(w.s.pool.Get(1))                         // hangs if the pool's mutex is held
	w.s.timers.Set(drive.NewTimer(func(int64) {}), never) // hangs if the timers' mutex is held
	if !w.s.lanes.first.drive.Lock.Try(drive.Held) {
		w.t.Fatal("the lane's lock is held")
	}
	w.s.lanes.first.drive.Unlock()
	w.sent()
	k := w.socket("10.9.0.1:99", "10.9.0.2:7")
	w.feed(udpFrame(99, []byte("still")), icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, 1, payload(56))))
	w.got(k, "still")
	w.send(k, []byte("there"))
	if err := k.Multicast().LeaveGroup(w.on(groupA)); err != unix.EADDRNOTAVAIL { // hangs if the groups' mutex is held
		w.t.Errorf("leaving a group: %v", err)
	}
	if n := len(w.sentIP()); n != 2 {
		w.t.Errorf("%d packets sent, want an echo reply and a datagram", n)
	}
	if err := k.Close(); err != nil {
		w.t.Error(err)
	}
}

// fault returns the only report.
func (w *wire) fault(work string) Fault {
	w.t.Helper()
	all := w.s.Faults()
	if len(all) != 1 || all[0].Work != work {
		w.t.Fatalf("reports %+v, want one of a %s", all, work)
	}
	return all[0]
}

// TestFaultOfAFrame has a protocol panic in the middle of a batch.
func TestFaultOfAFrame(t *testing.T) {
	faultyBubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		bad := ip(ipv4.Fields{Protocol: faulty}, []byte("bad"))
		w.mark()
		w.s.lockLanes() // so that all is one batch
		for _, f := range [][]byte{udpFrame(9, []byte("before")), bad, udpFrame(9, []byte("after")), bad} {
			check(t, w.far.Send(f))
		}
		func() {
			defer w.s.unlockLanes()
			w.s.lanes.first.pump()
		}()
		w.got(k, "before")
		w.got(k, "after")
		w.grew("OutbandDropFault", 2)
		w.grew("OutbandFaults", 2)
		w.grew("UdpInDatagrams", 2)
		r := w.s.Faults()[0]
		if !bytes.Equal(r.Head, bad) || r.Len != len(bad) || r.Value != "mistake" || r.Interface != w.ifc.Index() ||
			!strings.Contains(r.Stack, "fault_test.go") {
			t.Errorf("report %+v", r)
		}
		w.sound()
	})
}

// TestFaultUnderLocks has what is called with a lock held panic: the neighbour table's, and
// that of fragments.
func TestFaultUnderLocks(t *testing.T) {
	whole := payload(2000)
	piece := func(from, to int) []byte {
		return ip(ipv4.Fields{ID: 7, Protocol: faulty, FragmentOffset: from, MoreFragments: to < len(whole)}, whole[from:to])
	}
	for name, frames := range map[string][][]byte{
		"neighbours": {arpPacket(nearMAC, 1, farMAC, far4, link.MAC{}, ipv4.Addr{10, 9, 0, 3})},
		"fragments":  {piece(0, 1480), piece(1480, 2000)},
	} {
		t.Run(name, func(t *testing.T) {
			faultyBubble(t, func(t *testing.T, w *wire) {
				w.ifc.dev.Neighbours.Mu.Lock()
				w.ifc.dev.Neighbours.Table.SetHost(faultyHost{})
				w.ifc.dev.Neighbours.Mu.Unlock()
				w.feed(frames...)
				w.fault("frame")
				w.sound()
			})
		})
	}
}

// faultyHost is a host that panics when the neighbour table asks it.
type faultyHost struct{ arp.Host }

func (faultyHost) Local(ipv4.Addr) bool { panic("mistake") }

// TestFaultOfATimer has a timer panic: it is called again, and so are the others.
func TestFaultOfATimer(t *testing.T) {
	faultyBubble(t, func(t *testing.T, w *wire) {
		var calls, others atomic.Int32
		bad := drive.NewTimer(func(int64) {
			if calls.Add(1) == 1 {
				panic("mistake")
			}
		})
		w.s.timers.Set(bad, 1)
		w.s.timers.Set(drive.NewTimer(func(int64) { others.Add(1) }), 2)
		w.settle()
		if w.fault("timer"); calls.Load() != 1 || others.Load() != 1 {
			t.Fatalf("called %d times, others %d, want 1 and 1", calls.Load(), others.Load())
		}
		time.Sleep(time.Duration(timerRetry))
		w.settle()
		if calls.Load() != 2 {
			t.Errorf("called %d times after a second, want 2", calls.Load())
		}
		w.sound()
	})
}

// TestFaultOfTheOutbox has an event of the outbox panic: those behind it are acted on.
func TestFaultOfTheOutbox(t *testing.T) {
	faultyBubble(t, func(t *testing.T, w *wire) {
		w.sent()
		o := &w.s.out.Outbox
		o.Mu.Lock()
		o.Events = append(o.Events, output.NeighbourEvent{Event: arp.Event{Kind: arp.Transmit}}, // of no interface
			output.NeighbourEvent{Of: &w.ifc.dev.Neighbours, Event: arp.Event{Kind: arp.Transmit, Dst: farMAC}})
		o.Packets = append(o.Packets, output.OutPacket{Src: near4, Dst: far4, Packet: output.Packet{Proto: faulty, TTL: 1, Payload: w.s.pool.Get(8)}})
		o.Waiting.Store(true)
		o.Mu.Unlock()
		w.s.out.SendOutbox()
		w.fault("outbox")
		if n := len(w.sent()); n != 2 {
			t.Errorf("%d frames sent, want 2", n)
		}
		w.sound()
	})
}

// TestFaultWhileWarming has the warm-up's datagram panic.
func TestFaultWhileWarming(t *testing.T) {
	faultyBubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		k.prepareWarmup()
		k.warmup.Load().frame = []byte{}
		l := &w.s.lanes.first
		l.begin()
		l.warm(&k.Endpoint)
		if l.warming || l.count != &l.counters || l.sink.One != nil {
			t.Error("the lane is warm still")
		}
		l.end()
		w.fault("frame")
		w.sound()
	})
}

// TestFaultsAreBounded has many frames panic.
func TestFaultsAreBounded(t *testing.T) {
	faultyBubble(t, func(t *testing.T, w *wire) {
		w.mark()
		for n := range 3 * fault.Max {
			w.feed(ip(ipv4.Fields{Protocol: faulty}, payload(n)))
		}
		w.grew("OutbandFaults", 3*fault.Max)
		all := w.s.Faults()
		if len(all) != fault.Max || all[fault.Max-1].Len != link.HeaderLen+ipv4.MinHeaderLen+3*fault.Max-1 {
			t.Errorf("%d reports, want the latest %d", len(all), fault.Max)
		}
	})
}

// TestPanicsGoThrough has Config.Panics let a panic through.
func TestPanicsGoThrough(t *testing.T) {
	s, r, _ := replayStack(t)
	s.lockLanes()
	defer s.unlockLanes()
	s.protocols[faulty] = func(*lane, *arrival, []byte) { panic("mistake") }
	r.frame, r.ready = ip(ipv4.Fields{Protocol: faulty}, []byte("bad")), 1
	defer func() {
		if v := recover(); v != "mistake" {
			t.Errorf("recovered %v", v)
		}
	}()
	s.lanes.first.pump()
}
