package conformance

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func netipPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// broadcasts are the limited broadcast address and the lab network's.
var broadcasts = []netip.Addr{netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("10.9.0.255")}

func TestBroadcastToKernel(t *testing.T) {
	w := newWorld(t, setup{})
	peer, k := w.far.UDP(t, 7), w.udpAt(w.ours(8))
	for _, to := range broadcasts {
		wantErr(t, k.SendTo([]byte("x"), 0, stack.NoDeadline, netipPort(to, 7)), unix.EACCES)
	}
	k.SetBroadcast(true)
	for _, to := range broadcasts {
		for _, n := range []int{0, 100, 1472, 4000} {
			w.send(k, pattern(n, 1), netipPort(to, 7))
			got, from := recvInBand(t, peer)
			wantBytes(t, got, pattern(n, 1))
			if from != w.ours(8) {
				t.Errorf("broadcast from %v, want %v", from, w.ours(8))
			}
		}
	}
}

// A broadcast goes to every socket that may have it, and only to those.
func TestBroadcastFromKernel(t *testing.T) {
	w := newWorld(t, setup{})
	peer := w.far.BoundUDP(t, w.kernels(9))
	check(t, peer.SetOption(unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	check(t, w.far.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), w.near.Addr)) // for the limited one
	shared := func(local netip.AddrPort) *stack.UDPSocket {
		k, err := w.stack.NewUDPSocket()
		check(t, err)
		t.Cleanup(func() { k.Close() })
		k.SetReuse(true, false)
		check(t, k.Bind(local))
		return k
	}
	a, b := shared(netipPort(netip.IPv4Unspecified(), 7)), shared(netipPort(netip.IPv4Unspecified(), 7))
	unicastOnly := shared(w.ours(7))
	connected := shared(netipPort(netip.IPv4Unspecified(), 7))
	check(t, connected.Connect(netipPort(netip.AddrFrom4(stranger), 9)))
	for i, to := range broadcasts {
		for _, n := range []int{1, 5000} {
			check(t, peer.SendTo(pattern(n, uint32(i)), netipPort(to, 7)))
			for _, k := range []*stack.UDPSocket{a, b} {
				got, info := w.recv(k)
				wantBytes(t, got, pattern(n, uint32(i)))
				if info.To != to.As4() {
					t.Errorf("broadcast to %v, want %v", info.To, to)
				}
			}
		}
	}
	for name, k := range map[string]*stack.UDPSocket{"bound to our address": unicastOnly, "connected elsewhere": connected} {
		if k.Readable() {
			t.Errorf("the socket %s got a broadcast", name)
		}
	}
	// Nobody wants it: no error about a broadcast (RFC 1122, section 3.2.2).
	wire := w.far.Packet(t)
	check(t, peer.SendTo([]byte("x"), netipPort(broadcasts[1], 9)))
	w.wantStat("UdpIgnoredMulti", 1)
	check(t, peer.SendTo([]byte("marker"), w.ours(7)))
	w.recv(unicastOnly)
	if wire.Next(t, 0, func(b []byte) bool { return icmpOf(b) != nil }) != nil {
		t.Error("an ICMP error about a broadcast was sent")
	}
}

// Our own sockets hear our broadcasts, as Linux' do.
func TestOwnBroadcast(t *testing.T) {
	w := newWorld(t, setup{})
	k, other := w.udpAt(w.ours(8)), w.udp(7)
	k.SetBroadcast(true)
	for _, to := range broadcasts {
		w.send(k, []byte("all of you"), netipPort(to, 7))
		got, info := w.recv(other)
		if string(got) != "all of you" || info.From != w.near.Addr.As4() {
			t.Errorf("heard %q from %v", got, info.From)
		}
	}
}

// An echo request to a broadcast address is not answered (as Linux by default).
func TestBroadcastPing(t *testing.T) {
	w := newWorld(t, setup{})
	k, h := w.udp(7), w.hand()
	f := h.fields(unix.IPPROTO_ICMP)
	f.Dst = broadcasts[1].As4()
	h.wire.Send(t, ethernet([6]byte{255, 255, 255, 255, 255, 255}, w.far.MAC, unix.ETH_P_IP, packet(f, echoRequest)))
	h.marker(7)
	w.recv(k)
	if w.stat("IcmpInEchos") != 1 || w.stat("IcmpOutEchoReps") != 0 {
		t.Errorf("%d requests, %d replies", w.stat("IcmpInEchos"), w.stat("IcmpOutEchoReps"))
	}
}

// echoRequest is an ICMP echo request, ident 1, sequence 1, no data.
var echoRequest = []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}

// Three ends on one wire: what is for another is not for us.
func TestBridged(t *testing.T) {
	w := newWorld(t, setup{lab: lab.Config{Ends: 3, Kernel: lab.Far | lab.End(2)}})
	third := w.lab.Ends[2]
	k, a, b := w.udp(7), w.far.UDP(t, 7), third.UDP(t, 7)
	for i := range 10 {
		w.send(k, pattern(100, uint32(i)), w.kernels(7))
		w.send(k, pattern(200, uint32(i)), third.AddrPort(7))
		got, _ := recvInBand(t, a)
		wantBytes(t, got, pattern(100, uint32(i)))
		got, _ = recvInBand(t, b)
		wantBytes(t, got, pattern(200, uint32(i)))
		check(t, a.SendTo([]byte("a"), w.ours(7)))
		check(t, b.SendTo([]byte("b"), w.ours(7)))
		check(t, b.SendTo([]byte("not for us"), w.kernels(7)))
		recvInBand(t, a)
		_, first := w.recv(k)
		_, second := w.recv(k)
		if first.From != w.far.Addr.As4() || second.From != third.Addr.As4() {
			t.Fatalf("datagrams from %v and %v", first.From, second.From)
		}
	}
	if k.Readable() {
		t.Error("we got a datagram for another host")
	}
}
