package stack

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// lossCounters are those of which each datagram that is sent and not received adds one
// to exactly one. UdpInErrors and IpInHdrErrors are sums of some of them, and so are
// not among them.
var lossCounters = []string{
	"LinkRxRingFull", "OutbandLoopbackQueueFull", "LinkTxErrors",
	"OutbandDropShortFrame", "OutbandDropTruncatedFrame", "OutbandDropVLAN", "OutbandDropOtherHost", "OutbandDropEtherType",
	"IpExtInCsumErrors", "IpExtInTruncatedPkts", "OutbandDropMartianSource", "OutbandDropMartianDestination",
	"OutbandDropOwnSource", "OutbandDropOptions", "OutbandDropNotOurAddress", "OutbandDropNoMember",
	"IpInUnknownProtos", "IpInDiscards", "IpReasmFails",
	"UdpInCsumErrors", "UdpNoPorts", "UdpRcvbufErrors", "UdpIgnoredMulti", "OutbandDropFilter",
	"OutbandDropNeighbourQueueFull", "OutbandDropNeighbourFailed",
	"OutbandDropTxTimeMissed", "OutbandDropTxTimeQueueFull",
}

// TestNothingIsLostUnaccounted loses datagrams in each way there is, with some that
// arrive between them: those sent are those received and those counted as lost.
func TestNothingIsLostUnaccounted(t *testing.T) {
	good := udpFrom(7, 9, "good")
	whole := datagram(far4, near4, 7, 9, payload(3000))
	big := udpFrom(7, 9, string(payload(1000)))
	vlan := func(w *wire) {
		w.near.Inject(link.Frame{Data: good, Meta: link.Meta{VLAN: true, VLANTCI: 5, VLANTPID: unix.ETH_P_8021Q}})
	}
	for _, c := range []struct {
		name    string
		lose    func(w *wire) // one datagram
		n       int
		counter string
		prepare func(w *wire, k Socket)
	}{
		{name: "ring", n: 3000, counter: "LinkRxRingFull", lose: func(w *wire) { w.far.Send(good) }},
		{name: "queue", n: 700, counter: "UdpRcvbufErrors", lose: func(w *wire) { w.far.Send(big) },
			prepare: func(w *wire, k Socket) { k.Base().SetReceiveBuffer(8192) }},
		{name: "filter", n: 40, counter: "OutbandDropFilter", lose: func(w *wire) { w.far.Send(udpFrom(7, 9, "bad")) },
			prepare: func(w *wire, k Socket) {
				check(w.t, k.Base().Receiving().SetFilter([]bpf.Instruction{ // the payload's first byte is a g
					{Op: 0x30, K: 8}, {Op: 0x15, K: 'g', Jt: 0, Jf: 1}, {Op: 0x06, K: 65535}, {Op: 0x06}}))
			}},
		{name: "UDP checksum", n: 40, counter: "UdpInCsumErrors", lose: func(w *wire) { w.far.Send(with(good, len(good)-1, 'x')) }},
		{name: "IP checksum", n: 40, counter: "IpExtInCsumErrors", lose: func(w *wire) { w.far.Send(with(good, output.IPOffset+8, 3)) }},
		{name: "cut", n: 40, counter: "IpExtInTruncatedPkts", lose: func(w *wire) { w.far.Send(good[:len(good)-2]) }},
		{name: "reassembly, time over", n: 40, counter: "IpReasmFails", lose: loseFragment(whole)},
		{name: "reassembly, no memory", n: 1200, counter: "IpReasmFails", lose: loseFragment(datagram(far4, near4, 7, 9, payload(60000)))},
		{name: "no port", n: 40, counter: "UdpNoPorts", lose: func(w *wire) { w.far.Send(udpFrom(7, 10, "nobody")) }},
		{name: "VLAN", n: 40, counter: "OutbandDropVLAN", lose: vlan},
		{name: "not our address", n: 40, counter: "OutbandDropNotOurAddress",
			lose: func(w *wire) { w.far.Send(ip(ipv4.Fields{Dst: ipv4.Addr{10, 9, 0, 77}}, whole[:100])) }},
		{name: "no member", n: 40, counter: "OutbandDropNoMember",
			lose: func(w *wire) { w.far.Send(ip(ipv4.Fields{Dst: ipv4.Addr{239, 1, 2, 3}}, whole[:100])) }},
		{name: "no socket for a broadcast", n: 40, counter: "UdpIgnoredMulti", lose: func(w *wire) {
			all := ipv4.Addr{10, 9, 0, 255}
			w.far.Send(ip(ipv4.Fields{Dst: all}, datagram(far4, all, 7, 10, []byte("all"))))
		}},
		{name: "protocol", n: 40, counter: "IpInUnknownProtos",
			lose: func(w *wire) { w.far.Send(ip(ipv4.Fields{Protocol: 200}, whole[:100])) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				k := w.socket("10.9.0.1:9", "")
				if c.prepare != nil {
					c.prepare(w, k)
				}
				w.resolved() // errors that the stack sends wait for nobody
				sent := 0
				ring := c.counter == "LinkRxRingFull"
				if ring {
					w.s.lockLanes() // nobody takes frames out of it meanwhile
				}
				for i := range c.n {
					c.lose(w)
					sent++
					if i%10 == 9 {
						w.far.Send(good)
						sent++
					}
					if i%500 == 499 && !ring {
						w.settle() // or the ring overflows too
					}
				}
				if ring {
					w.s.unlockLanes()
				}
				w.settle()
				time.Sleep(31 * time.Second) // what waits for fragments is given up
				synctest.Wait()
				accounted(t, w.base, w.s.Stats(), c.counter, sent, drain(k))
			})
		})
	}
}

// ident is the identification of the last datagram that lost a fragment.
var ident uint16

// loseFragment returns what sends the first fragment of a datagram, and no more.
func loseFragment(whole []byte) func(w *wire) {
	return func(w *wire) {
		ident++
		w.far.Send(fragment(ident, whole, 0, 1480))
	}
}

// drain receives all that is queued, and returns how many datagrams that are.
func drain(k Socket) (n int) {
	for {
		if _, err := try(k); err != nil {
			return n
		}
		n++
	}
}

// accounted fails unless what was sent was received or counted, and some was counted
// by the counter named.
func accounted(t *testing.T, before, after Stats, counter string, sent, received int) {
	t.Helper()
	lost, causes := 0, ""
	for _, name := range lossCounters {
		if n := after.Get(name) - before.Get(name); n != 0 {
			lost += int(n)
			causes += fmt.Sprintf(" %s %d", name, n)
		}
	}
	if received+lost != sent || after.Get(counter) == before.Get(counter) {
		t.Errorf("%d sent, %d received, %d counted:%s; want some %s", sent, received, lost, causes, counter)
	}
}

// refuser is a link that refuses to send IP.
type refuser struct {
	*pipe.Link
	err    error
	errors uint64
}

func (r *refuser) Send(frame []byte) error {
	if frame[13] != 0 {
		return r.Link.Send(frame)
	}
	r.errors++
	return r.err
}

func (r *refuser) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		if err := r.Send(frames[i].Data); err != nil {
			return i, err
		}
	}
	return len(frames), nil
}

func (r *refuser) Stats() link.Stats {
	s := r.Link.Stats()
	s.TxErrors += r.errors
	return s
}

// TestNothingIsSentUnaccounted is TestNothingIsLostUnaccounted for what is lost before
// the wire: each send that reports success leaves by the wire or is counted.
func TestNothingIsSentUnaccounted(t *testing.T) {
	for _, c := range []struct {
		name, counter string
		err           error
		prepare       func(w *wire)
	}{
		{name: "nothing", counter: "UdpOutDatagrams", prepare: func(w *wire) { w.resolved() }},
		{name: "neighbour, no room", counter: "OutbandDropNeighbourQueueFull"},
		{name: "neighbour, no answer", counter: "OutbandDropNeighbourFailed"},
		{name: "device", counter: "LinkTxErrors", err: unix.ENOBUFS, prepare: func(w *wire) { w.resolved() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New(pipe.Options{})
				s := newStack(t, Config{})
				var l link.Link = a
				if c.err != nil {
					l = &refuser{Link: a, err: c.err}
				}
				ifc, err := s.AddLink(l, InterfaceConfig{})
				check(t, err)
				check(t, ifc.AddAddress(netip.MustParsePrefix("10.9.0.1/24")))
				w := &wire{t: t, s: s, ifc: ifc, near: a, far: b, born: time.Now()}
				if c.prepare != nil {
					c.prepare(w)
				}
				w.mark()
				k, sent, left := w.socket("", ""), 0, 0
				k.SetSendBuffer(1 << 20)
				for i := range 400 {
					to := netip.AddrPortFrom(netip.AddrFrom4(ipv4.Addr{10, 9, 0, byte(2 + i%2*i%200)}), 9)
					if c.err != nil || c.prepare != nil {
						to = netip.AddrPortFrom(farAddr, 9)
					}
					if err := k.SendTo(payload(100), unix.MSG_DONTWAIT, NoDeadline, to); err == nil {
						sent++
					}
					left += len(w.sentIP())
				}
				time.Sleep(10 * time.Second) // nobody answers
				synctest.Wait()
				left += len(w.sentIP())
				accounted(t, w.base, s.Stats(), c.counter, sent, left)
			})
		})
	}
}

// TestLossesInTheRingAreTold has frames find no room in the ring: the next datagram
// says so to sockets that ask, by whichever device they listen, and not to others.
func TestLossesInTheRingAreTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		before := w.socket("10.9.0.1:9", "")
		before.Receiving().SetKeepDrops(true)
		before.SetReceiveBuffer(4 << 20)
		silent := w.socket("10.9.0.1:10", "")
		other := w.socket("10.9.0.1:11", "")
		other.Receiving().SetKeepDrops(true)
		check(t, other.SetDevice(1))
		flood := func(n int) {
			w.s.lockLanes() // nobody takes frames out of the ring meanwhile
			for range n {
				w.far.Send(udpFrom(7, 9, "flood"))
			}
			w.s.unlockLanes()
			w.settle()
			drain(before)
		}
		told := func(k Socket, want uint32) {
			t.Helper()
			if _, in := recv(t, k); in.Drops != want || in.Drops != 0 && k.Base().Drops() != want {
				t.Errorf("Info.Drops %d, Drops %d, want %d", in.Drops, k.Base().Drops(), want)
			}
		}
		flood(pipe.DefaultQueue + 30)
		w.feed(udpFrom(7, 9, "a"), udpFrom(7, 10, "b"))
		told(before, 30)
		told(silent, 0) // it has not asked
		if other.Drops() != 0 {
			t.Errorf("a socket bound to another device is told of %d", other.Drops())
		}
		check(t, other.SetDevice(w.ifc.Index()))
		after := w.socket("10.9.0.1:12", "")
		after.Receiving().SetKeepDrops(true)
		flood(pipe.DefaultQueue + 5)
		w.feed(udpFrom(7, 9, "a"), udpFrom(7, 11, "b"), udpFrom(7, 12, "c"))
		told(before, 35)
		told(other, 5)
		told(after, 5)
		w.grew("LinkRxRingFull", 35)

		check(t, w.s.RemoveLink(w.ifc.Index())) // what was counted stays so
		w.grew("LinkRxRingFull", 35)
		for k, want := range map[Socket]uint32{before: 35, other: 5, after: 5} {
			if k.Base().Drops() != want {
				t.Errorf("Drops %d without the device, want %d", k.Base().Drops(), want)
			}
		}
	})
}
