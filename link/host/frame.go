package host

import (
	"github.com/outband/outband/ether"
	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/link"
)

// frame makes a frame of datagram i: the headers are written before the payload.
func (r *receiver) frame(f *link.Frame, i int) {
	d := &r.in[i]
	kind, mac := kindOf(d)
	ipLen := headerLenOf(d)
	headers := link.HeaderLen + ipLen + udpHeaderLen
	slot := r.memory[i*slotSize : (i+1)*slotSize]
	f.Data = slot[headroom-headers : headroom+min(d.Len, len(d.Buffer))]
	ether.Put(f.Data, mac, link.MAC{}, ether.TypeIPv4)
	putIP(f.Data[link.HeaderLen:][:ipLen], d)
	putUDP(f.Data[link.HeaderLen+ipLen:], d)
	f.Meta = link.Meta{WireLen: headers + d.Len, Checksum: link.ChecksumValid, Type: kind,
		Device: d.Device, Holder: d.Holder, Mark: d.Mark, Priority: d.Priority}
	if d.Time != 0 {
		f.Time, f.Clock = d.Time, link.ClockSoftware
	}
	if d.SegmentSize != 0 {
		f.GSO, f.GSOSize = link.GSOUDP, d.SegmentSize
	}
}

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
