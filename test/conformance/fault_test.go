package conformance

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/inband"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A bad wire: whatever it does to the frames, a datagram comes as it was sent or
// not at all, and the counters account for every frame.

// badWires are the faults that the tests go through, one by one and all at once.
var badWires = map[string]fault.Faults{
	"loss":        {Loss: 0.2},
	"bursts":      {Burst: fault.Burst{ToBad: 0.05, ToGood: 0.2, LossBad: 0.8}},
	"duplication": {Duplicate: 0.3, Limit: 1 << 14},
	"reordering":  {Reorder: 0.3, ReorderDelay: time.Millisecond},
	"corruption":  {Corrupt: 0.3},
	"truncation":  {Truncate: 0.3},
	"everything": {Limit: 1 << 14, Loss: 0.05, Duplicate: 0.1, Corrupt: 0.1, Truncate: 0.05, Delay: 500 * time.Microsecond,
		Jitter: 500 * time.Microsecond, Reorder: 0.1, ReorderDelay: time.Millisecond},
}

// badWorld is a world behind a bad wire. Its neighbours are set by hand, since a
// damaged ARP packet may say anything.
func badWorld(t *testing.T, c fault.Config) (*world, *fault.Link) {
	t.Helper()
	var bad *fault.Link
	// However far apart they come, fragments belong together here.
	anyDistance := stack.Config{Reassembly: ipv4.ReassemblyConfig{MaxDist: -1}}
	w := newWorld(t, setup{stack: anyDistance, wrap: func(l link.Link) link.Link {
		bad = fault.Wrap(l, c)
		return bad
	}})
	check(t, w.far.SetSysctl("net/ipv4/ipfrag_max_dist", "0"))
	check(t, w.ifc.SetNeighbour(w.far.Addr, w.far.MAC, arp.Permanent))
	check(t, w.far.SetNeighbour(w.far.Name, w.near.Addr, w.near.MAC))
	return w, bad
}

// badSizes returns payload sizes for the senders to take in turn: two that go in
// one frame, one in two, and one in five. Damaged frames carry whole datagrams
// only: the Internet checksum sees every single inverted bit, but of two in a
// datagram one pair in 32 cancels out.
func badSizes(f fault.Faults) []int {
	if f.Corrupt > 0 {
		return []int{8, 333, 1000, 1472}
	}
	return []int{8, 1000, 2500, 7000}
}

func TestBadWireIn(t *testing.T) {
	for name, f := range badWires {
		t.Run(name, func(t *testing.T) {
			w, bad := badWorld(t, fault.Config{Seed: 1, Rx: f})
			k, peer := w.udp(7), w.far.UDP(t, 0)
			k.SetReceiveBuffer(64 << 20)
			const n = 400
			sizes := badSizes(f)
			done := make(chan tally, 1)
			go func() { done <- receiveAll(k) }()
			for i := range n {
				check(t, peer.SendTo(sealed(sizes[i%len(sizes)], uint32(i)), w.ours(7)))
			}
			await(t, "all frames have come", func() bool { return settled(w, bad) })
			k.Shutdown(unix.SHUT_RD)
			got := <-done
			got.judge(t, n, f)
			wantAllAccounted(t, w, bad, got)
		})
	}
}

// settled reports whether no frame is on its way any more.
func settled(w *world, bad *fault.Link) bool {
	s := w.dev.Stats()
	_, held := bad.Held()
	sent := kernelPackets(w)
	if held != 0 || s.RxFrames+s.RxDropped < sent || bad.Counters().Rx.Frames < s.RxFrames {
		return false
	}
	w.stack.Stats() // waits for the batch that somebody may have in hand
	return true
}

// kernelPackets returns how many IP packets the kernel has handed to its device.
func kernelPackets(w *world) uint64 {
	w.t.Helper()
	// Fragments are not in OutRequests, but each replaces the datagram that
	// it is of.
	return kernelCounter(w.t, w.far, "Ip", "OutRequests") + kernelCounter(w.t, w.far, "Ip", "FragCreates") -
		kernelCounter(w.t, w.far, "Ip", "FragOKs")
}

// A tally is what came of numbered datagrams.
type tally struct {
	whole, again, corrupt int
	err                   error
}

// receiveAll receives until the socket is shut down.
func receiveAll(k *stack.UDPSocket) (got tally) {
	seen := make(map[uint32]bool)
	b := make([]byte, 1<<16)
	for {
		n, info, err := k.Recv(b, 0, stack.NoDeadline)
		if err != nil {
			got.err = err
			return got
		}
		if info.Len == 0 {
			return got
		}
		number, ok := intact(b[:n])
		switch {
		case !ok || n != info.Len:
			got.corrupt++
		case seen[number]:
			got.again++
		default:
			seen[number] = true
			got.whole++
		}
	}
}

func (got tally) judge(t *testing.T, sent int, f fault.Faults) {
	t.Helper()
	if got.err != nil || got.corrupt > 0 {
		t.Errorf("%d corrupt datagrams were delivered, error %v", got.corrupt, got.err)
	}
	loses := f.Loss+f.Corrupt+f.Truncate+f.Burst.ToBad > 0
	if loses == (got.whole == sent) || got.whole < sent/10 {
		t.Errorf("%d of %d datagrams arrived", got.whole, sent)
	}
	if f.Duplicate > 0 == (got.again == 0) {
		t.Errorf("%d datagrams arrived twice", got.again)
	}
}

// wantAllAccounted adds up the counters from the ring to the socket.
func wantAllAccounted(t *testing.T, w *world, bad *fault.Link, got tally) {
	t.Helper()
	rx := bad.Counters().Rx
	s := w.stack.Stats()
	sum := func(names ...string) (n uint64) {
		for _, name := range names {
			n += s.Get(name)
		}
		return n
	}
	equal := func(what string, a, b uint64) {
		t.Helper()
		if a != b {
			t.Errorf("%s: %d and %d", what, a, b)
		}
	}
	equal("frames that the wire let through, and frames that the stack took in",
		rx.Frames-rx.Lost-rx.BurstLost-rx.Overflow+rx.Duplicated,
		sum("IpInReceives", "OutbandArpIn", "OutbandDropShortFrame", "OutbandDropTruncatedFrame",
			"OutbandDropVLAN", "OutbandDropOtherHost", "OutbandDropEtherType"))
	equal("IP packets, and what became of them", s.Get("IpInReceives"),
		sum("IpInHdrErrors", "IpExtInTruncatedPkts", "IpInAddrErrors", "IpInUnknownProtos", "IpInDelivers",
			"IpReasmReqds")-s.Get("IpReasmOKs"))
	equal("datagrams for UDP, and what became of them", s.Get("IpInDelivers"),
		sum("UdpInDatagrams", "UdpInErrors", "UdpNoPorts", "IcmpInMsgs"))
	equal("datagrams that UDP delivered, and that were received", s.Get("UdpInDatagrams"),
		uint64(got.whole+got.again))
	if t.Failed() {
		t.Logf("%+v %v", rx, s)
	}
}

// The kernel at the other end of a bad wire: it too gets all or nothing.
func TestBadWireOut(t *testing.T) {
	for name, f := range badWires {
		if f.Truncate > 0 {
			continue // what is cut short on veth has no frame check sequence to tell
		}
		t.Run(name, func(t *testing.T) {
			w, bad := badWorld(t, fault.Config{Seed: 2, Tx: f})
			k, peer := w.udp(7), w.far.UDP(t, 7)
			check(t, peer.SetBuffers(32<<20))
			const n = 200
			sizes := badSizes(f)
			for i := range n {
				w.send(k, sealed(sizes[i%len(sizes)], uint32(i)), w.kernels(7))
			}
			await(t, "the wire is empty", func() bool { tx, _ := bad.Held(); return tx == 0 })
			got := receiveQueued(t, peer)
			got.judge(t, n, f)
		})
	}
}

// receiveQueued receives what waits at a socket of the kernel's.
func receiveQueued(t *testing.T, u *inband.UDP) (got tally) {
	t.Helper()
	seen := make(map[uint32]bool)
	b := make([]byte, 1<<16)
	for {
		n, err := u.Recv(b, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return got
		}
		check(t, err)
		number, ok := intact(b[:n])
		switch {
		case !ok:
			got.corrupt++
		case seen[number]:
			got.again++
		default:
			seen[number] = true
			got.whole++
		}
	}
}

// Ask again until there is an answer: over a wire that loses and damages frames
// in both directions, ARP included, everything gets done in the end.
func TestBadWireAsked(t *testing.T) {
	quick := arp.Config{RetransTime: 20 * time.Millisecond, McastSolicit: 20}
	f := fault.Faults{Loss: 0.2, Duplicate: 0.1, Reorder: 0.1}
	w := newWorld(t, setup{arp: quick, wrap: func(l link.Link) link.Link {
		return fault.Wrap(l, fault.Config{Seed: 3, Rx: f, Tx: f})
	}})
	k, peer := w.udp(0), w.far.UDP(t, 7)
	stop := echoInBand(t, peer)
	defer stop()
	check(t, k.Connect(w.kernels(7)))
	for i := range 50 {
		b, answer := sealed(100, uint32(i)), make([]byte, 200)
		answered := false
		for tries := 0; tries < 200 && !answered; tries++ {
			if err := k.Send(b, 0, stack.NoDeadline); err != nil {
				t.Fatal(err)
			}
			n, _, err := k.Recv(answer, 0, w.stack.Deadline(20*time.Millisecond))
			if err == unix.EAGAIN {
				continue
			}
			check(t, err)
			number, ok := intact(answer[:n])
			if !ok || number > uint32(i) {
				t.Fatalf("a corrupt answer of %d bytes", n)
			}
			answered = number == uint32(i)
		}
		if !answered {
			t.Fatalf("no answer to datagram %d", i)
		}
	}
}

// echoInBand answers at a socket of the kernel's until stop is called.
func echoInBand(t testing.TB, u *inband.UDP) (stop func()) {
	t.Helper()
	check(t, u.SetReadTimeout(20*time.Millisecond))
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			select {
			case <-quit:
				return
			default:
			}
			if n, from, err := u.RecvFrom(b, 0); err == nil {
				u.SendTo(b[:n], from)
			}
		}
	}()
	return func() { close(quit); <-done; check(t, u.SetReadTimeout(lab.Patience)) }
}
