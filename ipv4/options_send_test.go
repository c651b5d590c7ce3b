package ipv4

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestSentOptions(t *testing.T) {
	for _, tt := range []struct {
		name  string
		o     string
		shown string // as getsockopt has it
		sent  string // by 10.9.0.1 at 0x01020304 to 10.9.0.9
		hop   string
		cause Cause
	}{
		{"none", "", "", "", "", CauseNone},
		{"padded", "0101", "01010000", "01010000", "", CauseNone},
		{"behind the end", "0100ffff", "01000000", "01000000", "", CauseNone},
		{"record route", "07070401020304", "0707040000000000", "0707080a09000100", "", CauseNone},
		{"record route, full", "07070801020304", "0707080102030400", "0707080102030400", "", CauseNone},
		{"times", "440c0500ffffffff00000000", "440c05000000000000000000", "440c09000102030400000000", "", CauseNone},
		{"times and addresses", "440c0501ffffffffffffffff", "440c05010000000000000000", "440c0d010a09000101020304", "", CauseNone},
		{"times, prespecified", "440c05030a09000100000000", "440c05030a09000100000000", "440c0d030a09000101020304", "", CauseNone},
		{"times, of others", "440c05030a09000200000000", "440c05030a09000200000000", "440c05030a09000200000000", "", CauseNone},
		{"times, no room: not counted", "4404050000000000", "4404050000000000", "4404050000000000", "", CauseNone},
		{"source route", "830b04010203040506070800", "830b04010203040506070800", "830b04050607080a09000900", "01020304", CauseNone},
		{"source route of one", "89070401020304", "8907040102030400", "8907040a09000900", "01020304", CauseNone},
		{"source route of none", "830304", "", "", "", CauseOptionBadLength},
		{"source route, uneven", "8308040102030400", "", "", "", CauseOptionBadLength},
		{"source route, used up", "83070801020304", "", "", "", CauseOptionBadPointer},
		{"cut", "0709", "", "", "", CauseOptionTruncated},
		{"as long as can be", strings.Repeat("01", 40), strings.Repeat("01", 40), strings.Repeat("01", 40), "", CauseNone},
		{"too long", hex.EncodeToString(make([]byte, 41)), "", "", "", CauseOptionTruncated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, _ := hex.DecodeString(tt.o)
			var s SentOptions
			equal(t, "cause", s.Set(o), tt.cause)
			equal(t, "shown", hex.EncodeToString(s.Bytes()), tt.shown)
			equal(t, "Len", s.Len(), len(tt.sent)/2)
			hop, ok := s.FirstHop()
			equal(t, "has a route", ok, tt.hop != "")
			if ok {
				equal(t, "first hop", hex.EncodeToString(hop[:]), tt.hop)
			}
			b := make([]byte, s.Len())
			s.Put(b, Addr{10, 9, 0, 1}, Addr{10, 9, 0, 9}, 0x01020304)
			equal(t, "sent", hex.EncodeToString(b), tt.sent)
		})
	}
}

func TestAppendReturnOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    string
		want string
		ok   bool
	}{
		{"no-ops are not for an answer", "01010101", "", true},
		{"record route", "070b080a090001ffffffff00", "070b080a0900010000000000", true},
		{"record route, full", "0707080a09000100", "0707080a09000100", true},
		{"times", "440c09000102030455555555", "440c09000102030400000000", true},
		{"both", "07070801020304440c050055555555ffffffff00", "07070801020304440c050000000000ffffffff00", true},
		{"prespecified addresses stay", "440c05030a09000200000000", "440c05030a09000200000000", true},
		{"source route, turned around", "830b0c010101010202020200", "830b04020202020101010100", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, _ := hex.DecodeString(tt.o)
			h, set := withOptions(t, o)
			got, ok := AppendReturnOptions(nil, h, set)
			equal(t, "ok", ok, tt.ok)
			equal(t, "options", hex.EncodeToString(got), tt.want)
		})
	}
	// An option of which a part of an entry is left after we have entered ourselves.
	h, _ := withOptions(t, nil)
	for _, pointer := range []byte{8, 9} {
		h = append(h[:MinHeaderLen:MinHeaderLen], 7, 9, pointer, 1, 1, 1, 1, 0, 0, 0, 0, 0)
		if got, ok := AppendReturnOptions(nil, h, OptionSet{RecordRoute: MinHeaderLen}); ok || len(got) != 0 {
			t.Errorf("half an entry from %d on gave % x", pointer, got)
		}
	}
	if got, ok := AppendReturnOptionsOf(nil, Addr{10, 9, 0, 9}, []byte{7, 9}); ok || len(got) != 0 {
		t.Errorf("options that are cut gave % x", got)
	}
	if got, ok := AppendReturnOptionsOf(nil, Addr{10, 9, 0, 9}, []byte{7, 7, 4, 9, 9, 9, 9}); !ok || hex.EncodeToString(got) != "0707040000000000" {
		t.Errorf("options gave % x", got)
	}
}

// FuzzSentOptions sends whatever is taken: what is sent is no shorter, no longer,
// and can be received.
func FuzzSentOptions(f *testing.F) {
	f.Add([]byte{7, 7, 4, 0, 0, 0, 0})
	f.Add([]byte{131, 11, 4, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 7, 9})
	f.Fuzz(func(t *testing.T, o []byte) {
		var s SentOptions
		if s.Set(o) != CauseNone {
			if s != (SentOptions{}) {
				t.Fatal("options that were refused left something")
			}
			return
		}
		if s.Len()%4 != 0 || s.Len() < len(o) || s.Len() > MaxOptionsLen {
			t.Fatalf("%d bytes became %d", len(o), s.Len())
		}
		var again SentOptions
		if c := again.Set(s.Bytes()); c != CauseNone || again != s {
			t.Fatalf("% x, shown as % x, does not give itself: %v", o, s.Bytes(), c)
		}
		b := make([]byte, MinHeaderLen+s.Len())
		s.Put(b[MinHeaderLen:], Addr{10, 9, 0, 1}, Addr{10, 9, 0, 2}, 1)
		if set, _, c := ParseOptions(b[MinHeaderLen:]); c == CauseNone {
			AppendReturnOptions(nil, Header(b), set)
		}
	})
}

func TestSentOptionsAllocs(t *testing.T) {
	o := Options{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	var s SentOptions
	b := make([]byte, MaxOptionsLen)
	if n := testing.AllocsPerRun(100, func() {
		s.Set(o)
		s.Put(b, Addr{1}, Addr{2}, 3)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
