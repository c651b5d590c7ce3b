package udp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/outband/outband/ipv4"
)

func header(sport, dport, length, sum uint16, payload string) []byte {
	var b []byte
	for _, v := range []uint16{sport, dport, length, sum} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(b, payload...)
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		in      []byte
		payload string
		cause   Cause
	}{
		{"nothing", nil, "", CauseNoHeader},
		{"seven bytes", make([]byte, 7), "", CauseNoHeader},
		{"empty payload", header(1, 2, 8, 0, ""), "", CauseNone},
		{"exact", header(1, 2, 11, 0, "abc"), "abc", CauseNone},
		{"padded", header(1, 2, 9, 0, "abc"), "a", CauseNone},
		{"padded to Ethernet's minimum", header(1, 2, 8, 0, string(make([]byte, 18))), "", CauseNone},
		{"length one too large", header(1, 2, 12, 0, "abc"), "", CauseLengthLarge},
		{"length largest", header(1, 2, 65535, 0, "abc"), "", CauseLengthLarge},
		{"length 7", header(1, 2, 7, 0, "abc"), "", CauseLengthSmall},
		{"length 0, the jumbogram's", header(1, 2, 0, 0, "abc"), "", CauseLengthSmall},
		{"zero ports", header(0, 0, 9, 0, "x"), "x", CauseNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, payload, c := Parse(tt.in)
			if c != tt.cause || string(payload) != tt.payload {
				t.Fatalf("Parse = %q, %v; want %q, %v", payload, c, tt.payload, tt.cause)
			}
			if c != CauseNone {
				if h != nil {
					t.Errorf("Parse = %x with cause %v", h, c)
				}
				return
			}
			if h.Length() != len(h) || string(h.Payload()) != tt.payload {
				t.Errorf("Length %d, Payload %q of %x", h.Length(), h.Payload(), h)
			}
		})
	}
}

func TestParseResultCannotGrow(t *testing.T) {
	h, p, _ := Parse(header(1, 2, 9, 0, "abc"))
	if cap(h) != 9 || cap(p) != 1 {
		t.Errorf("capacities %d, %d; want 9, 1: an append would write to the padding", cap(h), cap(p))
	}
}

// A datagram from 10.0.0.1 to 10.0.0.2, its checksum computed apart from this package.
var captured = []byte{0x9c, 0x40, 0x00, 0x07, 0x00, 0x0d, 0x0b, 0xb8, 'h', 'e', 'l', 'l', 'o'}

func TestGetters(t *testing.T) {
	h, payload, c := Parse(captured)
	if c != CauseNone || h.SrcPort() != 40000 || h.DstPort() != 7 || h.Length() != 13 ||
		h.Checksum() != 0x0bb8 || string(payload) != "hello" {
		t.Errorf("src %d dst %d length %d checksum %#x payload %q cause %v",
			h.SrcPort(), h.DstPort(), h.Length(), h.Checksum(), payload, c)
	}
	if !VerifyChecksum(ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}, h) {
		t.Error("the checksum is rejected")
	}
	b := append(make([]byte, HeaderLen), "hello"...)
	Put(b, ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}, 40000, 7, 5)
	if !bytes.Equal(b, captured) {
		t.Errorf("Put wrote %x, want %x", b, captured)
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

func FuzzParse(f *testing.F) {
	f.Add(captured)
	f.Add(append(bytes.Clone(captured), make([]byte, 5)...))
	f.Add(captured[:9])
	f.Add(header(53, 40000, 8, 0, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, c := Parse(b)
		if c != CauseNone {
			if h != nil || payload != nil {
				t.Fatalf("views with cause %v", c)
			}
			return
		}
		if len(h) < HeaderLen || len(h) > len(b) || h.Length() != len(h) || len(payload) != len(h)-HeaderLen {
			t.Fatalf("header %d, payload %d of %d bytes", len(h), len(payload), len(b))
		}
		src, dst := ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}
		ok := VerifyChecksum(src, dst, h)
		full := ^slowSum(append(pseudo(src, dst, len(h)), h...), 0) // 0 if right
		if want := h.Checksum() == 0 || full == 0; ok != want {
			t.Fatalf("VerifyChecksum(%x) = %v", h, ok)
		}
		sport, dport := h.SrcPort(), h.DstPort()
		Put(h, src, dst, sport, dport, len(payload))
		if h.SrcPort() != sport || h.DstPort() != dport || h.Length() != len(h) || h.Checksum() == 0 ||
			!VerifyChecksum(src, dst, h) {
			t.Fatalf("Put wrote %x", h)
		}
	})
}

func BenchmarkReceiveHeader(b *testing.B) {
	src, dst := ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}
	d := make([]byte, HeaderLen+64)
	Put(d, src, dst, 1, 2, 64)
	for b.Loop() {
		h, _, c := Parse(d)
		if c != CauseNone || !VerifyChecksum(src, dst, h) {
			b.Fatal("rejected")
		}
	}
}

func BenchmarkFinishChecksum(b *testing.B) {
	p := PartialSum(ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}, 1, 2)
	for b.Loop() {
		sink = FinishChecksum(p, 72, sink)
	}
}

var sink uint16
