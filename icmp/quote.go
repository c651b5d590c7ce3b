package icmp

import (
	"encoding/binary"

	"github.com/outband/outband/ipv4"
)

// minQuotedHeader is the length in bytes of an IPv4 header without options
// (RFC 791, 3.1).
const minQuotedHeader = 20

// minQuotedTransport is how many bytes behind the IP header every error quotes (RFC 792).
const minQuotedTransport = 8

// reservedProtocol is no protocol (RFC 5237, IANA's registry): a raw socket of that
// number is never told of anything.
const reservedProtocol = 255

// minExtended is the least length in bytes of the quoted datagram, padded with
// zeros if need be, that extensions follow (RFC 4884, 4).
const minExtended = 128

// Quoted returns the IP packet that an error quotes, as far as it quotes it: a
// view of m, without the extensions that may follow it (RFC 4884) and without
// padding. It is nil if m's type is not one that quotes. What it returns is as
// the sender of the error wrote it; ParseQuote checks it.
func Quoted(m Message) []byte {
	q := m.Data()
	switch m.Type() {
	case DestinationUnreachable, TimeExceeded, ParameterProblem:
		// RFC 4884, 4: the quoted length in words of four bytes, 0 if there
		// are no extensions. Senders that know no RFC 4884 may leave anything
		// here, so too small a length means nothing.
		if n := int(m[5]) * 4; n >= minExtended && n <= len(q) {
			q = q[:n]
		}
	case SourceQuench, Redirect:
	default:
		return nil
	}
	if len(q) >= minQuotedHeader {
		// Some senders quote a total length that they have changed: it counts
		// only if it leaves what every error quotes.
		n := int(binary.BigEndian.Uint16(q[2:4]))
		if n >= max(int(q[0]&0x0f)*4, minQuotedHeader)+minQuotedTransport && n < len(q) {
			q = q[:n]
		}
	}
	return q
}

// A Quote is the beginning of the datagram that an error is about: sent from
// Src to Dst, or so the error says.
type Quote struct {
	Src, Dst       ipv4.Addr
	TotalLen       int // of the IP packet, bytes; may be more than is quoted
	HeaderLen      int // of the IP header, bytes
	FragmentOffset int // bytes; if not 0, Transport is not the transport header
	ID             uint16
	Protocol       uint8
	TTL            uint8
	TOS            uint8
	DontFragment   bool
	MoreFragments  bool
	// Transport is what is quoted of the IP packet's payload, at least 8
	// bytes: a view of the message.
	Transport []byte
}

// QuotesHeader reports whether an error quotes the beginning of an IP header that may be
// one, which is less than ParseQuote asks for.
func QuotesHeader(m Message) bool {
	b := Quoted(m)
	return len(b) >= minQuotedHeader && int(b[0]&0x0f)*4 >= minQuotedHeader
}

// ParseQuote returns what an error quotes. ok is false if it is not an error
// that quotes, or does not quote a whole IPv4 header and 8 bytes behind it, the
// least that RFC 792 asks for, of a protocol that datagrams can have. As in Linux
// nothing else is looked at that does not name the flow: routers change the TTL,
// quote lengths and offsets in their own byte order, and leave sums wrong.
func ParseQuote(m Message) (q Quote, ok bool) {
	b := Quoted(m)
	if len(b) < minQuotedHeader+minQuotedTransport {
		return q, false
	}
	hlen := int(b[0]&0x0f) * 4
	if hlen < minQuotedHeader || len(b) < hlen+minQuotedTransport || b[9] == reservedProtocol {
		return q, false
	}
	frag := binary.BigEndian.Uint16(b[6:8])
	return Quote{
		Src:            ipv4.Addr(b[12:16]),
		Dst:            ipv4.Addr(b[16:20]),
		TotalLen:       int(binary.BigEndian.Uint16(b[2:4])),
		HeaderLen:      hlen,
		FragmentOffset: int(frag&0x1fff) * 8,
		ID:             binary.BigEndian.Uint16(b[4:6]),
		Protocol:       b[9],
		TTL:            b[8],
		TOS:            b[1],
		DontFragment:   frag&0x4000 != 0,
		MoreFragments:  frag&0x2000 != 0,
		Transport:      b[hlen:],
	}, true
}

// SrcPort returns the port that the datagram was sent from (UDP and TCP).
func (q *Quote) SrcPort() uint16 { return binary.BigEndian.Uint16(q.Transport[0:2]) }

// DstPort returns the port that the datagram was sent to (UDP and TCP).
func (q *Quote) DstPort() uint16 { return binary.BigEndian.Uint16(q.Transport[2:4]) }

// UDPLength returns the UDP length in bytes (RFC 768).
func (q *Quote) UDPLength() int { return int(binary.BigEndian.Uint16(q.Transport[4:6])) }

// ICMPType returns the type of a quoted ICMP message.
func (q *Quote) ICMPType() uint8 { return q.Transport[0] }

// ICMPCode returns the code of a quoted ICMP message.
func (q *Quote) ICMPCode() uint8 { return q.Transport[1] }

// Ident returns the identifier of a quoted echo.
func (q *Quote) Ident() uint16 { return binary.BigEndian.Uint16(q.Transport[4:6]) }

// Seq returns the sequence number of a quoted echo.
func (q *Quote) Seq() uint16 { return binary.BigEndian.Uint16(q.Transport[6:8]) }
