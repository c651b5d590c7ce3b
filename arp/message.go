package arp

import (
	"encoding/binary"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// Len is the length in bytes of an ARP packet for IPv4 on Ethernet: 8 fixed
// bytes, two hardware and two protocol addresses (RFC 826, "Packet format").
const Len = 28

// Hardware types (IANA "Address Resolution Protocol Parameters").
const (
	HardwareEthernet = 1 // Ethernet; the one that is sent
	HardwareIEEE802  = 6 // IEEE 802 networks; accepted too, as Linux does (RFC 1390, RFC 2625)
)

// ProtocolIPv4 is the protocol type for IPv4, which is its EtherType (RFC 826).
const ProtocolIPv4 = 0x0800

// Operations (RFC 826; IANA "Address Resolution Protocol Parameters"). Others
// exist, such as RARP and inverse ARP; hosts here do not speak them.
const (
	OpRequest = 1 // who has the target address?
	OpReply   = 2 // the sender has it
)

// A Message is a view of an ARP packet for IPv4 on Ethernet, without the
// Ethernet header. Make one with [Parse]; after that its getters never panic.
type Message []byte

// Parse returns a view of the ARP packet at the start of b. What follows in b is
// the padding of a short Ethernet frame, and left out of the view. Parse checks
// what makes the packet one of ARP for IPv4 on Ethernet: length, types, address
// lengths and operation. What the addresses say is not checked here.
// The view is nil if the Cause is not [CauseNone].
func Parse(b []byte) (Message, Cause) {
	if len(b) < Len {
		return nil, CauseTooShort
	}
	m := Message(b[:Len:Len])
	switch hw := m.HardwareType(); {
	case hw != HardwareEthernet && hw != HardwareIEEE802:
		return nil, CauseHardwareType
	case m.ProtocolType() != ProtocolIPv4:
		return nil, CauseProtocolType
	case m[4] != 6:
		return nil, CauseHardwareLen
	case m[5] != 4:
		return nil, CauseProtocolLen
	}
	if op := m.Op(); op != OpRequest && op != OpReply {
		return nil, CauseOperation
	}
	return m, CauseNone
}

// HardwareType returns the kind of hardware address: [HardwareEthernet] or
// [HardwareIEEE802] (RFC 826, ar$hrd).
func (m Message) HardwareType() uint16 { return binary.BigEndian.Uint16(m[0:2]) }

// ProtocolType returns the kind of protocol address: [ProtocolIPv4] (RFC 826, ar$pro).
func (m Message) ProtocolType() uint16 { return binary.BigEndian.Uint16(m[2:4]) }

// Op returns the operation: [OpRequest] or [OpReply] (RFC 826, ar$op).
func (m Message) Op() uint16 { return binary.BigEndian.Uint16(m[6:8]) }

// SenderMAC returns the hardware address of the packet's sender (RFC 826, ar$sha).
func (m Message) SenderMAC() ether.MAC { return ether.MAC(m[8:14]) }

// SenderIP returns the address of the packet's sender (RFC 826, ar$spa); 0.0.0.0
// in an ARP probe (RFC 5227 section 1.1).
func (m Message) SenderIP() ipv4.Addr { return ipv4.Addr(m[14:18]) }

// TargetMAC returns the hardware address of the host that the packet is for (RFC 826,
// ar$tha). It means nothing in a request.
func (m Message) TargetMAC() ether.MAC { return ether.MAC(m[18:24]) }

// TargetIP returns the address asked for in a request, and that of the asker in
// a reply (RFC 826, ar$tpa).
func (m Message) TargetIP() ipv4.Addr { return ipv4.Addr(m[24:28]) }

// IsProbe reports whether the packet asks if anybody uses the target address
// before the sender takes it: a request from 0.0.0.0 (RFC 5227 section 1.1).
func (m Message) IsProbe() bool {
	return m.Op() == OpRequest && m.SenderIP().IsUnspecified()
}

// IsGratuitous reports whether the packet is an announcement: sender and target
// address are the same, and in a reply the hardware addresses too, which is
// where Linux draws the line (RFC 5944 section 4.6; arp_is_garp in net/ipv4/arp.c).
func (m Message) IsGratuitous() bool {
	return m.SenderIP() == m.TargetIP() && (m.Op() == OpRequest || m.SenderMAC() == m.TargetMAC())
}

// put writes an ARP packet.
func put(b *[Len]byte, op uint16, senderMAC ether.MAC, senderIP ipv4.Addr, targetMAC ether.MAC, targetIP ipv4.Addr) {
	binary.BigEndian.PutUint16(b[0:], HardwareEthernet)
	binary.BigEndian.PutUint16(b[2:], ProtocolIPv4)
	b[4], b[5] = 6, 4
	binary.BigEndian.PutUint16(b[6:], op)
	*(*ether.MAC)(b[8:]) = senderMAC
	*(*ipv4.Addr)(b[14:]) = senderIP
	*(*ether.MAC)(b[18:]) = targetMAC
	*(*ipv4.Addr)(b[24:]) = targetIP
}
