package memory

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
)

// Numbers of the protocols whose checksums can be left to a device.
const (
	protocolTCP  = 6  // protocol numbers, IANA
	protocolUDP  = 17 // protocol numbers, IANA
	udpHeaderLen = 8  // RFC 768
)

// MaxFrame is the longest frame that any link in memory takes, in bytes: an IPv4
// datagram of the greatest length (RFC 791, section 3.1) behind an Ethernet header
// with a tag.
const MaxFrame = 65535 + link.HeaderLen + ether.TagLen

// Offload is where a frame's transport checksum is.
type Offload struct {
	Network  int // offset of the IP header in bytes
	Start    int // offset of the transport header, where the sum begins
	Offset   int // offset of the checksum field from Start
	Protocol uint8
	IPv4     bool
}

// FindOffload looks for the transport checksum of a frame: UDP or TCP, in an
// unfragmented IPv4 datagram or in IPv6 without extension headers, behind at most
// two tags. It returns false for anything else, and for a frame that is too short.
func FindOffload(frame []byte) (o Offload, ok bool) {
	at := 12
	for range 3 {
		if len(frame) < at+2 {
			return o, false
		}
		t := ether.Type(binary.BigEndian.Uint16(frame[at:]))
		if t.IsTag() {
			at += ether.TagLen
			continue
		}
		o.Network = at + 2
		switch t {
		case ether.TypeIPv4:
			return findIPv4(frame, o)
		case ether.TypeIPv6:
			return findIPv6(frame, o)
		}
		return o, false
	}
	return o, false
}

// findIPv4 is FindOffload for the IPv4 header at o.Network (RFC 791, section 3.1).
func findIPv4(frame []byte, o Offload) (Offload, bool) {
	ip := frame[o.Network:]
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return o, false
	}
	headerLen := int(ip[0]&0xf) * 4
	moreFragmentsOrOffset := binary.BigEndian.Uint16(ip[6:]) & 0x3fff
	if headerLen < 20 || len(ip) < headerLen || moreFragmentsOrOffset != 0 {
		return o, false
	}
	o.IPv4, o.Protocol = true, ip[9]
	o.Start = o.Network + headerLen
	return findTransport(frame, o)
}

// findIPv6 is FindOffload for the IPv6 header at o.Network (RFC 8200, section 3).
func findIPv6(frame []byte, o Offload) (Offload, bool) {
	ip := frame[o.Network:]
	if len(ip) < 40 || ip[0]>>4 != 6 {
		return o, false
	}
	o.Protocol = ip[6]
	o.Start = o.Network + 40
	return findTransport(frame, o)
}

// findTransport is FindOffload for the transport header at o.Start.
func findTransport(frame []byte, o Offload) (Offload, bool) {
	headerLen := 0
	switch o.Protocol {
	case protocolUDP:
		o.Offset, headerLen = 6, udpHeaderLen // RFC 768
	case protocolTCP:
		o.Offset, headerLen = 16, 20 // RFC 9293, section 3.1
	default:
		return o, false
	}
	return o, len(frame) >= o.Start+headerLen
}

// Sum returns the transport checksum of a frame whose field holds the sum of the
// pseudo-header: the Internet checksum (RFC 1071) of all bytes from start, never 0
// (RFC 768: 0 means that there is none).
func Sum(frame []byte, start int) uint16 {
	return nonZero(^checksum.Checksum(frame[start:], 0))
}

// Fill writes the transport checksum of a frame at start+offset, as
// [link.TxFrame] asks for. It returns false, and does nothing, if the frame is too
// short for that.
func Fill(frame []byte, start, offset int) bool {
	if !Fits(frame, start, offset) {
		return false
	}
	binary.BigEndian.PutUint16(frame[start+offset:], Sum(frame, start))
	return true
}

// Fits reports whether a checksum field at start+offset lies in the frame.
func Fits(frame []byte, start, offset int) bool {
	return start >= 0 && offset >= 0 && start+offset+2 <= len(frame)
}

// MendedSum returns what the transport checksum of a frame must be, computed from
// the pseudo-header on, whatever the field holds. The frame is whole, and o is what
// FindOffload found in it; padding behind the datagram is not summed.
func MendedSum(frame []byte, o Offload) uint16 {
	segment := frame[o.Start:]
	from, to := o.Network+8, o.Network+40 // IPv6's addresses
	if o.IPv4 {
		from, to = o.Network+12, o.Network+20
		total := int(binary.BigEndian.Uint16(frame[o.Network+2:]))
		if n := total - (o.Start - o.Network); n >= o.Offset+2 && n < len(segment) {
			segment = segment[:n]
		}
	}
	length := len(segment)
	sum := checksum.Checksum(frame[from:to], uint16(o.Protocol))
	sum = checksum.Combine(sum, uint16(length))
	sum = checksum.Combine(sum, uint16(length>>16))
	sum = checksum.Checksum(segment[:o.Offset], sum)
	sum = checksum.Checksum(segment[o.Offset+2:], sum)
	return nonZero(^sum)
}

// Mend writes the transport checksum of a whole frame, if it has one.
func Mend(frame []byte) bool {
	o, ok := FindOffload(frame)
	if ok {
		binary.BigEndian.PutUint16(frame[o.Start+o.Offset:], MendedSum(frame, o))
	}
	return ok
}

// nonZero returns a sum as it is transmitted.
func nonZero(sum uint16) uint16 {
	if sum == 0 {
		return 0xffff
	}
	return sum
}

// A Segmenter cuts a UDP GSO packet into the frames that stand for it on a wire,
// as Linux does (udp_gso_segment, inet_gso_segment): each gets the headers with its
// own lengths, identification and checksums.
type Segmenter struct {
	frame   []byte
	o       Offload
	size    int
	at      int // offset of the next payload byte
	segment int // number of the next segment
}

// Init starts cutting a GSO packet with size bytes of payload in each segment. It
// returns false if the frame is not UDP, or size is 0. The frame must not change
// until the last Next.
func (s *Segmenter) Init(frame []byte, size uint16) bool {
	o, ok := FindOffload(frame)
	*s = Segmenter{frame: frame, o: o, size: int(size), at: o.Start + udpHeaderLen}
	return ok && o.Protocol == protocolUDP && size > 0
}

// Next writes the next segment over buf and returns it, or nil after the last. The
// buffer grows as it must.
func (s *Segmenter) Next(buf []byte) []byte {
	if s.at >= len(s.frame) && s.segment > 0 {
		return nil
	}
	end := min(s.at+s.size, len(s.frame))
	buf = append(buf[:0], s.frame[:s.o.Start+udpHeaderLen]...)
	buf = append(buf, s.frame[s.at:end]...)
	ip, udp := buf[s.o.Network:], buf[s.o.Start:]
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	if s.o.IPv4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(s.segment))
		header := ip[:s.o.Start-s.o.Network]
		header[10], header[11] = 0, 0
		binary.BigEndian.PutUint16(header[10:], ^checksum.Checksum(header, 0))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
	}
	binary.BigEndian.PutUint16(udp[6:], MendedSum(buf, s.o))
	s.at = end
	s.segment++
	return buf
}

// CheckTx returns nil if a link with the given capabilities and MTU can send a
// frame, or the errno that Send returns: EINVAL for a frame that makes no sense,
// EOPNOTSUPP for what the link cannot do, EMSGSIZE for a frame, or a segment of a
// GSO packet, that is longer than the MTU.
func CheckTx(f *link.TxFrame, caps link.Caps, mtu int) error {
	if !f.PartialChecksum && f.GSOSize == 0 {
		return checkLength(len(f.Data), mtu)
	}
	switch {
	case !f.PartialChecksum, !Fits(f.Data, int(f.CsumStart), int(f.CsumOffset)):
		return unix.EINVAL
	case caps&link.CapChecksum == 0, f.GSOSize != 0 && caps&link.CapGSO == 0:
		return unix.EOPNOTSUPP
	case f.GSOSize == 0:
		return checkLength(len(f.Data), mtu)
	case len(f.Data) > MaxFrame:
		return unix.EMSGSIZE
	}
	return checkLength(min(len(f.Data), int(f.CsumStart)+udpHeaderLen+int(f.GSOSize)), mtu)
}

// checkLength is CheckTx for a frame of n bytes without offloads.
func checkLength(n, mtu int) error {
	if n < link.HeaderLen {
		return unix.EINVAL
	}
	if n > mtu+link.HeaderLen {
		return unix.EMSGSIZE
	}
	return nil
}
