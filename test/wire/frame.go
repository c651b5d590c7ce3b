package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/udp"
)

// Eth returns a frame to a device.
func Eth(device int, dst link.MAC, t ether.Type, payload []byte) []byte {
	b := make([]byte, ether.HeaderLen)
	ether.Put(b, dst, farMAC[device], t)
	return append(b, payload...)
}

// ARP returns the frame of an ARP packet to a hardware address.
func ARP(device int, dst link.MAC, op uint16, senderMAC link.MAC, senderIP [4]byte, targetMAC link.MAC, targetIP [4]byte) []byte {
	b := []byte{0, arp.HardwareEthernet, arp.ProtocolIPv4 >> 8, arp.ProtocolIPv4 & 0xff, 6, 4, byte(op >> 8), byte(op)}
	b = append(append(b, senderMAC[:]...), senderIP[:]...)
	return Eth(device, dst, ether.TypeARP, append(append(b, targetMAC[:]...), targetIP[:]...))
}

// IP returns the frame of an IP datagram to a device, from who is at its other end
// to the host unless f says otherwise.
func IP(device int, f ipv4.Fields, payload []byte) []byte {
	if f.TTL == 0 {
		f.TTL = 64
	}
	if f.Src == ([4]byte{}) {
		f.Src = farIP[device]
	}
	if f.Dst == ([4]byte{}) {
		f.Dst = nearIP[device]
	}
	b := make([]byte, f.HeaderLen()+len(payload))
	copy(b[f.Put(b, len(payload)):], payload)
	return Eth(device, macFor(device, f.Dst), ether.TypeIPv4, b)
}

// macFor returns the hardware address for a destination.
func macFor(device int, dst [4]byte) link.MAC {
	switch {
	case ipv4.Addr(dst).IsMulticast():
		return ipv4.Addr(dst).MulticastMAC()
	case dst[3] == 255:
		return ether.Broadcast
	}
	return nearMAC[device]
}

// UDP returns the frame of a UDP datagram to the host.
func UDP(device int, f ipv4.Fields, sport, dport uint16, data []byte) []byte {
	if f.Src == ([4]byte{}) {
		f.Src = farIP[device]
	}
	if f.Dst == ([4]byte{}) {
		f.Dst = nearIP[device]
	}
	f.Protocol = ipv4.ProtocolUDP
	b := make([]byte, udp.HeaderLen+len(data))
	copy(b[udp.HeaderLen:], data)
	udp.Put(b, f.Src, f.Dst, sport, dport, len(data))
	return IP(device, f, b)
}

// Describe writes down the IP datagrams among frames, so that two hosts that did
// the same write the same: identifications by the order in which they came, times
// not at all, checksums as whether they are right. ARP and IGMP, which go by timers
// and chance, are left out.
func Describe(sent []Sent) []string {
	var out []string
	ids := make(map[uint16]int)
	for _, s := range sent {
		if ether.Header(s.Frame).Type() != ether.TypeIPv4 {
			continue
		}
		h, p, c := ipv4.Parse(s.Frame[link.HeaderLen:])
		if c != ipv4.CauseNone {
			out = append(out, fmt.Sprintf("  sends by %d: %v: %x", s.Device, c, s.Frame))
			continue
		}
		if h.Protocol() == ipv4.ProtocolIGMP {
			continue
		}
		out = append(out, fmt.Sprintf("  sends by %d: %s %s", s.Device, header(h, ids), transport(h, p)))
	}
	return out
}

func header(h ipv4.Header, ids map[uint16]int) string {
	var b strings.Builder
	src, dst := h.Src(), h.Dst()
	fmt.Fprintf(&b, "%d.%d.%d.%d > %d.%d.%d.%d proto %d ttl %d tos %#x", src[0], src[1], src[2], src[3],
		dst[0], dst[1], dst[2], dst[3], h.Protocol(), h.TTL(), h.TOS())
	if h.DontFragment() {
		b.WriteString(" DF")
	} else if h.IsFragment() {
		if ids[h.ID()] == 0 {
			ids[h.ID()] = len(ids) + 1
		}
		fmt.Fprintf(&b, " id %d", ids[h.ID()])
	}
	if h.IsFragment() {
		fmt.Fprintf(&b, " at %d more %t", h.FragmentOffset(), h.MoreFragments())
	}
	if o := h.Options(); len(o) > 0 {
		fmt.Fprintf(&b, " options %x", []byte(o))
	}
	return b.String()
}

// firstEphemeral is the first port that a host chooses itself
// (net.ipv4.ip_local_port_range); programs use lower ones.
const firstEphemeral = 32768

func transport(h ipv4.Header, p []byte) string {
	p = append([]byte(nil), p...)
	sum := ""
	switch {
	case h.IsFragment() && h.FragmentOffset() > 0:
	case h.Protocol() == ipv4.ProtocolICMP && len(p) >= icmp.HeaderLen && p[0] == icmp.Echo:
		clear(p[2:6]) // hosts choose any ident
	case h.IsFragment():
		if h.Protocol() == ipv4.ProtocolUDP && len(p) >= udp.HeaderLen && p[0] >= firstEphemeral>>8 {
			p[0], p[1], p[6], p[7] = 0xff, 0xff, 0, 0
		}
	case h.Protocol() == ipv4.ProtocolUDP && len(p) >= udp.HeaderLen:
		sum = " checksum " + udpSum(h, p)
		p[6], p[7] = 0, 0
		if p[0] >= firstEphemeral>>8 {
			p[0], p[1] = 0xff, 0xff // one that the host has chosen
		}
	case h.Protocol() == ipv4.ProtocolICMP && len(p) >= icmp.TimestampLen && p[0] == icmp.TimestampReply:
		clear(p[2:4])
		clear(p[12:20])
	}
	if len(p) <= 48 {
		return fmt.Sprintf("%x%s", p, sum)
	}
	return fmt.Sprintf("%x... %d bytes (%08x)%s", p[:12], len(p), crc32.ChecksumIEEE(p), sum)
}

// udpSum says whether a UDP checksum is right, or what a device is left to finish.
func udpSum(h ipv4.Header, p []byte) string {
	if p[6]|p[7] == 0 {
		return "none"
	}
	u, _, c := udp.Parse(p)
	if c == udp.CauseNone && udp.VerifyChecksum(h.Src(), h.Dst(), u) {
		return "right"
	}
	var pseudo [12]byte
	src, dst := h.Src(), h.Dst()
	copy(pseudo[:], src[:])
	copy(pseudo[4:], dst[:])
	pseudo[9] = ipv4.ProtocolUDP
	binary.BigEndian.PutUint16(pseudo[10:], uint16(len(p)))
	if binary.BigEndian.Uint16(p[6:]) == checksum.Sum(pseudo[:], 0) {
		return "right"
	}
	return "wrong"
}
