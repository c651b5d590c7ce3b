package output

import (
	"encoding/binary"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/udp"
)

// PutGSO writes the headers of a GSO packet of n datagrams with total bytes of
// payload, whose checksums the link fills in.
func (p *Path) PutGSO(b []byte, total, n int) {
	*(*[HeadersLen]byte)(b) = p.Header
	length := uint16(ipv4.MinHeaderLen + udp.HeaderLen + total)
	var id uint16
	if !p.DF {
		id = p.Dev.t.Ident.Next(p.Dev.t.Clock.Now(), p.Hop.Src, p.Dst, ipv4.ProtocolUDP, n)
	}
	ipv4.Patch(b[IPOffset:UDPOffset], p.ipSum, length, id)
	binary.BigEndian.PutUint16(b[UDPOffset+4:], uint16(udp.HeaderLen+total))
	binary.BigEndian.PutUint16(b[UDPOffset+6:], udp.PseudoSum(p.Hop.Src, p.Dst, udp.HeaderLen+total))
}

// AddGSO queues a GSO packet like add, to be cut into datagrams of size bytes.
func (tx *Buffer) AddGSO(frame []byte, size, message int) {
	tx.Add(frame, message)
	f := &tx.Batch[len(tx.Batch)-1]
	f.PartialChecksum, f.CsumStart, f.CsumOffset = true, UDPOffset, 6
	f.GSOSize = uint16(size)
	tx.special = true
}
