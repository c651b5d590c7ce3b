package igmp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/internal/index"
	"github.com/outband/outband/ipv4"
)

const (
	sec = int64(time.Second)
	ms  = int64(time.Millisecond)
)

var (
	ourIP   = ipv4.Addr{10, 0, 0, 1}
	peerIP  = ipv4.Addr{10, 0, 0, 2}
	routeIP = ipv4.Addr{10, 0, 0, 254}
	g1      = ipv4.Addr{239, 1, 1, 1}
	g2      = ipv4.Addr{239, 1, 1, 2}
	g3      = ipv4.Addr{239, 1, 1, 3}
)

// A sim is a host in simulated time.
type sim struct {
	*Host
	tb  testing.TB
	now int64
	rnd uint64 // what the random source gives
}

// newSim returns a host at 1000 s. Its random times are half of their range.
func newSim(tb testing.TB, change func(*Config)) *sim {
	tb.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s := &sim{tb: tb, now: 1000 * sec}
	s.Host = New(cfg, func() uint64 { return s.rnd })
	s.SetAddress(s.now, ourIP)
	s.draw(500 * time.Millisecond)
	return s
}

// draw makes the next random times d, but for whole multiples of their range.
func (s *sim) draw(d time.Duration) { s.rnd = uint64(d) - 1 }

// src returns the source 10.9.n.n.
func src(n int) ipv4.Addr { return ipv4.Addr{10, 9, byte(n >> 8), byte(n)} }

// in and ex are filters of the sources with these numbers, which ascend.
func in(n ...int) Filter { return filterOf(Include, n) }
func ex(n ...int) Filter { return filterOf(Exclude, n) }

func filterOf(m Mode, n []int) Filter {
	f := Filter{Mode: m}
	for _, i := range n {
		f.Sources = append(f.Sources, src(i))
	}
	return f
}

// set replaces a filter now.
func (s *sim) set(g ipv4.Addr, old, new Filter) { s.Update(s.now, g, old, new) }

// run advances to now+d, timer by timer, and returns a line for each message: when, in
// seconds since the start, and what.
func (s *sim) run(d time.Duration) []string {
	s.tb.Helper()
	start, end := s.now, s.now+int64(d)
	lines := s.lines(start)
	for s.Deadline() <= end {
		if s.Deadline() < s.now {
			s.tb.Fatalf("deadline %d lies before now %d", s.Deadline(), s.now)
		}
		s.now = s.Deadline()
		s.Advance(s.now)
		lines = append(lines, s.lines(start)...)
	}
	s.now = end
	s.Advance(end)
	checkInvariants(s.tb, s.Host)
	return lines
}

// lines fetches the messages, as run writes them.
func (s *sim) lines(start int64) []string {
	s.tb.Helper()
	var lines []string
	buf := make([]byte, 1500)
	for {
		t, ok := s.Next(buf)
		if !ok {
			return lines
		}
		lines = append(lines, fmt.Sprintf("%.3f %s", float64(s.now-start)/1e9, show(s.tb, t)))
	}
}

// show writes a message shortly, and checks where it goes.
func show(tb testing.TB, t Transmit) string {
	tb.Helper()
	m, c := Parse(t.Message)
	if c != CauseNone {
		tb.Fatalf("a bad message is sent: %v: %x", c, t.Message)
	}
	dst, line := AllReports, ""
	switch m.Type() {
	case ReportV1:
		dst, line = m.Group(), "v1 "+ip(m.Group())
	case ReportV2:
		dst, line = m.Group(), "v2 "+ip(m.Group())
	case Leave:
		dst, line = AllRouters, "leave "+ip(m.Group())
	case ReportV3:
		line = strings.Join(records(m), ", ")
	default:
		tb.Fatalf("type %#x is sent", m.Type())
	}
	if t.Dst != dst {
		tb.Errorf("%s is sent to %v", line, t.Dst)
	}
	return line
}

// records writes the records of a report: TO_EX 239.1.1.1 {1 2}.
func records(m Message) []string {
	var all []string
	r := m.FirstRecord()
	for range m.NumRecords() {
		var nums []string
		for i := range r.NumSources() {
			a := r.Source(i)
			nums = append(nums, fmt.Sprint(int(a[2])<<8|int(a[3])))
		}
		all = append(all, fmt.Sprintf("%v %s {%s}", r.Type(), ip(r.Group()), strings.Join(nums, " ")))
		r = r.Next()
	}
	return all
}

func ip(a ipv4.Addr) string { return netip.AddrFrom4(a).String() }

// expect compares lines.
func expect(tb testing.TB, got []string, want ...string) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// short returns a message of 8 bytes.
func short(t Type, code byte, group ipv4.Addr) []byte {
	return seal([]byte{byte(t), code, 0, 0, group[0], group[1], group[2], group[3]})
}

// seal writes the checksum.
func seal(b []byte) []byte {
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
	return b
}

// queryV3 returns a version 3 query with QRV 2 and QQIC 125.
func queryV3(code byte, group ipv4.Addr, sources ...int) []byte {
	b := []byte{byte(Query), code, 0, 0, group[0], group[1], group[2], group[3], 2, 125, 0, 0}
	binary.BigEndian.PutUint16(b[10:], uint16(len(sources)))
	for _, n := range sources {
		a := src(n)
		b = append(b, a[:]...)
	}
	return seal(b)
}

// from returns a packet of the router's to dst.
func from(src, dst ipv4.Addr, b []byte) Packet {
	return Packet{Src: src, Dst: dst, TTL: 1, RouterAlert: true, Payload: b}
}

// hear lets a query of the router's come in, sent to where it belongs.
func (s *sim) hear(b []byte) {
	s.tb.Helper()
	dst := AllSystems
	if m := Message(b); !m.Group().IsUnspecified() {
		dst = m.Group()
	}
	if c := s.Input(s.now, from(routeIP, dst, b)); c != CauseNone {
		s.tb.Errorf("query refused: %v", c)
	}
}

// checkInvariants checks what always holds of a host.
func checkInvariants(tb testing.TB, h *Host) {
	tb.Helper()
	dead, asked, armed := 0, 0, 0
	for _, x := range []*index.Index[Group]{&h.groups, &h.leaving} {
		for g := range x.All() {
			for s := range g.sources.All() {
				if s.dead {
					dead++
				}
				if s.dead != (s.count == [2]uint32{}) || s.touched || s.dead && s.left == 0 {
					tb.Fatalf("group %v: source %+v", g.Address(), *s)
				}
			}
			for _, s := range g.pending {
				if s.left == 0 || g.sources.Get(s.addr, h.seed) != s {
					tb.Fatalf("group %v: pending %+v", g.Address(), *s)
				}
			}
			asked += len(g.asked)
			if g.timer.Running() {
				armed++
			} else if len(g.asked) > 0 {
				tb.Fatalf("group %v is asked, and no timer runs", g.Address())
			}
			if (g.users > 0) != (x == &h.groups) || g.changed() != (g.list != nil) {
				tb.Fatalf("group %v: %d users, changed %v, list %p", g.Address(), g.users, g.changed(), g.list)
			}
			if x == &h.groups && g.users < max(1, g.excludes) {
				tb.Fatalf("group %v: %d users, %d exclude", g.Address(), g.users, g.excludes)
			}
		}
	}
	if dead != h.dead || asked != h.asked || armed != h.timers.Len() {
		tb.Fatalf("dead %d, counted %d; asked %d, counted %d; timers %d, armed %d",
			dead, h.dead, asked, h.asked, h.timers.Len(), armed)
	}
	if (h.fresh.Len() > 0) && h.freshAt == never || h.repeat.Len() > 0 && h.repeatAt == never {
		tb.Fatal("changes wait, and no timer runs")
	}
}
