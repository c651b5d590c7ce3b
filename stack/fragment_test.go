package stack

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
)

func TestReassemblyTimesOut(t *testing.T) {
	whole := datagram(far4, near4, 7, 9, payload(3000))
	for _, c := range []struct {
		name  string
		frags [][]byte
		told  bool
	}{
		{"first came", [][]byte{fragment(1, whole, 0, 1480)}, true},
		{"first came late", [][]byte{fragment(1, whole, 1480, 2960), fragment(1, whole, 0, 1480)}, true},
		{"first never came", [][]byte{fragment(1, whole, 1480, 2960), fragment(1, whole, 2960, len(whole))}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				start := time.Since(w.born)
				w.feed(c.frags...)
				time.Sleep(31 * time.Second)
				synctest.Wait()
				w.grew("IpReasmTimeout", 1)
				w.grew("IpReasmReqds", uint64(len(c.frags)))
				if !c.told {
					w.silent()
					return
				}
				got := w.sentIP()
				if len(got) != 1 {
					t.Fatalf("%d IP packets, want one", len(got))
				}
				if d := got[0].at - start; !about(d, 30*time.Second) {
					t.Errorf("time exceeded after %v, want 30 s", d)
				}
				_, p, _ := ipv4.Parse(got[0].data[output.IPOffset:])
				m, cause := icmp.Parse(p)
				if cause != icmp.CauseNone || m.Type() != icmp.TimeExceeded || m.Code() != icmp.CodeReassembly {
					t.Fatalf("message %x (%v), want time exceeded in reassembly", p[:8], cause)
				}
				first := c.frags[len(c.frags)-1][output.IPOffset:]
				if q := m.Data(); len(q) != icmp.MaxQuote || !bytes.HasPrefix(first, q) {
					t.Errorf("quotes %d bytes that are not the first fragment's", len(q))
				}
				w.grew("IcmpOutTimeExcds", 1)
			})
		})
	}
}

// TestReassemblyExpiryIsSeenByTheNextFragment has a fragment come when the time
// of another datagram is just over and no timer has run: nothing of it may be
// forgotten.
func TestReassemblyExpiryIsSeenByTheNextFragment(t *testing.T) {
	clock := &handClock{}
	clock.now.Store(1)
	s, _, i := replayStackConfig(t, Config{Clock: clock})
	whole := datagram(far4, near4, 7, 9, payload(3000))
	s.lockLanes() // nobody runs the timers meanwhile
	s.inputFrame(i, fragment(1, whole, 0, 1480))
	clock.now.Add(int64(30 * time.Second))
	s.inputFrame(i, ip(ipv4.Fields{ID: 2, FragmentOffset: 8}, nil)) // malformed: no data
	out := slices.Clone(s.lanes.first.pending.out)
	s.unlockLanes()
	if len(out) != 1 || out[0].Counter != counter.ICMPOutTimeExcds {
		t.Fatalf("%d messages, want one of time exceeded", len(out))
	}
}

func TestFragmentsInAnyOrder(t *testing.T) {
	data := payload(4000)
	whole := datagram(far4, near4, 7, 9, data)
	a, b, c := fragment(5, whole, 0, 1480), fragment(5, whole, 1480, 2960), fragment(5, whole, 2960, len(whole))
	overlap := fragment(5, whole, 1472, 2952)
	for _, test := range []struct {
		name    string
		frames  [][]byte
		whole   bool
		counter string
		n       uint64
	}{
		{"in order", [][]byte{a, b, c}, true, "IpReasmOKs", 1},
		{"backwards", [][]byte{c, b, a}, true, "IpReasmOKs", 1},
		{"last first", [][]byte{c, a, b}, true, "IpReasmOKs", 1},
		{"duplicates", [][]byte{a, a, b, b, a, c}, true, "IpReasmOKs", 1},
		{"all twice", [][]byte{a, b, c, a, b, c}, true, "IpReasmOKs", 2},
		{"one lost", [][]byte{a, c}, false, "IpReasmReqds", 2},
		{"overlap", [][]byte{a, overlap, c}, false, "IpReasmFails", 1},
		{"overlap, then the rest", [][]byte{a, overlap, b, c}, false, "OutbandDropFragment", 1},
		{"overlap, then all again", [][]byte{a, overlap, a, b, c}, true, "IpReasmFails", 1},
		{"two ends", [][]byte{fragment(5, whole[:2960], 1480, 2960), c}, false, "IpReasmFails", 1},
		{"unaligned: cut", [][]byte{ip(ipv4.Fields{ID: 5, MoreFragments: true}, whole[:1479]), fragment(5, whole, 1472, 2944), fragment(5, whole, 2944, len(whole))}, true, "IpReasmOKs", 1},
		{"no data", [][]byte{ip(ipv4.Fields{ID: 5, MoreFragments: true}, nil)}, false, "IpReasmFails", 1},
		{"too long", [][]byte{ip(ipv4.Fields{ID: 5, FragmentOffset: 65528}, whole[:1000]), a, c}, false, "IpReasmFails", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				k := w.socket("10.9.0.1:9", "")
				w.feed(test.frames...)
				w.grew(test.counter, test.n)
				if test.whole {
					w.got(k, string(data))
					return
				}
				w.empty(k)
			})
		})
	}
}

func TestFragmentsAreReported(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		whole := datagram(far4, near4, 7, 9, payload(1000))
		w.feed(fragment(5, whole, 0, 600), fragment(5, whole, 600, len(whole)))
		_, info := recv(t, k)
		if info.FragSize != 620 || info.Len != 1000 {
			t.Errorf("largest fragment %d of %d, want 620 of 1000", info.FragSize, info.Len)
		}
	})
}

func TestFragmentFloodIsBounded(t *testing.T) {
	const limit = 256 << 10
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Config{Reassembly: ipv4.ReassemblyConfig{HighThresh: limit}})
		k := w.socket("10.9.0.1:9", "")
		whole := datagram(far4, near4, 7, 9, payload(3000))
		for id := range 2000 {
			if w.far.Send(fragment(uint16(id), whole, 0, 1480)); id%500 == 0 {
				w.settle()
			}
		}
		w.settle()
		w.s.lockLanes()
		st := w.s.reasm.stats()
		w.s.unlockLanes()
		if st.Memory > limit || st.Evicted < 1000 || st.ReasmReqds != 2000 {
			t.Errorf("%d bytes held, %d of %d evicted", st.Memory, st.Evicted, st.ReasmReqds)
		}
		w.feed(udpFrom(7, 9, "still here"))
		w.got(k, "still here")
	})
}

// TestFragmentsOverABadWire sends datagrams of three to six fragments over a
// link that loses, duplicates and reorders them: what arrives is whole.
func TestFragmentsOverABadWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.Options{})
		bad := fault.Wrap(a, fault.Config{Seed: 7, Tx: fault.Faults{
			Loss: 0.02, Duplicate: 0.1, Delay: time.Millisecond, Jitter: time.Millisecond, Reorder: 0.1,
		}})
		near, far := newStack(t, Config{}), newStack(t, Config{})
		i, err := near.AddLink(bad, InterfaceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
			t.Fatal(err)
		}
		addLink(t, far, b, "10.9.0.2/24")
		if err := near.Solicit(farAddr, 10*time.Second, SolicitPermanent); err != nil {
			t.Fatal(err)
		}
		server := udpSocket(t, far, "10.9.0.2:7")
		server.SetReceiveBuffer(1 << 24)
		client := udpSocket(t, near, "")
		if err := client.Connect(netip.MustParseAddrPort("10.9.0.2:7")); err != nil {
			t.Fatal(err)
		}
		const datagrams = 200
		for n := range datagrams {
			if err := client.Send(pattern(n), 0, NoDeadline); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Microsecond)
		}
		time.Sleep(time.Second)
		whole := 0
		for {
			s, err := try(server)
			if err != nil {
				break
			}
			if want := pattern(int(s[0])); s != string(want) {
				t.Fatalf("a datagram of %d bytes is not what was sent", len(s))
			}
			whole++
		}
		if whole < datagrams/2 {
			t.Errorf("%d of %d datagrams arrived", whole, datagrams)
		}
		if c := bad.Counters().Tx; c.Lost == 0 || c.Duplicated == 0 || c.Reordered == 0 {
			t.Errorf("the wire was too good: %+v", c)
		}
	})
}

// pattern returns the n-th datagram: its number, then bytes that follow from it.
func pattern(n int) []byte {
	b := make([]byte, 3000+n*20)
	for i := range b {
		b[i] = byte(n + i*n)
	}
	b[0] = byte(n)
	return b
}
