package conformance

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// quickARP are ARP's times so short that a test can watch them pass.
var quickARP = arp.Config{ReachableTime: 100 * time.Millisecond, DelayProbeTime: 50 * time.Millisecond,
	RetransTime: 20 * time.Millisecond, LockTime: time.Millisecond, AnnounceInterval: 20 * time.Millisecond}

// neighbour returns our entry for an address.
func (w *world) neighbour(addr netip.Addr) (n stack.Neighbour, ok bool) {
	for _, n := range w.stack.Neighbours() {
		if n.Addr == addr.As4() {
			return n, true
		}
	}
	return n, false
}

// kernelNeighbour returns the kernel's entry for us.
func (w *world) kernelNeighbour() (n netlab.Neighbour, ok bool) {
	w.t.Helper()
	all, err := w.far.Neighbours(w.far.Name)
	check(w.t, err)
	for _, n := range all {
		if n.Addr == w.near.Addr {
			return n, true
		}
	}
	return n, false
}

// Each resolves the other.
func TestResolve(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	w.echoOnce(k, peer, []byte("hello"))
	n, ok := w.neighbour(w.far.Addr)
	if !ok || n.MAC != w.far.MAC || n.State != arp.Reachable || n.Dev != w.near.Name {
		t.Errorf("our entry for the kernel is %+v", n)
	}
	// The kernel resolved us to send back, or learnt us from our request; in
	// use it becomes REACHABLE at the latest when its probe is answered.
	await(t, "the kernel's entry for us", func() bool {
		w.echoOnce(k, peer, []byte("again"))
		n, ok := w.kernelNeighbour()
		return ok && n.MAC == w.near.MAC && (n.State == "REACHABLE" || n.State == "STALE" || n.State == "DELAY")
	})
	check(t, w.far.FlushNeighbours(w.far.Name))
	check(t, peer.SendTo([]byte("resolve us"), w.ours(7)))
	w.recv(k)
	if n, ok := w.kernelNeighbour(); !ok || n.State != "REACHABLE" || n.MAC != w.near.MAC {
		t.Errorf("the kernel's entry for us is %+v, want REACHABLE", n)
	}
}

// The kernel verifies us by a unicast probe, which we answer.
func TestProbedByKernel(t *testing.T) {
	w := newWorld(t, setup{})
	wire := w.near.Packet(t)
	for key, value := range map[string]string{"base_reachable_time_ms": "100", "delay_first_probe_time": "0", "retrans_time_ms": "50"} {
		check(t, w.far.SetSysctl("net/ipv4/neigh/"+w.far.Name+"/"+key, value))
	}
	k, peer := w.udp(7), w.far.UDP(t, 7)
	w.echoOnce(k, peer, []byte("hello"))
	end := time.Now().Add(lab.Patience)
	for probed := false; !probed; {
		if time.Now().After(end) {
			t.Fatal("the kernel has sent no probe")
		}
		check(t, peer.SendTo([]byte("keep in use"), w.ours(7)))
		w.recv(k)
		probed = wire.Next(t, 20*time.Millisecond, func(b []byte) bool {
			m := arpOf(b)
			return m != nil && m.Op() == arp.OpRequest && [6]byte(b[:6]) == w.near.MAC
		}) != nil
	}
	await(t, "REACHABLE", func() bool {
		n, _ := w.kernelNeighbour()
		return n.State == "REACHABLE"
	})
}

// A unicast request by hand is answered as a broadcast one is, to who asked.
func TestAnswersRequests(t *testing.T) {
	w := newWorld(t, setup{})
	h := w.hand()
	for name, dst := range map[string][6]byte{"unicast": w.near.MAC, "broadcast": ether.Broadcast} {
		h.wire.Send(t, ethernet(dst, w.far.MAC, unix.ETH_P_ARP,
			arpPacket(arp.OpRequest, w.far.MAC, stranger, [6]byte{}, w.near.Addr.As4())))
		frame := h.wire.Want(t, func(b []byte) bool { m := arpOf(b); return m != nil && m.Op() == arp.OpReply })
		m := arpOf(frame)
		if m.SenderMAC() != w.near.MAC || m.SenderIP() != w.near.Addr.As4() || m.TargetIP() != stranger ||
			m.TargetMAC() != w.far.MAC || [6]byte(frame[:6]) != w.far.MAC {
			t.Errorf("%s: reply % x", name, frame)
		}
	}
	// Nobody else's address is answered for.
	h.wire.Send(t, ethernet(ether.Broadcast, w.far.MAC, unix.ETH_P_ARP,
		arpPacket(arp.OpRequest, w.far.MAC, w.far.Addr.As4(), [6]byte{}, stranger)))
	if h.wire.Next(t, 20*time.Millisecond, func(b []byte) bool { m := arpOf(b); return m != nil && m.Op() == arp.OpReply }) != nil {
		t.Error("answered for an address that is not ours")
	}
}

// An address that comes up is announced (RFC 5227, section 2.3).
func TestAnnounces(t *testing.T) {
	w := newWorld(t, setup{arp: quickARP, noAddress: true})
	wire := w.far.Packet(t)
	check(t, w.ifc.AddAddress(w.near.Prefix()))
	for range 2 {
		m := arpOf(wire.Want(t, func(b []byte) bool { return arpOf(b) != nil }))
		if !m.IsGratuitous() || m.SenderMAC() != w.near.MAC || m.SenderIP() != w.near.Addr.As4() {
			t.Errorf("announcement % x", []byte(m))
		}
	}
}

// Somebody else claims our address: that is counted, and answered once.
func TestConflict(t *testing.T) {
	w := newWorld(t, setup{})
	h, k := w.hand(), w.udp(7)
	drain := func() {
		for h.wire.Next(t, 10*time.Millisecond, nil) != nil {
		}
	}
	drain()
	thief := [6]byte{2, 0, 0, 0, 0, 0x66}
	claim := ethernet(ether.Broadcast, thief, unix.ETH_P_ARP,
		arpPacket(arp.OpRequest, thief, w.near.Addr.As4(), [6]byte{}, w.near.Addr.As4()))
	h.wire.Send(t, claim)
	m := arpOf(h.wire.Want(t, func(b []byte) bool { return arpOf(b) != nil }))
	if !m.IsGratuitous() || m.SenderMAC() != w.near.MAC {
		t.Errorf("the address is defended by % x", []byte(m))
	}
	await(t, "conflict counted", func() bool { return w.stat("OutbandArpConflicts") == 1 })
	h.wire.Send(t, claim) // at once: no second defence (DEFEND_INTERVAL)
	h.marker(7)
	w.recv(k)
	if h.wire.Next(t, 20*time.Millisecond, func(b []byte) bool { return arpOf(b) != nil }) != nil {
		t.Error("the address is defended twice within ten seconds")
	}
	if _, ok := w.neighbour(w.near.Addr); ok {
		t.Error("the thief is in the neighbour table")
	}
}

// What nobody asked for makes no entries.
func TestUnsolicited(t *testing.T) {
	w := newWorld(t, setup{})
	h, k := w.hand(), w.udp(7)
	for i := range 100 {
		ip := [4]byte{10, 9, 0, byte(100 + i)}
		mac := [6]byte{2, 0, 0, 0, 1, byte(i)}
		h.wire.Send(t, ethernet(ether.Broadcast, mac, unix.ETH_P_ARP, arpPacket(arp.OpRequest, mac, ip, [6]byte{}, ip)))
		h.wire.Send(t, ethernet(w.near.MAC, mac, unix.ETH_P_ARP, arpPacket(arp.OpReply, mac, ip, w.near.MAC, w.near.Addr.As4())))
	}
	h.marker(7)
	w.recv(k)
	if n := w.stack.Neighbours(); len(n) != 0 {
		t.Errorf("%d entries of what nobody asked for", len(n))
	}
}

// Nobody answers: senders are told.
func TestNoNeighbour(t *testing.T) {
	w := newWorld(t, setup{arp: quickARP})
	k := w.udp(0)
	k.Errors().SetRecvErr(true)
	w.send(k, []byte("hello?"), netip.AddrPortFrom(netip.AddrFrom4(stranger), 7))
	wantErr(t, w.awaitError(k), unix.EHOSTUNREACH)
	w.wantStat("OutbandDropNeighbourFailed", 1)
	if err := w.stack.Solicit(netip.AddrFrom4(stranger), lab.Patience, 0); err != unix.EHOSTUNREACH {
		t.Errorf("Solicit: %v, want EHOSTUNREACH", err)
	}
	check(t, w.stack.Solicit(w.far.Addr, lab.Patience, 0))
}

// Datagrams that wait for a neighbour go out in order once it answers: three
// whole ones, and one in fragments.
func TestWaitingForNeighbour(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	check(t, w.far.SetDown(w.far.Name)) // nobody answers yet
	await(t, "link down", func() bool { return w.dev.Info().State.String() != "UP" })
	check(t, w.far.SetUp(w.far.Name))
	await(t, "link up", func() bool { return w.dev.Info().State.String() == "UP" })
	var want [][]byte
	for i, n := range []int{10, 20, 5000, 30} {
		want = append(want, pattern(n, uint32(i)))
		w.send(k, want[i], w.kernels(7))
	}
	for _, b := range want {
		got, _ := recvInBand(t, peer)
		wantBytes(t, got, b)
	}
}

// The kernel's end changes its MAC, in three ways in which we may learn of it.
func TestNeighbourMoves(t *testing.T) {
	newMAC := [6]byte{2, 0, 10, 9, 0, 0xfe}
	move := func(t *testing.T, announce bool) (*world, *stack.UDPSocket, *inband.UDP) {
		w := newWorld(t, setup{arp: quickARP})
		k, peer := w.udp(7), w.far.UDP(t, 7)
		w.echoOnce(k, peer, []byte("before"))
		if announce {
			check(t, w.far.SetSysctl("net/ipv4/conf/"+w.far.Name+"/arp_notify", "1"))
		}
		time.Sleep(5 * time.Millisecond) // the old MAC is locked in (locktime)
		check(t, w.far.SetHardwareAddr(w.far.Name, newMAC))
		return w, k, peer
	}
	moved := func(w *world) bool {
		n, ok := w.neighbour(w.far.Addr)
		return ok && n.MAC == newMAC
	}
	t.Run("it announces itself", func(t *testing.T) {
		w, k, peer := move(t, true)
		await(t, "new MAC in the table", func() bool { return moved(w) })
		w.echoOnce(k, peer, []byte("after"))
	})
	t.Run("it sends to us", func(t *testing.T) {
		w, k, peer := move(t, false)
		check(t, peer.SendTo([]byte("from the new place"), w.ours(7)))
		w.recv(k)
		await(t, "new MAC in the table", func() bool { return moved(w) })
		w.echoOnce(k, peer, []byte("after"))
	})
	t.Run("we find out", func(t *testing.T) {
		w, k, peer := move(t, false)
		check(t, peer.SetReadTimeout(5*time.Millisecond))
		await(t, "a datagram gets through", func() bool {
			w.send(k, []byte("anybody there?"), w.kernels(7))
			_, err := peer.Recv(make([]byte, 100), 0)
			return err == nil
		})
		if !moved(w) {
			t.Error("a datagram got through, but the table has the old MAC")
		}
	})
}

// Our own MAC changes: the kernel is told, and traffic goes on.
func TestWeMove(t *testing.T) {
	w := newWorld(t, setup{arp: quickARP})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	w.echoOnce(k, peer, []byte("before"))
	newMAC := [6]byte{2, 0, 10, 9, 0, 0xfd}
	check(t, w.near.SetHardwareAddr(w.near.Name, newMAC))
	await(t, "the link knows", func() bool { return w.dev.Info().HardwareAddr == newMAC })
	check(t, peer.SetReadTimeout(20*time.Millisecond))
	await(t, "traffic from the new MAC", func() bool {
		w.send(k, []byte("after"), w.kernels(7))
		_, err := peer.Recv(make([]byte, 100), 0)
		return err == nil
	})
	wire := w.far.Packet(t)
	w.send(k, []byte("x"), w.kernels(7))
	if frame := wire.Want(t, udpFromPort(7)); [6]byte(frame[6:12]) != newMAC {
		t.Errorf("we still send from % x", frame[6:12])
	}
}

// Entries made by hand need no answer, and stay.
func TestPermanentNeighbour(t *testing.T) {
	w := newWorld(t, setup{})
	k, wire := w.udp(7), w.far.Packet(t)
	mac := [6]byte{2, 0, 0, 0, 0, 0x55}
	check(t, w.ifc.SetNeighbour(netip.AddrFrom4(stranger), mac, arp.Permanent))
	w.send(k, []byte("x"), netip.AddrPortFrom(netip.AddrFrom4(stranger), 7))
	frame := wire.Want(t, lab.EtherType(unix.ETH_P_IP))
	if [6]byte(frame[:6]) != mac || frame[23] != ipv4.ProtocolUDP {
		t.Errorf("sent % x", frame[:24])
	}
	check(t, w.ifc.DeleteNeighbour(netip.AddrFrom4(stranger)))
	wantErr(t, w.ifc.DeleteNeighbour(netip.AddrFrom4(stranger)), unix.ENOENT)
}
