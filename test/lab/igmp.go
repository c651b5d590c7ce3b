package lab

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
)

// A Heard is an IGMP message that arrived at a [Packet] socket.
type Heard struct {
	Frame    []byte // from the Ethernet header on
	Src, Dst [4]byte
	Message  igmp.Message
}

// NextIGMP returns the next IGMP message but queries that arrives within the given
// time; false if none does. One that is malformed fails the test.
func (p *Packet) NextIGMP(t testing.TB, within time.Duration) (Heard, bool) {
	t.Helper()
	var got Heard
	f := p.Next(t, within, func(f []byte) bool {
		if !EtherType(ether.TypeIPv4)(f) {
			return false
		}
		h, payload, c := ipv4.Parse(f[ether.HeaderLen:])
		if c != ipv4.CauseNone || h.Protocol() != ipv4.ProtocolIGMP {
			return false
		}
		m, cause := igmp.Parse(payload)
		if cause != igmp.CauseNone {
			t.Fatalf("IGMP from %v: %v: %x", h.Src(), cause, payload)
		}
		got = Heard{Src: h.Src(), Dst: h.Dst(), Message: slices.Clone(m)}
		return m.Type() != igmp.Query
	})
	got.Frame = f
	return got, f != nil
}

// Lines writes the message for comparison, a line for each group record of version 3,
// the sources in order: "TO_EX 239.1.1.1 {10.9.0.3 10.9.0.4}".
func (h Heard) Lines() (lines []string) {
	m := h.Message
	switch m.Type() {
	case igmp.ReportV1, igmp.ReportV2, igmp.Leave:
		kind := map[igmp.Type]string{igmp.ReportV1: "v1 report", igmp.ReportV2: "v2 report", igmp.Leave: "leave"}
		return []string{fmt.Sprintf("%s %s to %s", kind[m.Type()], dotted(m.Group()), dotted(h.Dst))}
	}
	r := m.FirstRecord()
	for i := range m.NumRecords() {
		if i > 0 {
			r = r.Next()
		}
		keys := make([][4]byte, r.NumSources())
		for j := range keys {
			keys[j] = r.Source(j)
		}
		slices.SortFunc(keys, func(a, b [4]byte) int { return slices.Compare(a[:], b[:]) })
		sources := make([]string, len(keys))
		for j, k := range keys {
			sources[j] = dotted(k)
		}
		lines = append(lines, fmt.Sprintf("%v %s {%s}", r.Type(), dotted(r.Group()), strings.Join(sources, " ")))
	}
	return lines
}

func dotted(a [4]byte) string { return fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3]) }

// An IGMPQuery is a query made by hand. The zero value is a general query of version 3
// that wants its answer within a tenth of a second.
type IGMPQuery struct {
	Version    int // 0: 3
	Group      [4]byte
	Sources    [][4]byte
	MaxResp    uint8 // the code: tenths of a second; 0: 1. Version 1 has none
	Robustness uint8 // 0: 2
	Interval   uint8 // the code: seconds; 0: 125
	Src        [4]byte
}

// Frame returns the query as it is on the wire.
func (q IGMPQuery) Frame(mac [6]byte) []byte {
	dst := q.Group
	if dst == [4]byte{} {
		dst = igmp.AllSystems
	}
	b := []byte{byte(igmp.Query), max(q.MaxResp, 1), 0, 0}
	if q.Version == 1 {
		b[1] = 0
	}
	b = append(b, q.Group[:]...)
	if q.Version == 0 || q.Version == 3 {
		robustness, interval := q.Robustness, q.Interval
		if robustness == 0 {
			robustness = 2
		}
		if interval == 0 {
			interval = 125
		}
		b = append(b, robustness, interval)
		b = binary.BigEndian.AppendUint16(b, uint16(len(q.Sources)))
		for _, s := range q.Sources {
			b = append(b, s[:]...)
		}
	}
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
	f := ipv4.Fields{TOS: 0xc0, TTL: 1, Protocol: ipv4.ProtocolIGMP, DontFragment: true, Src: q.Src, Dst: dst}
	if q.Version != 1 {
		f.Options = ipv4.AppendRouterAlert(nil)
	}
	frame := make([]byte, ether.HeaderLen+f.HeaderLen(), ether.HeaderLen+f.HeaderLen()+len(b))
	ether.Put(frame, ipv4.Addr(dst).MulticastMAC(), mac, ether.TypeIPv4)
	f.Put(frame[ether.HeaderLen:], len(b))
	return append(frame, b...)
}
