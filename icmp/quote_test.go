package icmp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/outband/outband/ipv4"
)

// udpPacket returns the first n bytes, from 20, of a UDP packet from
// 10.0.0.1:40000 to 10.0.0.2:53 of at least 28 bytes.
func udpPacket(n int) []byte {
	b := make([]byte, max(n, 28))
	copy(b, []byte{0x45, 0x10, 0, 0, 0xab, 0xcd, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 53})
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[24:], uint16(len(b)-20))
	return b[:n]
}

// extended returns an error that quotes n bytes, says that it quotes words*4,
// and has an extension structure behind them (RFC 4884, 7).
func extended(t testing.TB, typ uint8, n int, words uint8) Message {
	t.Helper()
	q := make([]byte, n)
	copy(q, udpPacket(100))
	q = append(q, 0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 2, 3) // version 2, one MPLS label (RFC 4950)
	return AppendError(nil, typ, 0, uint32(words)<<16, q)
}

func TestParseQuote(t *testing.T) {
	m := Message(AppendError(nil, DestinationUnreachable, CodePort, 0, udpPacket(100)))
	q, ok := ParseQuote(m)
	if !ok || q.Src != (ipv4.Addr{10, 0, 0, 1}) || q.Dst != (ipv4.Addr{10, 0, 0, 2}) || q.Protocol != 17 || q.TotalLen != 100 ||
		q.ID != 0xabcd || q.TTL != 64 || q.TOS != 0x10 || !q.DontFragment || q.MoreFragments || q.FragmentOffset != 0 ||
		q.HeaderLen != 20 || q.SrcPort() != 40000 || q.DstPort() != 53 || q.UDPLength() != 80 || len(q.Transport) != 80 {
		t.Errorf("ParseQuote = %+v, %v", q, ok)
	}
}

func TestParseQuoteOfEcho(t *testing.T) {
	ip := udpPacket(28)
	ip[9] = Protocol
	copy(ip[20:], AppendEcho(nil, Echo, 77, 99, nil))
	q, ok := ParseQuote(AppendError(nil, TimeExceeded, CodeTTL, 0, ip))
	if !ok || q.ICMPType() != Echo || q.Ident() != 77 || q.Seq() != 99 {
		t.Errorf("ParseQuote = %+v, %v", q, ok)
	}
}

func TestParseQuoteLimits(t *testing.T) {
	options := append([]byte{0x4f}, udpPacket(20)[1:]...)
	options = append(options, make([]byte, 40)...)
	change := func(b []byte, i int, v byte) []byte { b[i] = v; return b }
	for _, tt := range []struct {
		name string
		ip   []byte
		ok   bool
	}{
		{"nothing", nil, false},
		{"19 bytes", udpPacket(28)[:19], false},
		{"header without transport", udpPacket(28)[:20], false},
		{"one byte too few", udpPacket(28)[:27], false},
		{"the least", udpPacket(28), true},
		{"total length beyond the quote", change(udpPacket(28), 2, 0x10), true},
		{"total length 0", change(change(udpPacket(28), 2, 0), 3, 0), true},
		{"total length below the least", change(udpPacket(40), 3, 21), true},
		{"version 6, which Linux does not look at", change(udpPacket(28), 0, 0x65), true},
		{"header length 16", change(udpPacket(28), 0, 0x44), false},
		{"header length beyond the quote", change(udpPacket(28), 0, 0x46), false},
		{"all options, cut", append(options, make([]byte, 7)...), false},
		{"all options", append(options, make([]byte, 8)...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if q, ok := ParseQuote(AppendError(nil, DestinationUnreachable, CodePort, 0, tt.ip)); ok != tt.ok {
				t.Errorf("ParseQuote = %+v, %v", q, ok)
			}
		})
	}
}

// The quoted total length cuts padding off if it leaves what every error quotes.
func TestQuotedTotalLength(t *testing.T) {
	for _, tt := range []struct {
		name    string
		first   byte // version and header length
		claimed uint16
		want    int // of 64 bytes
	}{
		{"the least", 0x45, 28, 28},
		{"less than the least", 0x45, 27, 64},
		{"the least with options", 0x46, 32, 32},
		{"less than that with options", 0x46, 31, 64},
		{"a header that is too short, the least", 0x44, 28, 28},
		{"a header that is too short, less", 0x44, 27, 64},
		{"one byte of padding", 0x45, 63, 63},
		{"all", 0x45, 64, 64},
		{"more than there is", 0x45, 65, 64},
	} {
		ip := udpPacket(64)
		ip[0] = tt.first
		binary.BigEndian.PutUint16(ip[2:], tt.claimed)
		if got := len(Quoted(AppendError(nil, TimeExceeded, CodeTTL, 0, ip))); got != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, got, tt.want)
		}
	}
}

func TestParseQuoteOfFragment(t *testing.T) {
	ip := udpPacket(28)
	ip[6], ip[7] = 0x20, 185
	q, ok := ParseQuote(AppendError(nil, TimeExceeded, CodeReassembly, 0, ip))
	if !ok || q.FragmentOffset != 1480 || !q.MoreFragments || q.DontFragment {
		t.Errorf("ParseQuote = %+v, %v", q, ok)
	}
}

func TestOnlyErrorsQuote(t *testing.T) {
	for typ := range 256 {
		m := AppendError(nil, uint8(typ), 0, 0, udpPacket(28))
		_, ok := ParseQuote(m)
		want := typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12
		if ok != want || (Quoted(m) != nil) != want {
			t.Errorf("type %d quotes: %v", typ, ok)
		}
	}
}

func TestExtensionsAreNotQuoted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		typ     uint8
		n       int
		words   uint8
		want    int
		claimed uint16 // the quoted total length
	}{
		{"exactly 128", DestinationUnreachable, 128, 32, 128, 500},
		{"160", TimeExceeded, 160, 40, 160, 500},
		{"parameter problem", ParameterProblem, 128, 32, 128, 500},
		{"zero padding goes too", TimeExceeded, 128, 32, 100, 100},
		{"no length: a sender before RFC 4884", TimeExceeded, 128, 0, 140, 500},
		{"no length, but the datagram's own", TimeExceeded, 128, 0, 100, 100},
		{"length below the least", TimeExceeded, 128, 31, 140, 500},
		{"length beyond the message", TimeExceeded, 128, 36, 140, 500},
		{"source quench has no length", SourceQuench, 128, 32, 140, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := extended(t, tt.typ, tt.n, tt.words)
			binary.BigEndian.PutUint16(m[HeaderLen+2:], tt.claimed)
			if q := Quoted(m); len(q) != tt.want || !bytes.Equal(q, m.Data()[:len(q)]) {
				t.Errorf("%d bytes quoted, want %d", len(q), tt.want)
			}
			if q, ok := ParseQuote(m); !ok || q.SrcPort() != 40000 {
				t.Errorf("ParseQuote = %+v, %v", q, ok)
			}
		})
	}
}
