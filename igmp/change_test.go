package igmp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

// The difference reports of RFC 3376 section 5.1, and how they are repeated.
func TestStateChange(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first []Filter // each a socket's, settled before
		old   Filter
		new   Filter
		want  string // sent at 0.002 s and at 0.502 s
	}{
		{"join", nil, NotMember, ex(), "TO_EX 239.1.1.1 {}"},
		{"join of sources", nil, NotMember, in(1, 2), "ALLOW 239.1.1.1 {1 2}"},
		{"join but some", nil, NotMember, ex(1, 2), "TO_EX 239.1.1.1 {1 2}"},
		{"leave", []Filter{ex()}, ex(), NotMember, "TO_IN 239.1.1.1 {}"},
		{"leave of sources", []Filter{in(1, 2)}, in(1, 2), NotMember, "BLOCK 239.1.1.1 {1 2}"},
		{"INCLUDE to INCLUDE", []Filter{in(1, 2)}, in(1, 2), in(2, 3), "ALLOW 239.1.1.1 {3}, BLOCK 239.1.1.1 {1}"},
		{"EXCLUDE to EXCLUDE", []Filter{ex(1, 2)}, ex(1, 2), ex(2, 3), "ALLOW 239.1.1.1 {1}, BLOCK 239.1.1.1 {3}"},
		{"INCLUDE to EXCLUDE", []Filter{in(1, 2)}, in(1, 2), ex(2), "TO_EX 239.1.1.1 {2}"},
		{"EXCLUDE to INCLUDE", []Filter{ex(1)}, ex(1), in(1, 2), "TO_IN 239.1.1.1 {1 2}"},
		{"second join", []Filter{ex()}, NotMember, ex(), ""},
		{"second leave", []Filter{ex(), ex()}, ex(), NotMember, ""},
		{"the same source", []Filter{in(1)}, NotMember, in(1), ""},
		{"one more source", []Filter{in(1)}, NotMember, in(1, 4), "ALLOW 239.1.1.1 {4}"},
		{"one of two leaves", []Filter{in(1), in(1, 4)}, in(1, 4), NotMember, "BLOCK 239.1.1.1 {4}"},
		{"join beside sources", []Filter{in(1)}, NotMember, ex(), "TO_EX 239.1.1.1 {}"},
		{"leave beside sources", []Filter{in(1), ex()}, ex(), NotMember, "TO_IN 239.1.1.1 {1}"},
		{"exclusions intersect", []Filter{ex(1, 2)}, NotMember, ex(2, 3), "ALLOW 239.1.1.1 {1}"},
		{"plain join frees all", []Filter{ex(1, 2)}, NotMember, ex(), "ALLOW 239.1.1.1 {1 2}"},
		{"leave blocks again", []Filter{ex(1, 2), ex()}, ex(), NotMember, "BLOCK 239.1.1.1 {1 2}"},
		{"include lifts exclusion", []Filter{ex(1, 2)}, NotMember, in(2), "ALLOW 239.1.1.1 {2}"},
		{"and drops it", []Filter{ex(1, 2), in(2)}, in(2), NotMember, "BLOCK 239.1.1.1 {2}"},
		{"switch of meaning beside EXCLUDE", []Filter{ex(1), ex(1)}, ex(1), in(1), "ALLOW 239.1.1.1 {1}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, nil)
			for _, f := range tc.first {
				s.set(g1, NotMember, f)
			}
			s.run(10 * time.Second)
			s.set(g1, tc.old, tc.new)
			if tc.want == "" {
				expect(t, s.run(10*time.Second))
				return
			}
			expect(t, s.run(10*time.Second), "0.002 "+tc.want, "0.502 "+tc.want)
			if s.Deadline() != never || s.leaving.Len() != 0 || s.dead != 0 {
				t.Error("something is left over")
			}
		})
	}
}

// Changes while earlier ones are still being repeated are merged with them.
func TestMergedChanges(t *testing.T) {
	join := func(s *sim) { s.set(g1, NotMember, in(1, 2)) }
	for _, tc := range []struct {
		name string
		qrv  int
		do   func(s *sim)
		then func(s *sim)
		want []string // after then, which is 100 ms after the first report
	}{
		{"another source", 2, join, func(s *sim) { s.set(g1, in(1, 2), in(1, 2, 3)) }, []string{
			"0.002 ALLOW 239.1.1.1 {1 2 3}", "0.400 ALLOW 239.1.1.1 {3}"}},
		{"back at once", 2, join, func(s *sim) { s.set(g1, in(1, 2), in(1)) }, []string{
			"0.002 ALLOW 239.1.1.1 {1}, BLOCK 239.1.1.1 {2}", "0.400 BLOCK 239.1.1.1 {2}"}},
		{"leave of all", 2, join, func(s *sim) { s.set(g1, in(1, 2), NotMember) }, []string{
			"0.002 BLOCK 239.1.1.1 {1 2}", "0.400 BLOCK 239.1.1.1 {1 2}"}},
		{"mode after sources", 2, join, func(s *sim) { s.set(g1, in(1, 2), ex(2)) }, []string{
			"0.002 TO_EX 239.1.1.1 {2}", "0.400 TO_EX 239.1.1.1 {2}"}},
		{"sources after mode", 3, func(s *sim) { s.set(g1, NotMember, ex()) },
			func(s *sim) { s.set(g1, ex(), ex(5)) }, []string{
				"0.002 TO_EX 239.1.1.1 {5}", "0.400 TO_EX 239.1.1.1 {5}", "0.900 BLOCK 239.1.1.1 {5}"}},
		{"leave after join", 3, func(s *sim) { s.set(g1, NotMember, ex()) },
			func(s *sim) { s.set(g1, ex(), NotMember) }, []string{
				"0.002 TO_IN 239.1.1.1 {}", "0.400 TO_IN 239.1.1.1 {}", "0.900 TO_IN 239.1.1.1 {}"}},
		{"left and joined again by sources", 2, func(s *sim) { s.set(g1, NotMember, ex()); s.set(g1, ex(), NotMember) },
			func(s *sim) { s.set(g1, NotMember, in(7)) }, []string{
				"0.002 TO_IN 239.1.1.1 {7}", "0.400 ALLOW 239.1.1.1 {7}"}},
		{"no change", 2, join, func(s *sim) { s.set(g1, NotMember, in(1)) }, []string{
			"0.400 ALLOW 239.1.1.1 {1 2}"}},
		{"another group", 2, join, func(s *sim) { s.set(g2, NotMember, ex()) }, []string{
			"0.002 TO_EX 239.1.1.2 {}", "0.400 ALLOW 239.1.1.1 {1 2}, TO_EX 239.1.1.2 {}"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, func(c *Config) { c.Robustness = tc.qrv })
			tc.do(s)
			s.run(102 * time.Millisecond)
			tc.then(s)
			expect(t, s.run(10*time.Second), tc.want...)
		})
	}
}

// What happens within ReportDelay is one report.
func TestReportDelay(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Robustness = 1 })
	s.set(g2, NotMember, ex())
	s.now += ms
	s.set(g1, NotMember, in(1))
	s.set(g3, NotMember, ex())
	s.set(g3, ex(), NotMember)
	expect(t, s.run(time.Second), "0.001 TO_EX 239.1.1.2 {}, ALLOW 239.1.1.1 {1}, TO_IN 239.1.1.3 {}")

	s = newSim(t, func(c *Config) { c.Robustness, c.ReportDelay = 1, -1 })
	s.set(g1, NotMember, ex())
	expect(t, s.run(time.Second), "0.000 TO_EX 239.1.1.1 {}")
}

// 10,000 joins in a row are as many datagrams as their records need.
func TestManyJoins(t *testing.T) {
	s := newSim(t, nil)
	const n, perReport = 10_000, (1500 - 24 - 8) / 8
	for i := range n {
		s.set(ipv4.Addr{239, 0, byte(i >> 8), byte(i)}, NotMember, ex())
	}
	lines := s.run(10 * time.Second)
	if want := 2 * ((n + perReport - 1) / perReport); len(lines) != want {
		t.Errorf("%d reports, want %d", len(lines), want)
	}
	if st := s.Stats(); st.TxRecords[ToExclude] != 2*n || st.Groups != n {
		t.Errorf("%+v", st)
	}
	for i := range n {
		s.set(ipv4.Addr{239, 0, byte(i >> 8), byte(i)}, ex(), NotMember)
	}
	s.run(10 * time.Second)
	if st := s.Stats(); st.TxRecords[ToInclude] != 2*n || st.Groups+st.Leaving != 0 || st.QueueBytes != 0 {
		t.Errorf("%+v", st)
	}
}

// Lists too long for one report (RFC 3376 section 4.2.16).
func TestSplit(t *testing.T) {
	numbers := func(from, to int) string {
		s := ""
		for i := from; i < to; i++ {
			s += fmt.Sprint(i, " ")
		}
		return "{" + s[:max(0, len(s)-1)] + "}"
	}
	var twenty []int
	for i := range 20 {
		twenty = append(twenty, i)
	}
	for _, tc := range []struct {
		name string
		f    Filter
		want []string
	}{ // an MTU of 68 bytes leaves 44: 7 sources
		{"ALLOW", in(twenty...), []string{
			"0.002 ALLOW 239.1.1.2 " + numbers(0, 7), "0.002 ALLOW 239.1.1.2 " + numbers(7, 14),
			"0.002 ALLOW 239.1.1.2 " + numbers(14, 20), "0.002 TO_EX 239.1.1.3 {}"}},
		{"TO_EX", ex(twenty...), []string{
			"0.002 TO_EX 239.1.1.2 " + numbers(0, 7), "0.002 TO_EX 239.1.1.3 {}"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, func(c *Config) { c.MTU, c.Robustness = 1, 1 })
			s.set(g2, NotMember, tc.f)
			s.set(g3, NotMember, ex())
			expect(t, s.run(time.Second), tc.want...)
		})
	}
	t.Run("a rest is filled", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.Robustness = 1 })
		s.SetMTU(68)
		s.set(g1, NotMember, ex())
		s.set(g2, NotMember, in(twenty[:6]...))
		expect(t, s.run(time.Second),
			"0.002 TO_EX 239.1.1.1 {}, ALLOW 239.1.1.2 "+numbers(0, 5), "0.002 ALLOW 239.1.1.2 "+numbers(5, 6))
	})
	t.Run("to the last byte", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.Robustness, c.MTU = 1, 68 })
		s.set(g1, NotMember, in(1))
		s.set(g2, NotMember, in(2))
		s.set(g3, NotMember, in(3))
		expect(t, s.run(time.Second), "0.002 ALLOW 239.1.1.1 {1}, ALLOW 239.1.1.2 {2}, ALLOW 239.1.1.3 {3}")
	})
	t.Run("to the last byte, by TO_EX", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.Robustness, c.MTU = 1, 68 })
		s.set(g1, NotMember, ex())
		s.set(g2, NotMember, ex(1, 2, 3, 4, 5))
		expect(t, s.run(time.Second), "0.002 TO_EX 239.1.1.1 {}, TO_EX 239.1.1.2 {1 2 3 4 5}")
	})
	t.Run("but not by TO_EX", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.Robustness, c.MTU = 1, 68 })
		s.set(g1, NotMember, ex())
		s.set(g2, NotMember, ex(twenty[:6]...))
		expect(t, s.run(time.Second),
			"0.002 TO_EX 239.1.1.1 {}", "0.002 TO_EX 239.1.1.2 "+numbers(0, 6))
	})
}

// Groups that are never reported are joined all the same.
func TestSilentGroups(t *testing.T) {
	mdns := ipv4.Addr{224, 0, 0, 251}
	for _, tc := range []struct {
		name    string
		version int
		local   bool
		want    []string
	}{
		{"v3", 3, true, []string{"0.002 TO_EX 224.0.0.251 {}"}},
		{"v3 without link-local reports", 3, false, nil},
		{"v2", 2, true, []string{"0.002 v2 224.0.0.251"}},
		{"v2 without link-local reports", 2, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, func(c *Config) { c.LinkLocalReports, c.Version, c.Robustness = tc.local, tc.version, 1 })
			s.set(AllSystems, NotMember, ex())
			s.set(mdns, NotMember, ex())
			expect(t, s.run(time.Second), tc.want...)
			if s.Lookup(AllSystems) == nil || s.Lookup(mdns) == nil {
				t.Error("not joined")
			}
			s.hear(queryV3(10, ipv4.Addr{}))
			s.run(10 * time.Second)
			s.set(AllSystems, ex(), NotMember)
			expect(t, s.run(time.Second))
			s.set(AllSystems, NotMember, ex())
			s.Input(s.now, from(routeIP, AllSystems, queryV3(10, AllSystems)))
			s.LinkUp(s.now)
			s.LeaveAll(s.now)
			for _, l := range s.run(time.Second) {
				if l == "0.000 TO_IN 224.0.0.1 {}" || !tc.local {
					t.Error(l)
				}
			}
		})
	}
	s := newSim(t, nil)
	s.set(ipv4.Addr{10, 0, 0, 1}, NotMember, ex())
	if s.Len() != 0 {
		t.Error("a group that is not multicast is joined")
	}
}

// The sources of a record are in order, whatever the order in which they came.
func TestSourcesInOrder(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Robustness = 1 })
	s.set(g1, NotMember, in(50))
	s.run(time.Minute)
	old := in(50)
	for _, n := range [][]int{{50, 7}, {50, 7, 9}, {50, 7, 9, 3}, {50, 7, 9, 3, 300}, {50, 7, 9, 3, 300, 4}} {
		next := in(n...)
		s.set(g1, old, next)
		old = next
	}
	got := s.run(time.Minute)
	if len(got) != 1 || !strings.HasSuffix(got[0], "{3 4 7 9 300}") {
		t.Errorf("%q", got)
	}
}
