package ipv4

import (
	"bytes"
	"slices"
	"testing"
)

func TestOptionsNext(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want []string
	}{
		{"none", nil, nil},
		{"end first", Options{0, 148, 4, 0, 0}, nil},
		{"alert", Options{148, 4, 0, 0}, []string{"\x94\x04\x00\x00"}},
		{"fillers count", Options{1, 1, 148, 4, 0, 0, 1, 0}, []string{"\x01", "\x01", "\x94\x04\x00\x00", "\x01"}},
		{"unknown", Options{99, 3, 7, 98, 2, 0}, []string{"\x63\x03\x07", "\x62\x02"}},
		{"no length", Options{1, 148}, []string{"\x01"}},
		{"length 0", Options{148, 0, 0, 0}, nil},
		{"length 1", Options{148, 1, 0, 0}, nil},
		{"past the end", Options{148, 5, 0, 0}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for opt, rest, ok := tt.o.Next(); ok; opt, rest, ok = rest.Next() {
				got = append(got, string(opt))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	equal(t, "Find", string(Options{1, 7, 3, 4, 148, 4, 0, 0}.Find(OptionRouterAlert)), "\x94\x04\x00\x00")
	equal(t, "Find nothing", Options{1, 7, 3, 4}.Find(OptionRouterAlert) == nil, true)
}

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		o       Options
		set     OptionSet
		pointer int
		cause   Cause
	}{
		{"none", nil, OptionSet{}, 0, CauseNone},
		{"alert", Options{148, 4, 0, 0}, OptionSet{RouterAlert: 20}, 0, CauseNone},
		{"stream identifier", Options{136, 4, 1, 2}, OptionSet{}, 0, CauseNone},
		{"alert of another value", Options{148, 4, 0, 1}, OptionSet{}, 0, CauseNone},
		{"alert too short", Options{1, 148, 3, 0}, OptionSet{}, 22, CauseOptionBadLength},
		{"all kinds", Options{1, 7, 7, 4, 0, 0, 0, 0, 131, 3, 4, 68, 4, 5, 0, 134, 2, 148, 4, 0, 0, 0, 0, 0},
			OptionSet{RecordRoute: 21, SourceRoute: 28, Timestamp: 31, CIPSO: 35, RouterAlert: 37}, 0, CauseNone},
		{"strict", Options{137, 7, 4, 10, 0, 0, 9, 0}, OptionSet{SourceRoute: 20, Strict: true}, 0, CauseNone},
		{"unknown skipped", Options{99, 3, 255, 1}, OptionSet{}, 0, CauseNone},
		{"behind the end", Options{0, 7, 0, 0}, OptionSet{}, 0, CauseNone},
		{"cut type", Options{1, 1, 1, 7}, OptionSet{}, 23, CauseOptionTruncated},
		{"length 1", Options{7, 1, 0, 0}, OptionSet{}, 20, CauseOptionTruncated},
		{"past the header", Options{1, 99, 4, 0}, OptionSet{}, 21, CauseOptionTruncated},
		{"route without pointer", Options{131, 2, 1, 1}, OptionSet{}, 21, CauseOptionBadLength},
		{"route's pointer low", Options{131, 3, 3, 1}, OptionSet{}, 22, CauseOptionBadPointer},
		{"two source routes", Options{131, 3, 4, 137, 3, 4, 0, 0}, OptionSet{}, 23, CauseOptionRepeated},
		{"record without pointer", Options{7, 2, 1, 1}, OptionSet{}, 21, CauseOptionBadLength},
		{"record's pointer low", Options{7, 7, 3, 0, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"record's pointer within the last slot", Options{7, 7, 5, 0, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"record's pointer at the last byte", Options{7, 7, 7, 0, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"record full", Options{7, 7, 8, 0, 0, 0, 0, 0}, OptionSet{RecordRoute: 20}, 0, CauseNone},
		{"two records", Options{7, 3, 4, 7, 3, 4, 0, 0}, OptionSet{}, 23, CauseOptionRepeated},
		{"time without flag", Options{68, 3, 5, 0}, OptionSet{}, 21, CauseOptionBadLength},
		{"time's pointer low", Options{68, 8, 4, 0, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"times", Options{68, 8, 5, 0, 0, 0, 0, 0}, OptionSet{Timestamp: 20}, 0, CauseNone},
		{"times, pointer high", Options{68, 8, 6, 0, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"times, pointer at the last byte", Options{68, 8, 8, 0, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"times and addresses, no room", Options{68, 8, 5, 1, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"prespecified, no room", Options{68, 8, 5, 3, 0, 0, 0, 0}, OptionSet{}, 22, CauseOptionBadPointer},
		{"unknown flag", Options{68, 8, 5, 9, 0, 0, 0, 0}, OptionSet{Timestamp: 20}, 0, CauseNone},
		{"times full", Options{68, 8, 9, 0xe0, 0, 0, 0, 0}, OptionSet{Timestamp: 20}, 0, CauseNone},
		{"overflow full", Options{68, 8, 9, 0xf0, 0, 0, 0, 0}, OptionSet{}, 23, CauseOptionOverflow},
		{"overflow full, prespecified", Options{68, 8, 9, 0xf3, 0, 0, 0, 0}, OptionSet{Timestamp: 20}, 0, CauseNone},
		{"two times", Options{68, 4, 5, 0, 68, 4, 5, 0}, OptionSet{}, 24, CauseOptionRepeated},
		{"two labels", Options{134, 2, 134, 2}, OptionSet{}, 22, CauseOptionRepeated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, pointer, c := ParseOptions(tt.o)
			equal(t, "cause", c, tt.cause)
			equal(t, "pointer", pointer, tt.pointer)
			equal(t, "set", set, tt.set)
		})
	}
}

func TestAppendRouterAlert(t *testing.T) {
	o := Options(AppendRouterAlert(nil))
	equal(t, "option", string(o), "\x94\x04\x00\x00")
	set, _, c := ParseOptions(o)
	equal(t, "cause", c, CauseNone)
	equal(t, "set", set, OptionSet{RouterAlert: 20})
	equal(t, "copied", OptionRouterAlert.Copied(), true)
	equal(t, "not copied", OptionRecordRoute.Copied(), false)
}

// withOptions returns a header with options, and what ParseOptions says.
func withOptions(t testing.TB, o Options) (Header, OptionSet) {
	t.Helper()
	f := testFields
	f.Options = o
	h, _, c := Parse(datagram(f, nil))
	if c != CauseNone {
		t.Fatalf("Parse: %v", c)
	}
	set, _, c := ParseOptions(h.Options())
	if c != CauseNone {
		t.Fatalf("ParseOptions: %v", c)
	}
	return h, set
}

func TestStamp(t *testing.T) {
	for _, tt := range []struct {
		name    string
		o, want Options
	}{
		{"nothing to stamp", Options{148, 4, 0, 0}, Options{148, 4, 0, 0}},
		{"record", Options{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Options{7, 11, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0}},
		{"second of record", Options{7, 11, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0}, Options{7, 11, 12, 9, 9, 9, 9, 10, 0, 0, 1, 0}},
		{"record full", Options{7, 7, 8, 9, 9, 9, 9, 0}, Options{7, 7, 8, 9, 9, 9, 9, 0}},
		{"time", Options{68, 8, 5, 0, 0, 0, 0, 0}, Options{68, 8, 9, 0, 1, 2, 3, 4}},
		{"time and address", Options{68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0}, Options{68, 12, 13, 1, 10, 0, 0, 1, 1, 2, 3, 4}},
		{"prespecified", Options{68, 12, 5, 3, 10, 0, 0, 1, 0, 0, 0, 0}, Options{68, 12, 13, 3, 10, 0, 0, 1, 1, 2, 3, 4}},
		{"prespecified, another host", Options{68, 12, 5, 3, 10, 0, 0, 2, 0, 0, 0, 0}, Options{68, 12, 5, 3, 10, 0, 0, 2, 0, 0, 0, 0}},
		{"prespecified, full", Options{68, 4, 5, 3}, Options{68, 4, 5, 3}},
		{"times full", Options{68, 4, 5, 0xe0}, Options{68, 4, 5, 0xf0}},
		{"unknown flag", Options{68, 8, 5, 9, 0, 0, 0, 0}, Options{68, 8, 5, 9, 0, 0, 0, 0}},
		{"both", Options{1, 7, 7, 4, 0, 0, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0}, Options{1, 7, 7, 8, 10, 0, 0, 1, 68, 8, 9, 0, 1, 2, 3, 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, set := withOptions(t, tt.o)
			set.Stamp(h, near, 0x01020304)
			equal(t, "options", string(h.Options()), string(tt.want))
			equal(t, "checksum", h.Checksum(), naiveChecksum(h))
		})
	}
}

// A datagram that is stamped as it comes and as it goes has its hosts without room counted
// up to 15.
func TestStampTwice(t *testing.T) {
	h, set := withOptions(t, Options{68, 4, 5, 0xd0})
	for _, want := range []byte{0xe0, 0xf0, 0xf0, 0xf0} {
		set.Stamp(h, near, 1)
		equal(t, "options", string(h.Options()), string([]byte{68, 4, 5, want}))
		equal(t, "checksum", h.Checksum(), naiveChecksum(h))
	}
}

func TestAppendReplyOptions(t *testing.T) {
	src := string(testFields.Src[:])
	for _, tt := range []struct {
		name     string
		o        Options
		want     string
		firstHop Addr
	}{
		{"none", nil, "", Addr{}},
		{"alert is not answered", Options{148, 4, 0, 0}, "", Addr{}},
		{"record", Options{7, 7, 8, 1, 2, 3, 4}, "\x07\x07\x08\x01\x02\x03\x04\x00", Addr{}},
		{"time and label", Options{134, 2, 68, 4, 5, 0}, "\x44\x04\x05\x00\x86\x02\x00\x00", Addr{}},
		{"route travelled", Options{131, 11, 12, 1, 1, 1, 1, 2, 2, 2, 2},
			"\x83\x0b\x04\x01\x01\x01\x01" + src + "\x00", Addr{2, 2, 2, 2}},
		{"strict, one host", Options{137, 7, 8, 1, 1, 1, 1}, "\x89\x07\x04" + src + "\x00", Addr{1, 1, 1, 1}},
		{"route half travelled", Options{131, 11, 8, 1, 1, 1, 1, 2, 2, 2, 2},
			"\x83\x07\x04" + src + "\x00", Addr{1, 1, 1, 1}},
		{"route not travelled", Options{131, 7, 4, 1, 1, 1, 1}, "", Addr{}},
		{"pointer far behind", Options{131, 7, 250, 1, 1, 1, 1}, "\x83\x07\x04" + src + "\x00", Addr{1, 1, 1, 1}},
		{"source is in the route", Options{131, 11, 12, 10, 0, 0, 2, 2, 2, 2, 2},
			"\x83\x07\x04" + src + "\x00", Addr{2, 2, 2, 2}},
		{"route of nothing but the source", Options{131, 7, 8, 10, 0, 0, 2}, "", Addr{}},
		{"empty route", Options{131, 3, 4}, "", Addr{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, set := withOptions(t, tt.o)
			before := []byte("before")
			got, hop := AppendReplyOptions(before, h, set)
			equal(t, "options", string(got), "before"+tt.want)
			equal(t, "first hop", hop, tt.firstHop)
			if _, _, c := ParseOptions(Options(got[len(before):])); c != CauseNone {
				t.Errorf("the answer's options: %v", c)
			}
		})
	}
}

func FuzzOptions(f *testing.F) {
	for _, o := range []Options{
		{148, 4, 0, 0}, {7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		{131, 11, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0}, {134, 2, 68, 4, 5, 3, 1, 0},
	} {
		f.Add([]byte(o))
	}
	f.Fuzz(func(t *testing.T, o []byte) {
		o = bytes.Clone(o[:min(len(o), MaxOptionsLen)&^3])
		set, pointer, c := ParseOptions(o)
		if c != CauseNone {
			if set != (OptionSet{}) || pointer < MinHeaderLen || pointer >= MinHeaderLen+len(o) {
				t.Fatalf("%x: %v at %d of %d bytes", o, c, pointer, len(o))
			}
			return
		}
		n := 0
		for opt, rest, ok := Options(o).Next(); ok; opt, rest, ok = rest.Next() {
			n += len(opt)
		}
		if n < len(o) && o[n] != 0 {
			t.Fatalf("%x: accepted, but read up to %d only", o, n)
		}
		h, set := withOptions(t, o)
		reply, _ := AppendReplyOptions(nil, h, set)
		if len(reply) > MaxOptionsLen || len(reply)%4 != 0 {
			t.Fatalf("%x: %d bytes of answer", o, len(reply))
		}
		if _, _, c := ParseOptions(reply); c != CauseNone {
			t.Fatalf("%x: answer %x: %v", o, reply, c)
		}
		set.Stamp(h, near, 7)
		// A slot that is cut off is noticed only by the host that wants it.
		switch again, _, c := ParseOptions(h.Options()); {
		case c == CauseOptionOverflow || c == CauseOptionBadPointer:
		case c != CauseNone || again != set:
			t.Fatalf("%x: stamped: %v", o, c)
		}
		equal(t, "checksum", h.Checksum(), naiveChecksum(h))
		Options(o).keepCopied()
		if _, _, c := ParseOptions(o); c != CauseNone {
			t.Fatalf("what later fragments carry: %v", c)
		}
	})
}

func TestOptionsAllocs(t *testing.T) {
	h, set := withOptions(t, Options{7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0})
	buf := make([]byte, 0, MaxOptionsLen)
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		ParseOptions(h.Options())
		set.Stamp(h, near, 1)
		AppendReplyOptions(buf, h, set)
		AppendRouterAlert(buf)
	}), 0)
}

func BenchmarkOptions(b *testing.B) {
	o := Options{148, 4, 0, 0}
	for b.Loop() {
		set, _, _ := ParseOptions(o)
		sink += int(set.RouterAlert)
	}
}
