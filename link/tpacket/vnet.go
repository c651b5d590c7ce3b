package tpacket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A vnetHeader is struct virtio_net_hdr, which PACKET_VNET_HDR puts before each
// frame (linux/virtio_net.h). Numbers are in the host's byte order.
type vnetHeader struct {
	flags      uint8
	gsoType    uint8
	hdrLen     uint16 // bytes of headers, to be kept in one piece
	gsoSize    uint16 // payload bytes of a segment
	csumStart  uint16 // where the checksum begins to count
	csumOffset uint16 // where it is written, from csumStart
}

const (
	vnetHeaderLen = 10

	vnetNeedsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum is to be filled in

	vnetGSONone  = 0 // VIRTIO_NET_HDR_GSO_NONE
	vnetGSOUDPL4 = 5 // VIRTIO_NET_HDR_GSO_UDP_L4, of Linux 6.2

	udpHeaderLen = 8
	// maxFrame is the longest frame that can be: an IPv4 datagram of 65535
	// bytes behind an Ethernet header with a tag.
	maxFrame = maxHeader + 65535
)

// The two must be of one size, or the kernel would read frames shifted.
var _ [vnetHeaderLen]byte = [unsafe.Sizeof(vnetHeader{})]byte{}

// special reports whether f needs a virtio_net_hdr.
func special(f *link.TxFrame) bool { return f.PartialChecksum || f.GSOSize != 0 }

// set fills h in for f. It returns EINVAL if the frame does not hold what it
// speaks of, and EMSGSIZE if a segment would be longer than mtu: the kernel
// does not look at that for GSO packets.
func (h *vnetHeader) set(f *link.TxFrame, mtu int) syscall.Errno {
	if !special(f) {
		*h = vnetHeader{}
		return 0
	}
	start, field := int(f.CsumStart), int(f.CsumStart)+int(f.CsumOffset)
	switch {
	case !f.PartialChecksum || start < link.HeaderLen || field+2 > len(f.Data):
		return unix.EINVAL
	case len(f.Data) > maxFrame:
		return unix.EMSGSIZE
	}
	*h = vnetHeader{flags: vnetNeedsCsum, csumStart: f.CsumStart, csumOffset: f.CsumOffset,
		hdrLen: uint16(field + 2)}
	if f.GSOSize == 0 {
		return 0
	}
	headers := start + udpHeaderLen
	switch {
	case len(f.Data) < headers:
		return unix.EINVAL
	case headers-link.HeaderLen+int(f.GSOSize) > mtu:
		return unix.EMSGSIZE
	}
	h.gsoType, h.gsoSize, h.hdrLen = vnetGSOUDPL4, f.GSOSize, uint16(headers)
	return 0
}

// gsoKind returns what a received header's gso_type says.
func gsoKind(t uint8) link.GSO {
	switch t {
	case vnetGSONone:
		return link.GSONone
	case vnetGSOUDPL4:
		return link.GSOUDP
	default:
		return link.GSOOther
	}
}
