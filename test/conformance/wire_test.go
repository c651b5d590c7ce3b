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
	"github.com/outband/outband/test/lab"
	"github.com/outband/outband/udp"
)

// Frames made and taken apart by hand.

// stranger is an address of the lab's network that nobody has.
var stranger = [4]byte{10, 9, 0, 77}

// A hand sends frames to our stack from the kernel's end of the wire, as it
// likes, and sees what comes back.
type hand struct {
	t    testing.TB
	wire *lab.Packet
	from *lab.Endpoint
	to   *lab.Endpoint
}

func (w *world) hand() *hand {
	return &hand{w.t, w.far.Packet(w.t), w.far, w.near}
}

// fields is the IP header of a datagram from the hand's end.
func (h *hand) fields(proto uint8) ipv4.Fields {
	return ipv4.Fields{TTL: 64, Protocol: proto, ID: 1, Src: h.from.Addr.As4(), Dst: h.to.Addr.As4()}
}

// send sends an IP packet.
func (h *hand) send(f ipv4.Fields, payload []byte) {
	h.t.Helper()
	h.wire.Send(h.t, ethernet(h.to.MAC, h.from.MAC, unix.ETH_P_IP, packet(f, payload)))
}

// ethernet returns a frame.
func ethernet(dst, src [6]byte, typ uint16, payload []byte) []byte {
	b := append(append([]byte(nil), dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(b, typ), payload...)
}

// tag puts a VLAN tag behind a frame's addresses.
func tag(frame []byte, tpid, tci uint16) []byte {
	b := append([]byte(nil), frame[:12]...)
	b = binary.BigEndian.AppendUint16(b, tpid)
	b = binary.BigEndian.AppendUint16(b, tci)
	return append(b, frame[12:]...)
}

// packet returns an IP packet.
func packet(f ipv4.Fields, payload []byte) []byte {
	b := make([]byte, f.HeaderLen()+len(payload))
	f.Put(b, len(payload))
	copy(b[f.HeaderLen():], payload)
	return b
}

// datagram returns a UDP header and payload.
func datagram(src, dst [4]byte, sport, dport uint16, payload []byte) []byte {
	b := make([]byte, udp.HeaderLen+len(payload))
	copy(b[udp.HeaderLen:], payload)
	udp.Put(b, src, dst, sport, dport, len(payload))
	return b
}

// arpPacket returns an ARP packet.
func arpPacket(op uint16, senderMAC [6]byte, sender [4]byte, targetMAC [6]byte, target [4]byte) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, senderMAC[:]...), sender[:]...)
	return append(append(b, targetMAC[:]...), target[:]...)
}

// arpOf returns a frame's ARP packet, nil if it is none.
func arpOf(frame []byte) arp.Message {
	if !lab.EtherType(unix.ETH_P_ARP)(frame) {
		return nil
	}
	m, c := arp.Parse(frame[14:])
	if c != arp.CauseNone {
		return nil
	}
	return m
}

// icmpOf returns a frame's ICMP message, nil if it is none.
func icmpOf(frame []byte) icmp.Message {
	if !lab.EtherType(unix.ETH_P_IP)(frame) {
		return nil
	}
	h, payload, c := ipv4.Parse(frame[14:])
	if c != ipv4.CauseNone || h.Protocol() != ipv4.ProtocolICMP || h.IsFragment() {
		return nil
	}
	m, ic := icmp.Parse(payload)
	if ic != icmp.CauseNone {
		return nil
	}
	return m
}

// icmpOfType is a keep function for Packet.Next.
func icmpOfType(typ, code uint8) func([]byte) bool {
	return func(frame []byte) bool {
		m := icmpOf(frame)
		return m != nil && m.Type() == typ && m.Code() == code
	}
}

// marker sends an ordinary datagram to a port of ours: what was sent before it
// has been dealt with when it is received.
func (h *hand) marker(port uint16) {
	h.t.Helper()
	f := h.fields(ipv4.ProtocolUDP)
	f.ID = 0xffff
	h.send(f, datagram(f.Src, f.Dst, 1, port, []byte("marker")))
}

// Tagged traffic is another network's: it must not pass for untagged.
func TestVLAN(t *testing.T) {
	w := newWorld(t, setup{})
	k, h := w.udp(7), w.hand()
	f := h.fields(ipv4.ProtocolUDP)
	frame := ethernet(h.to.MAC, h.from.MAC, unix.ETH_P_IP,
		packet(f, datagram(f.Src, f.Dst, 9, 7, []byte("tagged"))))
	for i, bad := range [][]byte{
		tag(frame, unix.ETH_P_8021Q, 5),
		tag(frame, unix.ETH_P_8021Q, 3<<13|5), // with a priority
		tag(frame, unix.ETH_P_8021AD, 5),
		tag(tag(frame, unix.ETH_P_8021Q, 6), unix.ETH_P_8021AD, 5),
	} {
		h.wire.Send(t, bad)
		h.marker(7)
		if got, _ := w.recv(k); string(got) != "marker" {
			t.Fatalf("case %d: %q was delivered", i, got)
		}
	}
	w.wantStat("OutbandDropVLAN", 4)

	// The identifier 0 is a priority only, in any number of tags of either kind.
	const q, ad = unix.ETH_P_8021Q, unix.ETH_P_8021AD
	for _, tags := range [][]uint16{{q}, {ad}, {q, q}, {ad, q}, {q, ad}, {ad, ad, q, q, ad}} {
		tagged := frame
		for _, tpid := range tags {
			tagged = tag(tagged, tpid, 3<<13)
		}
		h.wire.Send(t, tagged)
		if got, _ := w.recv(k); string(got) != "tagged" {
			t.Errorf("tags %x: got %q, want the priority-tagged datagram", tags, got)
		}
	}
	// But what hides a tag behind it is in a VLAN.
	for _, hidden := range [][]byte{tag(tag(frame, q, 5), q, 3<<13), tag(tag(tag(frame, ad, 5), q, 0), ad, 0)} {
		h.wire.Send(t, hidden)
		h.marker(7)
		if got, _ := w.recv(k); string(got) != "marker" {
			t.Errorf("%q came out of a hidden VLAN", got)
		}
	}
	w.wantStat("OutbandDropVLAN", 6)
	// Nor does a frame that ends in its tags do harm.
	for n := 14; n < 26; n++ {
		h.wire.Send(t, tag(tag(frame, q, 0), q, 0)[:n])
	}
	h.marker(7)
	if got, _ := w.recv(k); string(got) != "marker" {
		t.Errorf("%q came out of a frame that was cut", got)
	}
}

// Tagged ARP teaches nothing.
func TestVLANARP(t *testing.T) {
	w := newWorld(t, setup{})
	h, k := w.hand(), w.udp(7)
	request := ethernet(ether.Broadcast, h.from.MAC, unix.ETH_P_ARP,
		arpPacket(arp.OpRequest, h.from.MAC, stranger, [6]byte{}, w.near.Addr.As4()))
	h.wire.Send(t, tag(request, unix.ETH_P_8021Q, 5))
	h.marker(7)
	w.recv(k)
	w.wantStat("OutbandDropVLAN", 1)
	if n := len(w.stack.Neighbours()); n != 0 {
		t.Errorf("%d neighbours learnt from a VLAN", n)
	}
	if f := h.wire.Next(t, 20*time.Millisecond, func(b []byte) bool {
		m := arpOf(b)
		return m != nil && m.Op() == arp.OpReply
	}); f != nil {
		t.Error("a request in a VLAN was answered")
	}
}

// What no datagram should look like ends in a counter, and harms nothing.
func TestMalformed(t *testing.T) {
	type change func(h *hand, f *ipv4.Fields, p []byte) []byte
	ip := func(edit func(b []byte)) change {
		return func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			b := packet(*f, p)
			edit(b)
			return b
		}
	}
	remake := func(b []byte) { // the header's checksum
		binary.BigEndian.PutUint16(b[10:], 0)
		binary.BigEndian.PutUint16(b[10:], ipv4.Checksum(b[:20]))
	}
	cases := []struct {
		name, counter string
		change        change
	}{
		{"IP checksum", "IpInHdrErrors", ip(func(b []byte) { b[10] ^= 1 })},
		{"version 5", "IpInHdrErrors", ip(func(b []byte) { b[0] = 0x55; remake(b) })},
		{"header length 4", "IpInHdrErrors", ip(func(b []byte) { b[0] = 0x44 })},
		{"longer than the frame", "IpExtInTruncatedPkts", ip(func(b []byte) { b[2] = 4; remake(b) })},
		{"UDP checksum", "UdpInCsumErrors", ip(func(b []byte) { b[26] ^= 1 })},
		{"UDP payload", "UdpInCsumErrors", ip(func(b []byte) { b[30] ^= 1 })},
		{"UDP length too long", "UdpInErrors", ip(func(b []byte) { b[24] = 9 })},
		{"UDP length 7", "UdpInErrors", ip(func(b []byte) { b[24], b[25] = 0, 7 })},
		{"from loopback", "OutbandDropMartianSource", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Src = [4]byte{127, 0, 0, 1}
			return packet(*f, p)
		}},
		{"from broadcast", "OutbandDropMartianSource", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Src = [4]byte{255, 255, 255, 255}
			return packet(*f, p)
		}},
		{"from a group", "OutbandDropMartianSource", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Src = [4]byte{224, 0, 0, 9}
			return packet(*f, p)
		}},
		{"from the net's broadcast", "OutbandDropOwnSource", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Src = [4]byte{10, 9, 0, 255}
			return packet(*f, p)
		}},
		{"from ourselves", "OutbandDropOwnSource", func(h *hand, f *ipv4.Fields, p []byte) []byte {
			f.Src = h.to.Addr.As4()
			return packet(*f, p)
		}},
		{"to loopback", "OutbandDropMartianDestination", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Dst = [4]byte{127, 0, 0, 1}
			return packet(*f, p)
		}},
		{"to somebody else", "OutbandDropNotOurAddress", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Dst = stranger
			return packet(*f, p)
		}},
		{"source route", "OutbandDropOptions", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Options = []byte{131, 7, 4, 10, 9, 0, 1, 0}
			return packet(*f, p)
		}},
		{"broken option", "OutbandDropOptions", func(_ *hand, f *ipv4.Fields, p []byte) []byte {
			f.Options = []byte{7, 200, 4, 0}
			return packet(*f, p)
		}},
	}
	w := newWorld(t, setup{})
	k, h := w.udp(7), w.hand()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := w.stat(c.counter)
			f := h.fields(ipv4.ProtocolUDP)
			b := c.change(h, &f, datagram(f.Src, f.Dst, 9, 7, []byte("malformed")))
			h.wire.Send(t, ethernet(h.to.MAC, h.from.MAC, unix.ETH_P_IP, b))
			h.marker(7)
			if got, _ := w.recv(k); string(got) != "marker" {
				t.Fatalf("%q was delivered", got)
			}
			if got := w.stat(c.counter) - before; got != 1 {
				t.Errorf("%s rose by %d, want 1", c.counter, got)
			}
		})
	}
}
