package igmp

import (
	"encoding/hex"
	"testing"
	"time"
)

// Messages that Linux 6.18 has sent, without their IPv4 headers.
var wire = []string{
	"2200eab00000000104000000ef4d0000",                                 // TO_EX
	"2200ebb00000000103000000ef4d0000",                                 // TO_IN
	"2200d2960000000106000002ef4d00010a0901020a090103",                 // BLOCK of two
	"2200de450000000205000001ef4d00020a09010106000001ef4d00020a090103", // ALLOW and BLOCK
	"2200e0a20000000102000001ef4d01010a090103",                         // IS_EX
	"2200e1a30000000101000001ef4d01010a090102",                         // IS_IN
	"1200fdb0ef4d0101",                                                 // version 1 report
	"1600f9afef4d0102",                                                 // version 2 report
	"1700f8afef4d0102",                                                 // version 2 leave
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	report := seal([]byte{byte(ReportV3), 0, 0, 0, 0, 0, 0, 2,
		5, 1, 0, 1, 239, 1, 1, 1, 10, 9, 0, 1, 0xaa, 0xaa, 0xaa, 0xaa, // with auxiliary data
		2, 0, 0, 0, 239, 1, 1, 2})
	change := func(b []byte, i int, v byte) []byte {
		b = append([]byte(nil), b...)
		b[i] = v
		return seal(b)
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want Cause
	}{
		{"empty", nil, CauseTooShort},
		{"7 bytes", short(Query, 1, g1)[:7], CauseTooShort},
		{"v1 query", v1Query, CauseNone},
		{"v2 query", v2Query, CauseNone},
		{"v2 report", short(ReportV2, 0, g1), CauseNone},
		{"v1 report", short(ReportV1, 0, g1), CauseNone},
		{"leave", short(Leave, 0, g1), CauseNone},
		{"a longer leave", seal(append(short(Leave, 0, g1), 1, 2, 3)), CauseNone},
		{"9 bytes of query", seal(append(short(Query, 0, g1), 0)), CauseQueryLength},
		{"11 bytes of query", seal(append(short(Query, 0, g1), 0, 0, 0)), CauseQueryLength},
		{"v3 query", queryV3(0, g1), CauseNone},
		{"v3 query with sources", queryV3(0, g1, 1, 2), CauseNone},
		{"one source too few", seal(queryV3(0, g1, 1, 2)[:16]), CauseTooShort},
		{"a source and no room for any", change(queryV3(0, g1), 11, 1), CauseTooShort},
		{"a record's source and no room for any", seal([]byte{byte(ReportV3), 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 1, 239, 1, 1, 1}), CauseTooShort},
		{"checksum", append(queryV3(0, g1)[:11:11], 7), CauseChecksum},
		{"unknown type", short(0x30, 0, g1), CauseType},
		{"v3 report", report, CauseNone},
		{"more than its records", change(append(report, 0), 7, 2), CauseNone},
		{"a record too few", change(report, 7, 3), CauseTooShort},
		{"sources beyond the end", change(report, 11, 9), CauseTooShort},
		{"auxiliary data beyond the end", change(report, 9, 9), CauseTooShort},
		{"the record's head cut", seal(append([]byte(nil), report[:12]...)), CauseTooShort},
	} {
		m, c := Parse(tc.b)
		if c != tc.want || (m == nil) != (c != CauseNone) {
			t.Errorf("%s: %v, want %v", tc.name, c, tc.want)
		}
	}
	for _, s := range wire {
		if _, c := Parse(unhex(t, s)); c != CauseNone {
			t.Errorf("%s: %v", s, c)
		}
	}
	m, _ := Parse(queryV3(0, g1))
	if n := m.NumRecords(); n != 0 {
		t.Errorf("a query has %d records", n)
	}
	m, _ = Parse(report)
	expect(t, records(m), "ALLOW 239.1.1.1 {1}", "IS_EX 239.1.1.2 {}")
	if RecordType(0).String() != "unknown" || RecordType(7).String() != "unknown" {
		t.Error("record types out of range have a name")
	}
}

// The codes of times (RFC 3376 sections 4.1.1 and 4.1.7).
func TestCodes(t *testing.T) {
	for code, want := range map[byte]int{0: 0, 1: 1, 100: 100, 127: 127, 0x80: 128, 0x8f: 248, 0x90: 256, 0xff: 31744} {
		if got := decode(code); got != want {
			t.Errorf("%#x: %d, want %d", code, got, want)
		}
	}
	for _, tc := range []struct {
		b       []byte
		version int
		max     time.Duration
	}{
		{short(Query, 0, g1), 1, 10 * time.Second},
		{short(Query, 0xff, g1), 2, 25500 * time.Millisecond},
		{queryV3(0xff, g1), 3, 31744 * 100 * time.Millisecond},
		{queryV3(0, g1), 3, 0},
	} {
		m, _ := Parse(tc.b)
		if m.QueryVersion() != tc.version || m.MaxResponse() != tc.max {
			t.Errorf("%x: version %d, %v", tc.b, m.QueryVersion(), m.MaxResponse())
		}
	}
	q := queryV3(1, g1)
	q[8] = 8 | 3
	m, _ := Parse(seal(q))
	if !m.Suppress() || m.Robustness() != 3 || m.QueryInterval() != 125*time.Second {
		t.Error("flags")
	}
	if m, _ := Parse(v2Query); m.Suppress() || m.Robustness() != 0 || m.QueryInterval() != 0 || m.NumSources() != 0 || m.NumRecords() != 0 {
		t.Error("a version 2 query has what version 3 brought")
	}
}
