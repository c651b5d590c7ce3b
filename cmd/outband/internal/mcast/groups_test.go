package mcast

import (
	"encoding/json"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/outband/outband/igmp"
)

// The tables of a Linux 6.18 host.
const (
	procIGMP = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
		"1\tlo        :     1      V3\n" +
		"\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"2\tnear0     :     3      V2\n" +
		"\t\t\t\t010009EF     2 1:0000007B\t\t1\n" +
		"\t\t\t\t020009EF     1 0:00000000\t\t0\n" +
		"\t\t\t\t010000E0     1 0:00000000\t\t0\n"
	procMcfilter = "Idx Device        MCA        SRC    INC    EXC\n" +
		"  2  near0 0xef090001 0x0a090007      0      2\n" +
		"  2  near0 0xef090002 0x0a090002      1      0\n" +
		"  2  near0 0xef090002 0x0a090003      1      0\n"
)

const printedGroups = `1:	lo V3
	inet  224.0.0.1 users 1 exclude
2:	near0 V2
	inet  239.9.0.1 users 2 exclude timer 1.23s reporter
		source 10.9.0.7 include 0 exclude 2
	inet  239.9.0.2 users 1
		source 10.9.0.2 include 1 exclude 0
		source 10.9.0.3 include 1 exclude 0
	inet  224.0.0.1 users 1 exclude
`

func TestParseKernel(t *testing.T) {
	all, err := ParseKernel([]byte(procIGMP), []byte(procMcfilter))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if PrintGroups(&b, all); b.String() != printedGroups {
		t.Errorf("got\n%s", b.String())
	}
	got, _ := json.Marshal(all[1])
	const want = `{"ifindex":2,"dev":"near0","version":"V2","group":"239.9.0.1","users":2,"mode":"exclude",` +
		`"sources":[{"source":"10.9.0.7","include":0,"exclude":2}],"timer_ns":1230000000,"reporter":true}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestParseKernelRefuses(t *testing.T) {
	for name, tables := range map[string][2]string{
		"words":                  {"heading\nsome words\n", ""},
		"a group of no device":   {"heading\n\t\t\t\t010000E0     1 0:00000000\t\t0\n", ""},
		"a group of words":       {"heading\n1\tlo : 1 V3\n\t\t\t\tgroup 1 0:00000000 0\n", ""},
		"a source of words":      {procIGMP, "heading\n2 near0 group source 1 0\n"},
		"a source, half":         {procIGMP, "heading\n2 near0 0xef090001\n"},
		"an index that is none":  {"heading\nx\tlo : 1 V3\n", ""},
		"a timer that is no hex": {"heading\n1\tlo : 1 V3\n\t\t\t\t010000E0 1 1:never 0\n", ""},
	} {
		if all, err := ParseKernel([]byte(tables[0]), []byte(tables[1])); err == nil {
			t.Errorf("%s: %+v", name, all)
		}
	}
	if all, err := ParseKernel(nil, nil); all != nil || err != nil {
		t.Errorf("of nothing: %+v, %v", all, err)
	}
}

func TestFromStack(t *testing.T) {
	all := FromStack(2, "near0", []igmp.GroupInfo{
		{Group: [4]byte{239, 9, 0, 1}, Mode: igmp.Exclude, Users: 2, Exclude: 2, Timer: 1_730_000_000, Reporter: true,
			Sources: []igmp.SourceInfo{{Addr: [4]byte{10, 9, 0, 7}, Exclude: 2, Listed: true}}},
		{Group: [4]byte{239, 9, 0, 2}, Mode: igmp.Include, Users: 1, Timer: math.MaxInt64,
			Sources: []igmp.SourceInfo{{Addr: [4]byte{10, 9, 0, 2}, Include: 1, Listed: true}}},
		{Group: [4]byte{239, 9, 0, 3}, Mode: igmp.Exclude, Users: 1, Timer: 1},
	}, igmp.Status{Version: 2}, 500_000_000)
	var b strings.Builder
	const want = `2:	near0 V2
	inet  239.9.0.1 users 2 exclude timer 1.23s reporter
		source 10.9.0.7 include 0 exclude 2
	inet  239.9.0.2 users 1 include
		source 10.9.0.2 include 1 exclude 0
	inet  239.9.0.3 users 1 exclude timer 0s
`
	if PrintGroups(&b, all); b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func FuzzParseKernel(f *testing.F) {
	f.Add([]byte(procIGMP), []byte(procMcfilter))
	f.Fuzz(func(t *testing.T, igmp, mcfilter []byte) {
		all, err := ParseKernel(igmp, mcfilter)
		if err == nil {
			PrintGroups(new(strings.Builder), all)
		}
	})
}

func TestParseSNMP(t *testing.T) {
	const text = "Tcp: RtoAlgorithm MaxConn\nTcp: 1 -1\n" +
		"Udp: InDatagrams RcvbufErrors\nUdp: 12 3\nUdpLite: InDatagrams\nUdpLite: 0\nodd line\n"
	want := map[string]uint64{"TcpRtoAlgorithm": 1, "UdpInDatagrams": 12, "UdpRcvbufErrors": 3, "UdpLiteInDatagrams": 0}
	if got := ParseSNMP([]byte(text)); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func FuzzParseSNMP(f *testing.F) {
	f.Add([]byte("Udp: InDatagrams RcvbufErrors\nUdp: 12 3\n"))
	f.Fuzz(func(_ *testing.T, text []byte) { ParseSNMP(text) })
}

func TestIsDrop(t *testing.T) {
	for name, want := range map[string]bool{"UdpRcvbufErrors": true, "OutbandDropVLAN": true, "LinkRxRingFull": true,
		"UdpInDatagrams": false, "UdpSndbufErrors": false, "LinkTxErrors": false} {
		if IsDrop(name) != want {
			t.Errorf("%s", name)
		}
	}
}
