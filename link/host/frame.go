package host

import (
	"github.com/outband/outband/ether"
	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/link"
)

// frame makes a frame of datagram i: headers are written before the payload.
func (r *receiver) frame(f *link.Frame, i int) {
	d := &r.in[i]
	slot := r.memory[i*slotSize : (i+1)*slotSize]
	kind, mac := kindOf(d)
	f.Meta = link.Meta{Checksum: link.ChecksumValid, Type: kind, Device: d.Device, Holder: d.Holder, Mark: d.Mark, Priority: d.Priority}
	if d.Error.Type != 0 {
		f.Data = errorFrame(slot, d)
	} else {
		f.Data = datagramFrame(slot, d)
	}
	f.WireLen = len(f.Data) + max(0, d.Len-len(d.Buffer))
	ether.Put(f.Data, mac, link.MAC{}, ether.TypeIPv4)
	if d.Time != 0 {
		f.Time, f.Clock = d.Time, link.ClockSoftware
	}
	if d.SegmentSize != 0 {
		f.GSO, f.GSOSize = link.GSOUDP, d.SegmentSize
	}
}

// datagramFrame writes the headers of a UDP datagram before its payload, and returns the
// frame, which still lacks its Ethernet header.
func datagramFrame(slot []byte, d *holder.Datagram) []byte {
	ip := ipFields{tos: d.TOS, ttl: d.TTL, protocol: protocolUDP, source: d.Source, destination: d.Destination, options: d.Options()}
	data := slot[headroom-link.HeaderLen-ip.len()-udpHeaderLen : headroom+min(d.Len, len(d.Buffer))]
	udp := ip.put(data[link.HeaderLen:], udpHeaderLen+d.Len)
	putUDP(udp, d.SourcePort, d.Port, d.Len)
	return data
}

// quotedTTL is the time to live in the quoted header of an error, which nobody knows.
const quotedTTL = 64

// errorFrame writes the ICMP error about a datagram before what it has quoted of the payload,
// as datagramFrame does. The quoted header has but what identifies the socket.
func errorFrame(slot []byte, d *holder.Datagram) []byte {
	payload := min(d.Len, len(d.Buffer), ipMaxLen-errorHeaders)
	outer := ipFields{tos: d.TOS, ttl: d.TTL, protocol: protocolICMP, source: d.Source, destination: d.Destination}
	quoted := ipFields{ttl: quotedTTL, protocol: protocolUDP, source: d.Destination, destination: d.Error.Peer}
	data := slot[headroom-link.HeaderLen-errorHeaders : headroom+payload]
	icmp := outer.put(data[link.HeaderLen:], errorHeaders-ipMinHeaderLen+payload)
	udp := quoted.put(icmp[icmpHeaderLen:], udpHeaderLen+payload)
	putUDP(udp, d.Port, d.Error.PeerPort, payload)
	putICMP(icmp, &d.Error)
	return data
}

// errorHeaders is the length of the headers of an error: its own two and the quoted two.
const errorHeaders = ipMinHeaderLen + icmpHeaderLen + ipMinHeaderLen + udpHeaderLen

// kindOf returns to whom a datagram was addressed, and the hardware address for that: of
// those to one the host's own, which on lo is zero.
func kindOf(d *holder.Datagram) (link.PacketType, link.MAC) {
	switch dst := d.Destination; {
	case dst[0]&0xf0 == 0xe0: // RFC 1112, section 4; the address by section 6.4
		return link.Multicast, link.MAC{0x01, 0x00, 0x5e, dst[1] & 0x7f, dst[2], dst[3]}
	case dst != d.Local:
		return link.Broadcast, ether.Broadcast // directed or limited: the host has not this address
	default:
		return link.Host, link.MAC{}
	}
}
