package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

var otherMAC = link.MAC{2, 0, 0, 0, 0, 9}

func TestAddressIsAnnounced(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		time.Sleep(5 * time.Second)
		got := w.sentARP()
		if len(got) != 2 || !about(got[0].at, 0) || !about(got[1].at, 2*time.Second) {
			t.Fatalf("announcements at %v, want at 0 s and 2 s", got)
		}
		for _, f := range got {
			m := mustARP(t, f.data)
			if unicast(f.data) || m.SenderIP() != near4 || m.TargetIP() != near4 || m.SenderMAC() != nearMAC {
				t.Fatalf("not an announcement of 10.9.0.1: %x", f.data)
			}
		}
	})
}

// requests returns the ARP requests for 10.9.0.2 among what was sent.
func (w *wire) requests() []sentFrame {
	var out []sentFrame
	for _, f := range w.sentARP() {
		if m := mustARP(w.t, f.data); m.Op() == arp.OpRequest && m.TargetIP() == far4 {
			out = append(out, f)
		}
	}
	return out
}

func TestUnresolvedNeighbourGetsThreeRequests(t *testing.T) {
	for _, reading := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *wire) {
			k := w.socket("10.9.0.1:5", "10.9.0.2:7")
			k.Errors().SetRecvErr(true)
			quiet := w.socket("10.9.0.1:6", "10.9.0.2:7")
			start := time.Since(w.born)
			w.send(k, []byte("x"))
			w.send(quiet, []byte("x"))
			if reading { // who waits is the one who runs the timers
				_, _, err := k.Recv(make([]byte, 1), 0, NoDeadline)
				if err != unix.EHOSTUNREACH || !about(time.Since(w.born)-start, 3*time.Second) {
					t.Fatalf("Recv: %v after %v, want EHOSTUNREACH after 3 s", err, time.Since(w.born)-start)
				}
			} else {
				time.Sleep(3*time.Second + 2*time.Millisecond)
				if e := k.Errors().Take(); e != unix.EHOSTUNREACH {
					t.Fatalf("SO_ERROR: %v, want EHOSTUNREACH", e)
				}
			}
			if e := quiet.Errors().Take(); e != 0 {
				t.Errorf("SO_ERROR without IP_RECVERR: %v, want none", e)
			}
			got := w.requests()
			if len(got) != 3 {
				t.Fatalf("%d requests, want 3", len(got))
			}
			for i, f := range got {
				if unicast(f.data) || !about(f.at-start, time.Duration(i)*time.Second) {
					t.Errorf("request %d at %v, broadcast %v", i, f.at-start, !unicast(f.data))
				}
			}
			w.grew("OutbandDropNeighbourFailed", 2)
			w.silent()
		})
	}
}

func TestQueuedDatagramsLeaveInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		for i := range 5 {
			w.send(k, []byte{byte(i)})
		}
		w.send(k, payload(4000)) // three fragments
		if got := w.requests(); len(got) != 1 {
			t.Fatalf("%d requests for six datagrams, want 1", len(got))
		}
		w.feed(arpReply(farMAC))
		w.send(k, []byte{5})
		got := w.sentIP()
		if len(got) != 9 {
			t.Fatalf("%d frames left, want 9", len(got))
		}
		for i, f := range got {
			if link.MAC(f.data[:6]) != farMAC {
				t.Errorf("frame %d went to %x", i, f.data[:6])
			}
			if want := byte(i); i < 5 && f.data[output.HeadersLen] != want {
				t.Errorf("frame %d holds datagram %d", i, f.data[output.HeadersLen])
			}
		}
		if got[8].data[output.HeadersLen] != 5 {
			t.Error("a datagram overtook those that were queued")
		}
	})
}

// A datagram sent when the neighbour has answered, but before what waited for the
// answer has left, does not overtake that.
func TestNothingOvertakesQueuedDatagrams(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k, other := w.socket("", "10.9.0.2:7"), w.socket("", "10.9.0.2:8")
		w.send(k, []byte{0})
		w.send(k, []byte{1})
		f := link.Frame{Data: arpReply(farMAC)}
		f.WireLen = len(f.Data)
		w.s.lockLanes()
		w.s.lanes.first.input(w.ifc, &f)
		w.send(k, []byte{2})
		w.send(other, []byte{3})
		w.s.unlockLanes()
		w.send(k, []byte{4})
		got := w.sentIP()
		if len(got) != 5 {
			t.Fatalf("%d frames left, want 5", len(got))
		}
		for i, f := range got {
			if f.data[output.HeadersLen] != byte(i) {
				t.Errorf("frame %d holds datagram %d", i, f.data[output.HeadersLen])
			}
		}
		if w.ifc.dev.Neighbours.Flushing != 0 {
			t.Errorf("%d datagrams are still to leave", w.ifc.dev.Neighbours.Flushing)
		}
	})
}

// Answers to a flood leave in order; those that find no room are dropped and
// counted.
func TestOutboxIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		time.Sleep(3 * time.Second) // the address is announced
		w.resolved().sent()
		w.mark()
		w.s.out.Outbox.Mu.Lock()
		w.s.out.Outbox.Busy = true // somebody empties it, slowly
		w.s.out.Outbox.Mu.Unlock()
		for i := range w.s.limits.Outbox + 6 {
			w.feed(ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP}, icmp.AppendEcho(nil, icmp.Echo, 1, uint16(i), nil)))
		}
		w.grew("IpOutDiscards", 6)
		w.s.out.Outbox.Mu.Lock()
		w.s.out.Outbox.Busy = false
		w.s.out.Outbox.Mu.Unlock()
		w.s.out.SendOutbox()
		got := w.sentIP()
		if len(got) != w.s.limits.Outbox {
			t.Fatalf("%d answers, want %d", len(got), w.s.limits.Outbox)
		}
		for i, f := range got {
			if seq := binary.BigEndian.Uint16(f.data[output.HeadersLen-2:]); seq != uint16(i) {
				t.Fatalf("answer %d has sequence number %d", i, seq)
			}
		}
	})
}

func TestNeighbourQueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		for i := range 150 {
			w.send(k, []byte{byte(i)})
		}
		w.grew("OutbandDropNeighbourQueueFull", 150-101)
		w.feed(arpReply(farMAC))
		got := w.sentIP()
		if len(got) != 101 || got[0].data[output.HeadersLen] != 49 || got[100].data[output.HeadersLen] != 149 {
			t.Fatalf("%d datagrams left, want the last 101", len(got))
		}
	})
}

// TestBusyNeighbourIsVerified sends all the time. After the reachable time, 15
// to 45 s, the entry turns STALE, the next datagram makes it DELAY, and 5 s later
// one unicast request follows, and no datagram is held up by it.
func TestBusyNeighbourIsVerified(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		w.send(k, []byte("x"))
		w.feed(arpReply(farMAC))
		start := time.Since(w.born)
		w.sent()
		var states []arp.State
		var turned []time.Duration
		var probe time.Duration
		sent := 0
		for probe == 0 && time.Since(w.born) < time.Minute {
			w.send(k, []byte("x"))
			sent++
			time.Sleep(10 * time.Millisecond)
			st := w.s.Neighbours()[0].State
			if len(states) == 0 || states[len(states)-1] != st {
				states, turned = append(states, st), append(turned, time.Since(w.born)-start)
			}
			for _, f := range w.sent() {
				if f.data[13] == 6 {
					if m := mustARP(t, f.data); m.TargetIP() == far4 {
						if probe = f.at - start; !unicast(f.data) {
							t.Fatal("the probe was broadcast")
						}
					}
				} else {
					sent--
				}
			}
		}
		if sent != 0 {
			t.Errorf("%d datagrams did not leave at once", sent)
		}
		if n := len(states); n < 3 || states[0] != arp.Reachable || states[n-2] != arp.Delay || states[n-1] != arp.Probe {
			t.Fatalf("states %v at %v", states, turned)
		}
		delayed := turned[len(turned)-2]
		if delayed < 15*time.Second || delayed > 45*time.Second+20*time.Millisecond {
			t.Errorf("reachable for %v, want 15 to 45 s", delayed)
		}
		if d := probe - delayed; d < 5*time.Second-20*time.Millisecond || d > 5*time.Second+20*time.Millisecond {
			t.Errorf("the probe came %v after the first use of the stale entry, want 5 s", d)
		}
		w.feed(arpReply(farMAC))
		if st := w.s.Neighbours()[0].State; st != arp.Reachable {
			t.Errorf("after the answer the neighbour is %v", st)
		}
	})
}

// TestSilentNeighbourFails sends all the time to a neighbour that has gone.
func TestSilentNeighbourFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		k.Errors().SetRecvErr(true)
		w.send(k, []byte("x"))
		w.feed(arpReply(farMAC))
		w.sent()
		var probes []sentFrame
		failed := false
		for !failed && time.Since(w.born) < 2*time.Minute {
			if err := k.Send([]byte("x"), 0, NoDeadline); err != nil {
				if failed = err == unix.EHOSTUNREACH; !failed {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond)
			probes = append(probes, w.requests()...)
		}
		// Three unicast probes, then the datagrams start it all again.
		if len(probes) < 6 || !failed {
			t.Fatalf("%d requests, failed %v; want 3 probes and 3 broadcasts", len(probes), failed)
		}
		for i, f := range probes[:6] {
			if unicast(f.data) != (i < 3) {
				t.Errorf("request %d: unicast %v", i, unicast(f.data))
			}
		}
	})
}

func TestNeighbourChangesMAC(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		w.send(k, []byte("x"))
		w.feed(arpReply(farMAC))
		time.Sleep(2 * time.Second) // locktime
		w.send(k, []byte("x"))
		w.feed(arpPacket(ether.Broadcast, arp.OpRequest, otherMAC, far4, link.MAC{}, far4))
		w.send(k, []byte("x"))
		got := w.sentIP()
		if len(got) != 3 || link.MAC(got[1].data[:6]) != farMAC || link.MAC(got[2].data[:6]) != otherMAC {
			t.Fatalf("%d datagrams; the last to %x, want to the new MAC", len(got), got[len(got)-1].data[:6])
		}
	})
}

func TestARPIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.sent()
		w.feed(arpPacket(ether.Broadcast, arp.OpRequest, farMAC, far4, link.MAC{}, near4))
		got := w.sentARP()
		if len(got) != 1 {
			t.Fatalf("%d ARP packets, want a reply", len(got))
		}
		m := mustARP(t, got[0].data)
		if m.Op() != arp.OpReply || m.SenderMAC() != nearMAC || m.SenderIP() != near4 ||
			m.TargetMAC() != farMAC || link.MAC(got[0].data[:6]) != farMAC {
			t.Fatalf("reply %x", got[0].data)
		}
		w.feed(arpPacket(ether.Broadcast, arp.OpRequest, farMAC, far4, link.MAC{}, ipv4.Addr{10, 9, 0, 77}))
		if got := w.sentARP(); len(got) != 0 {
			t.Fatal("a request for another host was answered")
		}
		w.grew("OutbandArpNotForUs", 1)
		if n := len(w.s.Neighbours()); n != 0 {
			t.Errorf("requests made %d neighbours", n)
		}
	})
}

func TestSolicit(t *testing.T) {
	t.Run("answered", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.sent()
			go func() {
				time.Sleep(1500 * time.Millisecond)
				w.far.Send(arpReply(farMAC))
			}()
			if err := w.s.Solicit(farAddr, 5*time.Second, SolicitPermanent); err != nil {
				t.Fatal(err)
			}
			if n := w.s.Neighbours(); len(n) != 1 || n[0].State != arp.Permanent || n[0].MAC != farMAC {
				t.Fatalf("neighbours %v", n)
			}
			if got := w.requests(); len(got) != 2 {
				t.Fatalf("%d requests, want 2", len(got))
			}
		})
	})
	t.Run("time-out", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			start := time.Now()
			if err := w.s.Solicit(farAddr, 700*time.Millisecond, 0); err != unix.ETIMEDOUT {
				t.Fatalf("%v, want ETIMEDOUT", err)
			}
			if d := time.Since(start); d != 700*time.Millisecond {
				t.Errorf("it took %v", d)
			}
		})
	})
	t.Run("no answer", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			start := time.Now()
			if err := w.s.Solicit(farAddr, time.Minute, 0); err != unix.EHOSTUNREACH {
				t.Fatalf("%v, want EHOSTUNREACH", err)
			}
			if d := time.Since(start); !about(d, 3*time.Second) {
				t.Errorf("it took %v, want 3 s", d)
			}
		})
	})
	t.Run("gateway", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.defaultRoute()
			beyond := netip.MustParseAddr("198.51.100.1")
			if err := w.s.Solicit(beyond, time.Second, 0); err != unix.EMULTIHOP {
				t.Fatalf("%v, want EMULTIHOP", err)
			}
			go func() {
				time.Sleep(time.Millisecond)
				w.far.Send(arpReply(farMAC))
			}()
			if err := w.s.Solicit(beyond, time.Second, SolicitMayRoute); err != nil {
				t.Fatal(err)
			}
			if n := w.s.Neighbours(); len(n) != 1 || n[0].Addr != far4 {
				t.Fatalf("neighbours %v, want the gateway", n)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			for _, c := range []struct {
				name, dst string
				flags     SolicitFlags
				want      error
			}{
				{"unknown flags", "10.9.0.2", 1 << 9, unix.EINVAL},
				{"no route", "198.51.100.1", 0, unix.ENETUNREACH},
				{"not IPv4", "::1", 0, unix.EAFNOSUPPORT},
				{"own address", "10.9.0.1", 0, nil},
			} {
				if err := w.s.Solicit(netip.MustParseAddr(c.dst), time.Second, c.flags); err != c.want {
					t.Errorf("%s: %v, want %v", c.name, err, c.want)
				}
			}
		})
	})
	t.Run("closed", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			go func() {
				time.Sleep(100 * time.Millisecond)
				w.s.Close()
			}()
			if err := w.s.Solicit(farAddr, time.Minute, 0); err != unix.ENETDOWN && err != unix.EHOSTUNREACH {
				t.Fatalf("%v, want ENETDOWN", err)
			}
		})
	})
}
