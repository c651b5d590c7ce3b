package conformance

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// dropCauses are the counters in which a frame may end that is no good.
var dropCauses = []string{"IpInHdrErrors", "IpExtInTruncatedPkts", "IpInAddrErrors", "IpInUnknownProtos",
	"UdpInErrors", "UdpNoPorts", "IcmpInErrors", "OutbandArpTooShort", "OutbandDropShortFrame",
	"OutbandDropFragment", "OutbandDropOptions"}

func (w *world) drops() (n uint64) {
	s := w.stack.Stats()
	for _, name := range dropCauses {
		n += s.Get(name)
	}
	return n
}

// Frames cut off at every byte: none is delivered, each is counted.
func TestTruncatedAtEveryByte(t *testing.T) {
	w := newWorld(t, setup{})
	k, h := w.udp(7), w.hand()
	f := h.fields(ipv4.ProtocolUDP)
	f.Options = []byte{7, 7, 4, 0, 0, 0, 0, 0} // record route, empty
	withOptions := f
	f.Options = nil
	e := h.fields(ipv4.ProtocolICMP)
	frames := map[string][]byte{
		"UDP":              ethernet(w.near.MAC, w.far.MAC, unix.ETH_P_IP, packet(f, datagram(f.Src, f.Dst, 9, 7, pattern(20, 1)))),
		"UDP with options": ethernet(w.near.MAC, w.far.MAC, unix.ETH_P_IP, packet(withOptions, datagram(f.Src, f.Dst, 9, 7, pattern(20, 1)))),
		"echo":             ethernet(w.near.MAC, w.far.MAC, unix.ETH_P_IP, packet(e, icmp.AppendEcho(nil, icmp.Echo, 1, 1, pattern(20, 1)))),
		"ARP": ethernet(w.near.MAC, w.far.MAC, unix.ETH_P_ARP,
			arpPacket(arp.OpRequest, w.far.MAC, stranger, [6]byte{}, w.near.Addr.As4())),
	}
	for name, frame := range frames {
		before := w.drops()
		for n := 14; n < len(frame); n++ {
			h.wire.Send(t, frame[:n])
		}
		h.marker(7)
		if got, _ := w.recv(k); string(got) != "marker" {
			t.Errorf("%s: %d bytes of a truncated frame were delivered", name, len(got))
		}
		if got, want := w.drops()-before, uint64(len(frame)-14); got != want {
			t.Errorf("%s: %d of %d truncated frames were counted", name, got, want)
		}
	}
	for _, frame := range frames { // whole, they are in order
		h.wire.Send(t, frame)
	}
	for range 2 {
		got, _ := w.recv(k)
		wantBytes(t, got, pattern(20, 1))
	}
	w.wantStat("IcmpInEchos", 1)
}

// Every single bit of a frame's headers inverted in turn, checksums repaired and
// not: no bytes but those that were sent come to a socket, and all goes on.
func TestEveryBitInverted(t *testing.T) {
	w := newWorld(t, setup{})
	k, h := w.udp(7), w.hand()
	f := h.fields(ipv4.ProtocolUDP)
	payload := pattern(32, 1)
	good := ethernet(w.near.MAC, w.far.MAC, unix.ETH_P_IP, packet(f, datagram(f.Src, f.Dst, 9, 7, payload)))
	for _, repair := range []bool{false, true} {
		for bit := 12 * 8; bit < 42*8; bit++ {
			bad := append([]byte(nil), good...)
			bad[bit/8] ^= 1 << (bit % 8)
			if ip := bad[14:34]; repair && bit/8 >= 14 {
				binary.BigEndian.PutUint16(ip[10:], 0)
				binary.BigEndian.PutUint16(ip[10:], ipv4.Checksum(ip))
			}
			h.wire.Send(t, bad)
			if bit%64 == 0 {
				wantOnlyUntilMarker(w, h, k, payload)
			}
		}
		wantOnlyUntilMarker(w, h, k, payload)
	}
	w.echoOnce(k, w.far.UDP(t, 7), []byte("all is well"))
}

// wantOnlyUntilMarker sends a marker to port 7, and fails the test if anything
// but want comes before it.
func wantOnlyUntilMarker(w *world, h *hand, k *stack.UDPSocket, want []byte) {
	w.t.Helper()
	h.marker(7)
	for {
		got, _ := w.recv(k)
		if string(got) == "marker" {
			return
		}
		wantBytes(w.t, got, want)
	}
}

// Floods cost counters, not memory, and leave the stack working.
func TestFloods(t *testing.T) {
	w := newWorld(t, setup{})
	k, h, peer := w.udp(7), w.hand(), w.far.UDP(t, 8)
	w.echoOnce(k, peer, []byte("before"))
	const n = 2000
	arpOut, began := w.stat("OutbandArpOut"), time.Now()
	e := h.fields(ipv4.ProtocolICMP)
	for name, send := range map[string]func(i int){
		"ARP": func(i int) {
			ip, mac := [4]byte{10, 9, 0, byte(3 + i%250)}, [6]byte{2, 1, 1, 1, byte(i >> 8), byte(i)}
			h.wire.Send(t, ethernet(ether.Broadcast, mac, unix.ETH_P_ARP,
				arpPacket(arp.OpRequest, mac, ip, [6]byte{}, w.near.Addr.As4())))
		},
		"echo": func(i int) { h.send(e, icmp.AppendEcho(nil, icmp.Echo, uint16(i), 1, pattern(500, 1))) },
		"closed ports": func(i int) {
			f := h.fields(ipv4.ProtocolUDP)
			h.send(f, datagram(f.Src, f.Dst, 9, uint16(20000+i), nil))
		},
		"forged errors": func(i int) {
			q := packet(ipv4.Fields{TTL: 1, Protocol: 17, Src: w.near.Addr.As4(), Dst: w.far.Addr.As4()},
				datagram(w.near.Addr.As4(), w.far.Addr.As4(), uint16(i), uint16(i), nil))
			h.send(e, icmp.AppendError(nil, icmp.DestinationUnreachable, icmp.CodePort, 0, q))
		},
	} {
		for i := range n {
			send(i)
			if i%100 == 99 { // let the ring be emptied
				h.marker(7)
				w.recv(k)
			}
		}
		if s := w.dev.Stats(); s.RxDropped > 0 {
			t.Errorf("%s: %d frames did not fit in the ring", name, s.RxDropped)
		}
	}
	// Linux limits neither replies to ARP nor to echo requests, and answers no errors.
	for name, want := range map[string]uint64{"IcmpInEchos": n, "UdpNoPorts": n, "IcmpInDestUnreachs": n, "IcmpOutEchoReps": n} {
		w.wantStat(name, want)
	}
	seconds := uint64(time.Since(began)/time.Second) + 1
	if sent := w.stat("IcmpOutDestUnreachs"); sent > 6+seconds { // 6 at once, one a second (icmp_ratelimit)
		t.Errorf("%d port unreachables were sent in %d s", sent, seconds)
	}
	if sent := w.stat("OutbandArpOut") - arpOut; sent < n || sent > n+2*seconds { // requests of our own among them
		t.Errorf("%d ARP packets were sent, want %d replies", sent, n)
	}
	w.echoOnce(k, peer, []byte("after"))
	if e := k.Errors().Take(); e != 0 {
		t.Errorf("the socket got %v by forged errors", e)
	}
	if n := len(w.stack.Neighbours()); n > 1100 {
		t.Errorf("%d neighbours", n)
	}
}
