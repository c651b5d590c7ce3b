package ipv4

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func TestParseGetters(t *testing.T) {
	h, payload, c := Parse(frameDNS)
	equal(t, "cause", c, CauseNone)
	equal(t, "HeaderLen", h.HeaderLen(), 20)
	equal(t, "TOS", h.TOS(), 0)
	equal(t, "TotalLen", h.TotalLen(), 52)
	equal(t, "ID", h.ID(), 0x7c1d)
	equal(t, "DontFragment", h.DontFragment(), false)
	equal(t, "MoreFragments", h.MoreFragments(), false)
	equal(t, "FragmentOffset", h.FragmentOffset(), 0)
	equal(t, "IsFragment", h.IsFragment(), false)
	equal(t, "TTL", h.TTL(), 64)
	equal(t, "Protocol", h.Protocol(), ProtocolUDP)
	equal(t, "Src", h.Src(), Addr{192, 168, 1, 2})
	equal(t, "Dst", h.Dst(), Addr{192, 168, 1, 1})
	equal(t, "len(Options)", len(h.Options()), 0)
	equal(t, "len(payload)", len(payload), 32)
	equal(t, "Payload", &h.Payload()[0] == &payload[0] && len(h.Payload()) == 32, true)
	equal(t, "len(Datagram)", len(h.Datagram()), 52)
}

func TestParseTrimsPadding(t *testing.T) {
	h, payload, c := Parse(framePing)
	equal(t, "cause", c, CauseNone)
	equal(t, "DontFragment", h.DontFragment(), true)
	equal(t, "len(payload)", len(payload), 13)
	equal(t, "cap(payload)", cap(payload), 13)
}

func TestParseOptionsHeader(t *testing.T) {
	h, payload, c := Parse(frameIGMP)
	equal(t, "cause", c, CauseNone)
	equal(t, "HeaderLen", h.HeaderLen(), 24)
	equal(t, "TOS", h.TOS(), 0xc0)
	equal(t, "Protocol", h.Protocol(), ProtocolIGMP)
	equal(t, "Options", string(h.Options()), "\x94\x04\x00\x00")
	equal(t, "len(payload)", len(payload), 8)
}

func TestParseFragmentFields(t *testing.T) {
	for _, tt := range []struct {
		name             string
		field            uint16
		offset           int
		df, mf, fragment bool
	}{
		{"whole", 0, 0, false, false, false},
		{"whole, reserved bit", 0x8000, 0, false, false, false},
		{"DF", 0x4000, 0, true, false, false},
		{"first", 0x2000, 0, false, true, true},
		{"middle", 0x20b9, 1480, false, true, true},
		{"last", 0x00b9, 1480, false, false, true},
		{"DF and MF", 0x6000, 0, true, true, true},
		{"largest offset", 0x1fff, 65528, false, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(frameDNS)
			binary.BigEndian.PutUint16(b[6:], tt.field)
			h, _, c := Parse(fix(b))
			equal(t, "cause", c, CauseNone)
			equal(t, "FragmentOffset", h.FragmentOffset(), tt.offset)
			equal(t, "DontFragment", h.DontFragment(), tt.df)
			equal(t, "MoreFragments", h.MoreFragments(), tt.mf)
			equal(t, "IsFragment", h.IsFragment(), tt.fragment)
		})
	}
}

func TestParseCauses(t *testing.T) {
	change := func(b []byte, f func(b []byte)) []byte {
		b = bytes.Clone(b)
		f(b)
		return fix(b)
	}
	wrong := bytes.Clone(frameDNS)
	wrong[11]++
	wrongOptions := bytes.Clone(frameIGMP)
	wrongOptions[22] ^= 1
	for _, tt := range []struct {
		name  string
		b     []byte
		want  Cause
		noSum Cause
	}{
		{"empty", nil, CauseTooShort, CauseTooShort},
		{"19 bytes", frameDNS[:19], CauseTooShort, CauseTooShort},
		{"options cut", frameIGMP[:23], CauseTooShort, CauseTooShort},
		{"version 6", change(frameDNS, func(b []byte) { b[0] = 0x65 }), CauseBadVersion, CauseBadVersion},
		{"header length 16", change(frameDNS, func(b []byte) { b[0] = 0x44 }), CauseBadHeaderLength, CauseBadHeaderLength},
		{"checksum", wrong, CauseBadChecksum, CauseNone},
		{"checksum over options", wrongOptions, CauseBadChecksum, CauseNone},
		{"payload cut", frameDNS[:51], CauseTruncated, CauseTruncated},
		{"total length 19", change(frameDNS, func(b []byte) { b[3] = 19 }), CauseBadTotalLength, CauseBadTotalLength},
		{"total length within options", change(frameIGMP, func(b []byte) { b[3] = 23 }), CauseBadTotalLength, CauseBadTotalLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, payload, c := Parse(tt.b)
			equal(t, "Parse", c, tt.want)
			if c != CauseNone && (h != nil || payload != nil) {
				t.Error("views of a broken datagram")
			}
			_, _, c = ParseNoChecksum(tt.b)
			equal(t, "ParseNoChecksum", c, tt.noSum)
		})
	}
}

// A header of all ones and zeros in the checksum is the classical trap: both
// mean zero, and only one of them is ever written.
func TestParseChecksumEdge(t *testing.T) {
	for range 2000 {
		b := make([]byte, 60)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		b[0] = 0x45 + byte(rand.IntN(11))
		b[2], b[3] = 0, 60
		fix(b)
		if _, _, c := Parse(b); c != CauseNone {
			t.Fatalf("%x: %v", b, c)
		}
		b[rand.IntN(int(b[0]&15)*4-1)+1] ^= 1 << rand.IntN(8)
		if _, _, c := Parse(b); c == CauseNone {
			t.Fatalf("%x: accepted with a bit flipped", b)
		}
	}
}

// A sum of all ones makes a checksum of zero, and never the other zero.
func TestChecksumZero(t *testing.T) {
	f := testFields
	b := datagram(f, nil)
	f.ID = FinishChecksum(PartialSum(b), 20, 0)
	b = datagram(f, nil)
	equal(t, "checksum", binary.BigEndian.Uint16(b[10:]), 0)
	equal(t, "FinishChecksum", FinishChecksum(PartialSum(b), 20, f.ID), 0)
	_, _, c := Parse(b)
	equal(t, "cause", c, CauseNone)
}

func TestParseQuoted(t *testing.T) {
	whole := frameDNS
	for _, tt := range []struct {
		name    string
		b       []byte
		ok      bool
		payload int
	}{
		{"whole", whole, true, 32},
		{"eight bytes", whole[:28], true, 8},
		{"header only", whole[:20], true, 0},
		{"header cut", whole[:19], false, 0},
		{"padded", append(bytes.Clone(whole), 1, 2, 3), true, 32},
		{"options", frameIGMP, true, 8},
		{"options cut", frameIGMP[:22], false, 0},
		{"checksum not looked at", append([]byte{0x45, 1}, whole[2:]...), true, 32},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, payload, ok := ParseQuoted(tt.b)
			equal(t, "ok", ok, tt.ok)
			if !ok {
				return
			}
			equal(t, "len(payload)", len(payload), tt.payload)
			equal(t, "len(Payload)", len(h.Payload()), tt.payload)
		})
	}
	short := bytes.Clone(whole)
	short[3] = 20
	if _, payload, ok := ParseQuoted(short); !ok || len(payload) != 0 {
		t.Errorf("a datagram without payload: %t, %d bytes", ok, len(payload))
	}
	short[3] = 10
	if _, _, ok := ParseQuoted(short); ok {
		t.Error("a total length shorter than the header was accepted")
	}
}

func TestCauseNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range Cause(NumCauses) {
		name := c.String()
		if name == "" || name == "unknown" || seen[name] {
			t.Errorf("cause %d is called %q", c, name)
		}
		seen[name] = true
	}
	equal(t, "beyond", Cause(NumCauses).String(), "unknown")
}

func TestPut(t *testing.T) {
	for _, tt := range []struct {
		name    string
		f       Fields
		payload int
		want    int
	}{
		{"plain", Fields{TTL: 64, Protocol: 17, Src: near, Dst: far}, 100, 20},
		{"all fields", Fields{TOS: 0xb8, TTL: 1, Protocol: 1, ID: 0xfffe, DontFragment: true, MoreFragments: true, FragmentOffset: 65528, Src: other, Dst: far}, 0, 20},
		{"options", Fields{Options: []byte{148, 4, 0, 0}}, 8, 24},
		{"options padded", Fields{Options: []byte{1, 1, 1, 1, 7}}, 8, 28},
		{"full options", Fields{Options: pattern(40)}, 65475, 60},
		{"longest", Fields{}, 65515, 20},
		{"too long", Fields{}, 65516, 0},
		{"too many options", Fields{Options: pattern(41)}, 0, 0},
		{"offset unaligned", Fields{FragmentOffset: 12}, 0, 0},
		{"offset past the field", Fields{FragmentOffset: 65536}, 0, 0},
		{"offset negative", Fields{FragmentOffset: -8}, 0, 0},
		{"payload negative", Fields{}, -1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Repeat([]byte{0xaa}, MaxLen)
			n := tt.f.Put(b, tt.payload)
			equal(t, "length", n, tt.want)
			if n == 0 {
				equal(t, "untouched", b[0], 0xaa)
				return
			}
			equal(t, "HeaderLen", tt.f.HeaderLen(), n)
			equal(t, "checksum", binary.BigEndian.Uint16(b[10:]), naiveChecksum(b[:n]))
			h, payload, c := Parse(b)
			equal(t, "cause", c, CauseNone)
			equal(t, "len(payload)", len(payload), tt.payload)
			got := h.Fields()
			equal(t, "options", bytes.HasPrefix(got.Options, tt.f.Options), true)
			for _, pad := range got.Options[len(tt.f.Options):] {
				equal(t, "padding", pad, 0)
			}
			again := make([]byte, n)
			got.Put(again, tt.payload)
			equal(t, "written again", bytes.Equal(again, b[:n]), true)
		})
	}
	var f Fields
	equal(t, "no room", f.Put(make([]byte, 19), 0), 0)
}

func TestFinishChecksum(t *testing.T) {
	for range 5000 {
		b := make([]byte, 20+4*rand.IntN(11))
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		if rand.IntN(4) == 0 {
			clear(b[1:])
		}
		sum := PartialSum(b)
		total, id := uint16(rand.Uint32()), uint16(rand.Uint32())
		Patch(b, sum, total, id)
		equal(t, "total length", binary.BigEndian.Uint16(b[2:]), total)
		equal(t, "id", binary.BigEndian.Uint16(b[4:]), id)
		if got, want := binary.BigEndian.Uint16(b[10:]), naiveChecksum(b); got != want {
			t.Fatalf("%x: checksum %#x, want %#x", b, got, want)
		}
		equal(t, "Checksum", Checksum(b), naiveChecksum(b))
	}
}

func TestHeaderAllocs(t *testing.T) {
	b := frameDNS
	f := Fields{TTL: 64, Protocol: 17, Src: near, Dst: far, Options: []byte{148, 4, 0, 0}}
	out := make([]byte, 60)
	n := testing.AllocsPerRun(100, func() {
		Parse(b)
		ParseNoChecksum(frameIGMP)
		ParseQuoted(b)
		f.Put(out, 100)
		Patch(out, PartialSum(out), 100, 1)
	})
	equal(t, "allocations", n, 0)
}

func FuzzParse(f *testing.F) {
	for _, b := range [][]byte{frameDNS, framePing, frameIGMP} {
		f.Add(fix(bytes.Clone(b)), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if n, c := headerLen(b); repair && c == CauseNone {
			fix(b[:n])
		}
		h, payload, c := Parse(b)
		_, quoted, ok := ParseQuoted(b)
		if c != CauseNone {
			if h != nil || payload != nil {
				t.Fatal("views of a broken datagram")
			}
			return
		}
		if !ok || len(quoted) != len(payload) {
			t.Fatal("ParseQuoted refuses what Parse takes")
		}
		if len(h)+len(payload) != h.TotalLen() || h.HeaderLen() != len(h) {
			t.Fatal("lengths do not add up")
		}
		if got := h.Checksum(); got != naiveChecksum(h) && got != 0xffff {
			t.Fatalf("checksum %#x accepted, %#x is right", got, naiveChecksum(h))
		}
		fields := h.Fields()
		again := make([]byte, len(h))
		if fields.Put(again, len(payload)) != len(h) {
			t.Fatal("what was parsed cannot be written")
		}
		again[6] |= h[6] & 0x80 // the reserved bit is not kept
		if !bytes.Equal(fix(again), fix(bytes.Clone(h))) {
			t.Fatalf("wrote %x, parsed %x", again, h)
		}
		h.Datagram()
		h.Payload()
		h.Options().Find(OptionRouterAlert)
	})
}

var sink int

func BenchmarkParse(b *testing.B) {
	d := frameDNS
	b.ReportAllocs()
	for b.Loop() {
		h, payload, _ := Parse(d)
		sink += len(h) + len(payload)
	}
}

func BenchmarkParseOptions(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		h, payload, _ := Parse(frameIGMP)
		sink += len(h) + len(payload)
	}
}

func BenchmarkPut(b *testing.B) {
	f := Fields{TTL: 64, Protocol: 17, Src: near, Dst: far}
	out := make([]byte, 60)
	for b.Loop() {
		sink += f.Put(out, 100)
	}
}

func BenchmarkPatch(b *testing.B) {
	out := datagram(Fields{TTL: 64, Protocol: 17, Src: near, Dst: far}, nil)
	sum := PartialSum(out)
	for b.Loop() {
		Patch(out, sum, 128, 7)
	}
}
