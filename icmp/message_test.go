package icmp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/outband/outband/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sealed completes a message with its checksum.
func sealed(b []byte) []byte {
	b = bytes.Clone(b)
	b[2], b[3] = 0, 0
	return seal(b, 0)
}

// What ping(8) sends: ident 0x1234, sequence number 1, its data cut to 8 bytes.
const pingHex = "0800b99a1234000108090a0b0c0d0e0f"

func TestParse(t *testing.T) {
	ping := unhex(t, pingHex)
	flip := func(i int, bits byte) []byte {
		b := bytes.Clone(ping)
		b[i] ^= bits
		return b
	}
	for _, tt := range []struct {
		name  string
		in    []byte
		cause Cause
	}{
		{"nothing", nil, CauseTooShort},
		{"seven bytes", ping[:7], CauseTooShort},
		{"header only", sealed(ping[:8]), CauseNone},
		{"odd length", sealed(ping[:9]), CauseNone},
		{"ping", ping, CauseNone},
		{"one byte cut", ping[:15], CauseChecksum},
		{"type flipped", flip(0, 8), CauseChecksum},
		{"checksum flipped", flip(3, 1), CauseChecksum},
		{"data flipped", flip(9, 0x80), CauseChecksum},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, c := Parse(tt.in)
			if c != tt.cause || (m != nil) != (c == CauseNone) {
				t.Errorf("Parse = %x, %v; want %v", m, c, tt.cause)
			}
		})
	}
}

func TestGetters(t *testing.T) {
	m := Message(sealed(unhex(t, "0c0100000a000105aabb")))
	if m.Type() != ParameterProblem || m.Code() != 1 || m.Rest() != 0x0a000105 || m.Ident() != 0x0a00 ||
		m.Seq() != 0x0105 || m.MTU() != 0x0105 || m.Pointer() != 10 || m.Gateway() != (ipv4.Addr{10, 0, 1, 5}) ||
		!bytes.Equal(m.Data(), []byte{0xaa, 0xbb}) || m.Checksum() != binary.BigEndian.Uint16(m[2:]) {
		t.Errorf("getters of %x", m)
	}
}

func TestAppendEcho(t *testing.T) {
	data := unhex(t, pingHex)[8:]
	b := AppendEcho([]byte("before"), Echo, 0x1234, 1, data)
	m, c := Parse(b[6:])
	if c != CauseNone || m.Type() != Echo || m.Code() != 0 || m.Ident() != 0x1234 || m.Seq() != 1 || !bytes.Equal(m.Data(), data) {
		t.Fatalf("AppendEcho wrote %x (%v)", b, c)
	}
	r := AppendEchoReply([]byte("kept"), m)
	if string(r[:4]) != "kept" {
		t.Errorf("AppendEchoReply changed what was before: %q", r[:4])
	}
	reply, c := Parse(r[4:])
	if c != CauseNone || reply.Type() != EchoReply || reply.Rest() != m.Rest() || !bytes.Equal(reply.Data(), data) {
		t.Errorf("AppendEchoReply wrote %x (%v)", r, c)
	}
}

func TestAppendTimestampReply(t *testing.T) {
	req := sealed(unhex(t, "0d00000012340001"+"00000064"+"ffffffff"+"ffffffff"))
	m, c := Parse(AppendTimestampReply(nil, req, 86399999))
	if want := "00000064" + "05265bff" + "05265bff"; c != CauseNone || len(m) != TimestampLen || m.Type() != TimestampReply ||
		m.Code() != 0 || m.Rest() != 0x12340001 || hex.EncodeToString(m.Data()) != want {
		t.Errorf("reply %x (%v), want times %s", m, c, want)
	}
	for n := HeaderLen; n < len(req); n++ {
		b := AppendTimestampReply([]byte{1}, sealed(req[:n]), 5)
		if want := n >= HeaderLen+4; (len(b) == 1+TimestampLen) != want || !want && len(b) != 1 {
			t.Errorf("request of %d bytes: %d bytes appended", n, len(b)-1)
		}
	}
}

func TestAppendError(t *testing.T) {
	quoted := bytes.Repeat([]byte{0x45, 1, 2}, 300)
	for _, tt := range []struct {
		name      string
		typ, code uint8
		rest      uint32
		n, want   int
	}{
		{"port unreachable", DestinationUnreachable, CodePort, 0, 28, 28},
		{"fragmentation needed", DestinationUnreachable, CodeFragmentation, FragmentationRest(1400), 548, 548},
		{"parameter problem", ParameterProblem, CodePointer, PointerRest(21), 549, 548},
		{"reassembly", TimeExceeded, CodeReassembly, 0, 900, 548},
		{"nothing to quote", TimeExceeded, CodeReassembly, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, c := Parse(AppendError(nil, tt.typ, tt.code, tt.rest, quoted[:tt.n]))
			if c != CauseNone || m.Type() != tt.typ || m.Code() != tt.code || m.Rest() != tt.rest ||
				!bytes.Equal(m.Data(), quoted[:tt.want]) {
				t.Errorf("AppendError wrote %x (%v)", m, c)
			}
			if n := 20 + len(m); n > MaxErrorPacket {
				t.Errorf("packet of %d bytes", n)
			}
		})
	}
	if m := Message(AppendError(nil, 3, 4, FragmentationRest(1400), nil)); m.MTU() != 1400 {
		t.Errorf("MTU = %d, want 1400", m.MTU())
	}
	if m := Message(AppendError(nil, 12, 0, PointerRest(21), nil)); m.Pointer() != 21 {
		t.Errorf("Pointer = %d, want 21", m.Pointer())
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	req := Message(AppendEcho(nil, Echo, 1, 2, make([]byte, 56)))
	stamp := Message(AppendEcho(nil, Timestamp, 1, 2, make([]byte, 12)))
	quoted := make([]byte, 1000)
	l := NewLimiter(DefaultLimiterConfig(), func() uint64 { return 5 })
	l.Allow(0, ipv4.Addr{10, 0, 0, 1}, TimeExceeded)
	if n := testing.AllocsPerRun(100, func() {
		if _, c := Parse(req); c != CauseNone {
			t.Fatal(c)
		}
		AppendEchoReply(buf, req)
		AppendTimestampReply(buf, stamp, 7)
		m := Message(AppendError(buf, TimeExceeded, CodeReassembly, 0, quoted))
		ParseQuote(m)
		Errno(m.Type(), m.Code())
		MayAnswer(Trigger{Src: ipv4.Addr{10, 0, 0, 1}})
		l.Allow(0, ipv4.Addr{10, 0, 0, 1}, TimeExceeded)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestCauseStrings(t *testing.T) {
	seen := map[string]bool{}
	for c := range NumCauses {
		if s := c.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("cause %d: %q", c, s)
		} else {
			seen[s] = true
		}
	}
	if NumCauses.String() != "unknown" {
		t.Errorf("cause beyond the last: %q", NumCauses)
	}
}

// TestShorten cuts a message that has a right checksum: what is left has one too.
func TestShorten(t *testing.T) {
	m := Message(AppendError(nil, TimeExceeded, CodeTTL, 0, udpPacket(100)))
	short := Shorten(bytes.Clone(m), HeaderLen+29)
	if _, c := Parse(short); c != CauseNone || len(short) != HeaderLen+29 || !bytes.Equal(short[4:], m[4:len(short)]) {
		t.Errorf("% x: %v", short, c)
	}
}

func TestKnown(t *testing.T) {
	for typ := range 256 {
		if got, want := Known(uint8(typ)), typ <= 18 || typ == 42 || typ == 43; got != want {
			t.Errorf("type %d: %t", typ, got)
		}
	}
}

func TestFilter(t *testing.T) {
	f := ICMPFilter(1<<Echo | 1<<31)
	for typ := range 256 {
		if want := typ == Echo || typ == 31; f.Blocks(uint8(typ)) != want {
			t.Errorf("type %d: blocked %v", typ, !want)
		}
		if ICMPFilter(0).Blocks(uint8(typ)) {
			t.Errorf("type %d: blocked by the zero filter", typ)
		}
		if all := ^ICMPFilter(0); all.Blocks(uint8(typ)) != (typ < 32) {
			t.Errorf("type %d: blocked %v by the full filter", typ, all.Blocks(uint8(typ)))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, pingHex))
	f.Add(AppendError(nil, DestinationUnreachable, CodePort, 0, udpPacket(28)))
	f.Add([]byte(extended(f, TimeExceeded, 160, 32)))
	f.Add(AppendEcho(nil, Timestamp, 1, 2, make([]byte, 12)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, c := Parse(b)
		if c == CauseChecksum {
			m, c = Parse(sealed(b)) // so that the rest is reached
		}
		if c != CauseNone {
			return
		}
		if checksum.Checksum(m, 0) != 0xffff {
			t.Fatalf("checksum of %x", m)
		}
		_, _, _, _, _, _ = m.Ident(), m.Seq(), m.MTU(), m.Pointer(), m.Gateway(), m.Checksum()
		Errno(m.Type(), m.Code())
		quoted := Quoted(m)
		if len(quoted) > len(m.Data()) || quoted != nil && !IsError(m.Type()) {
			t.Fatalf("%x quotes %x", m, quoted)
		}
		if q, ok := ParseQuote(m); ok {
			if q.HeaderLen < 20 || len(q.Transport) < 8 || q.HeaderLen+len(q.Transport) != len(quoted) {
				t.Fatalf("%x quotes %+v", m, q)
			}
			_, _, _, _, _, _ = q.SrcPort(), q.DstPort(), q.UDPLength(), q.ICMPType(), q.Ident(), q.Seq()
		}
		for _, r := range [][]byte{AppendEchoReply(nil, m), AppendTimestampReply(nil, m, 1),
			AppendError(nil, TimeExceeded, 0, 0, b)} {
			if len(r) == 0 {
				continue
			}
			if _, c := Parse(r); c != CauseNone {
				t.Fatalf("wrote %x: %v", r, c)
			}
		}
	})
}

func BenchmarkEchoReply(b *testing.B) {
	req := AppendEcho(nil, Echo, 1, 2, make([]byte, 56))
	buf := make([]byte, 0, 100)
	for b.Loop() {
		m, c := Parse(req)
		if c != CauseNone {
			b.Fatal(c)
		}
		AppendEchoReply(buf, m)
	}
}

func BenchmarkParseQuote(b *testing.B) {
	m := Message(AppendError(nil, DestinationUnreachable, CodePort, 0, udpPacket(28)))
	for b.Loop() {
		if _, ok := ParseQuote(m); !ok {
			b.Fatal("no quote")
		}
	}
}
