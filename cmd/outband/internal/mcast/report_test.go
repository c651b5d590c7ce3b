package mcast

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
)

// sample is a report of three groups.
func sample(numbered bool) *Report {
	silence := int64(1_234_567_890)
	r := &Report{Elapsed: 10e9, Datagrams: 11, Bytes: 1408, Causes: map[string]uint64{},
		targets: []Target{
			{Group: netip.MustParseAddrPort("239.1.1.1:5000")},
			{Group: netip.MustParseAddrPort("232.1.1.1:5000"), Sources: []netip.Addr{netip.MustParseAddr("10.9.0.2")}},
		},
		Groups: []GroupReport{
			{Group: "239.1.1.1:5000", Datagrams: 11, Bytes: 1408, Rate: 1126, Silence: &silence, Drops: 2},
			{Group: "232.1.1.1:5000", Sources: []string{"10.9.0.2"}},
		}}
	if numbered {
		r.Causes = map[string]uint64{"UdpRcvbufErrors": 2, "LinkRxRingFull": 7}
		r.Groups[0].Sequence = &Sequence{Gaps: 1, Missing: 2, Reordered: 3, Duplicates: 4, Restarts: 5, Short: 6}
		r.Groups[0].Senders, r.Groups[0].Untracked = 1, 8
		r.Groups[1].Sequence = &Sequence{}
	}
	return r
}

func TestPrint(t *testing.T) {
	var plain, numbered strings.Builder
	sample(false).Print(&plain)
	sample(true).Print(&numbered)
	const wantPlain = `group                    datagrams        bytes           rate    silence  dropped
239.1.1.1:5000                  11         1408    1.13 kbit/s    1.235 s        2
232.1.1.1@10.9.0.2:5000          0            0    0.00 kbit/s never came        0
`
	const wantNumbered = `group                    datagrams        bytes           rate    gaps  missing reordered duplicates restarts    silence  dropped
239.1.1.1:5000                  11         1408    1.13 kbit/s       1        2         3          4        5    1.235 s        2
232.1.1.1@10.9.0.2:5000          0            0    0.00 kbit/s       0        0         0          0        0 never came        0
239.1.1.1:5000: 6 datagrams too short for a number
239.1.1.1:5000: 8 datagrams of senders beyond 256, whose numbers were not followed
drops: LinkRxRingFull 7, UdpRcvbufErrors 2
`
	if plain.String() != wantPlain {
		t.Errorf("got\n%s", plain.String())
	}
	if numbered.String() != wantNumbered {
		t.Errorf("got\n%s", numbered.String())
	}
}

func TestReportJSON(t *testing.T) {
	got, err := json.Marshal(sample(true))
	const want = `{"elapsed_ns":10000000000,"datagrams":11,"bytes":1408,"groups":[` +
		`{"group":"239.1.1.1:5000","datagrams":11,"bytes":1408,"rate_bps":1126,"silence_ns":1234567890,"drops":2,` +
		`"sequence":{"gaps":1,"missing":2,"reordered":3,"duplicates":4,"restarts":5,"short":6},"senders":1,"untracked_datagrams":8},` +
		`{"group":"232.1.1.1:5000","sources":["10.9.0.2"],"datagrams":0,"bytes":0,"rate_bps":0,"silence_ns":null,"drops":0,` +
		`"sequence":{"gaps":0,"missing":0,"reordered":0,"duplicates":0,"restarts":0,"short":0}}],` +
		`"drop_causes":{"LinkRxRingFull":7,"UdpRcvbufErrors":2}}`
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func TestIntervalPrint(t *testing.T) {
	i := Interval{Elapsed: 2_000_400_000, Datagrams: 5, Bytes: 500, Rate: 4_000_000, Missing: -1, Drops: 3, Silent: 1, Groups: 2}
	for numbered, want := range map[bool]string{
		false: "2.000 s: 5 datagrams, 500 bytes, 4.00 Mbit/s, 3 dropped, 1 of 2 groups silent\n",
		true:  "2.000 s: 5 datagrams, 500 bytes, 4.00 Mbit/s, -1 missing, 3 dropped, 1 of 2 groups silent\n",
	} {
		var b strings.Builder
		if i.Print(&b, numbered); b.String() != want {
			t.Errorf("got %s", b.String())
		}
	}
}

func TestSilent(t *testing.T) {
	if got := sample(false).Silent(); len(got) != 1 || got[0] != "232.1.1.1@10.9.0.2:5000" {
		t.Errorf("%v", got)
	}
}

func TestBits(t *testing.T) {
	for bps, want := range map[uint64]string{0: "0.00 kbit/s", 999_994: "999.99 kbit/s", 1e6: "1.00 Mbit/s", 25e8: "2.50 Gbit/s"} {
		if got := bits(bps); got != want {
			t.Errorf("%d: %s", bps, got)
		}
	}
	if rate(100, 0) != 0 || rate(125, 1e6) != 1_000_000 {
		t.Error("rate")
	}
}
