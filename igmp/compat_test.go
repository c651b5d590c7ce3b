package igmp

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

var (
	v1Query = short(Query, 0, ipv4.Addr{})
	v2Query = short(Query, 100, ipv4.Addr{})
)

// shift adds to the time at the start of a line.
func shift(line string, by float64) string {
	var at float64
	var rest string
	fmt.Sscanf(line, "%f", &at)
	for i, c := range line {
		if c == ' ' {
			rest = line[i:]
			break
		}
	}
	return fmt.Sprintf("%.3f%s", at+by, rest)
}

// The version that is spoken, by the queriers heard (RFC 3376 section 7.2.1). The
// timeout is 2 * 125 s and the response time of 10 s.
func TestCompatibility(t *testing.T) {
	const wait = 260 * time.Second
	type heard struct {
		after time.Duration
		query []byte
	}
	for _, tc := range []struct {
		name   string
		forced int
		heard  []heard
		want   []int // after each query
		back   map[time.Duration]int
	}{
		{"v3", 0, []heard{{0, queryV3(100, ipv4.Addr{})}}, []int{3}, nil},
		{"v2", 0, []heard{{0, v2Query}}, []int{2}, map[time.Duration]int{wait - 1: 2, wait: 3}},
		{"v1", 0, []heard{{0, v1Query}}, []int{1}, map[time.Duration]int{wait - 1: 1, wait: 3}},
		{"v2, v1", 0, []heard{{0, v2Query}, {10 * time.Second, v1Query}}, []int{2, 1},
			map[time.Duration]int{wait - 1: 1, wait: 3}},
		{"v1, v2 later", 0, []heard{{0, v1Query}, {100 * time.Second, v2Query}}, []int{1, 1},
			map[time.Duration]int{wait - 100*time.Second - 1: 1, wait - 100*time.Second: 2, wait: 3}},
		{"v2 again", 0, []heard{{0, v2Query}, {200 * time.Second, v2Query}}, []int{2, 2},
			map[time.Duration]int{wait - 1: 2, wait: 3}},
		{"v3 does not end v2", 0, []heard{{0, v2Query}, {time.Second, queryV3(100, ipv4.Addr{})}}, []int{2, 2},
			map[time.Duration]int{wait - time.Second: 3}},
		{"v2 for one group", 0, []heard{{0, short(Query, 10, g1)}}, []int{3}, nil},
		{"forced 1", 1, []heard{{0, queryV3(100, ipv4.Addr{})}, {0, v2Query}}, []int{1, 1}, map[time.Duration]int{wait: 1}},
		{"forced 2", 2, []heard{{0, queryV3(100, ipv4.Addr{})}, {0, v1Query}}, []int{2, 1},
			map[time.Duration]int{wait - 1: 1, wait: 2}},
		{"forced 3", 3, []heard{{0, v2Query}, {0, v1Query}}, []int{3, 3}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, func(c *Config) { c.Version = tc.forced })
			s.set(g1, NotMember, ex())
			for i, h := range tc.heard {
				s.run(h.after)
				s.hear(h.query)
				if s.Version() != tc.want[i] || s.Status().Version != tc.want[i] {
					t.Errorf("after query %d: version %d, want %d", i+1, s.Version(), tc.want[i])
				}
			}
			start := s.now
			for _, d := range []time.Duration{wait - 100*time.Second - 1, wait - 100*time.Second,
				wait - time.Second, wait - 1, wait} {
				s.run(time.Duration(start - s.now + int64(d)))
				if want, ok := tc.back[d]; ok && s.Version() != want {
					t.Errorf("after %v: version %d, want %d", d, s.Version(), want)
				}
			}
		})
	}
}

// The timeout is that of the interval last told.
func TestOlderQuerierTimeout(t *testing.T) {
	s := newSim(t, nil)
	q := queryV3(100, ipv4.Addr{})
	q[8], q[9] = 3, 20
	s.hear(seal(q))
	s.hear(short(Query, 50, ipv4.Addr{}))
	if want := s.now + 65*sec; s.Status().V2Until != want || s.Deadline() > want {
		t.Errorf("until %d, want %d", s.Status().V2Until, want)
	}
}

// Status tells no time that is over.
func TestOlderQuerierIsOver(t *testing.T) {
	for _, q := range [][]byte{v1Query, v2Query} {
		s := newSim(t, nil)
		s.hear(q)
		end := min(s.Status().V1Until, s.Status().V2Until)
		s.run(time.Duration(end - s.now))
		if st := s.Status(); st.V1Until != math.MaxInt64 || st.V2Until != math.MaxInt64 {
			t.Errorf("over at %d: %d, %d", s.now, st.V1Until, st.V2Until)
		}
	}
}

// A change of version cancels what is pending (RFC 3376 section 7.2.1).
func TestVersionChangeCancels(t *testing.T) {
	s := settled(t, nil)
	s.draw(9 * time.Second)
	s.hear(queryV3(100, ipv4.Addr{}))
	s.hear(queryV3(100, g2, 1))
	s.set(g2, in(1, 2, 3), in(2, 3))
	s.set(g3, ex(1), NotMember)
	s.draw(2 * time.Second)
	s.hear(v2Query)
	if st := s.Stats(); st.Leaving != 0 || st.DeadSources != 0 || st.QuerySources != 0 || st.VersionChanges != 1 {
		t.Errorf("%+v", st)
	}
	got := s.run(100 * time.Second)
	slices.Sort(got) // at the same time, in any order
	expect(t, got, "2.000 v2 239.1.1.1", "2.000 v2 239.1.1.2")

	// And back: what waited for version 2 is not said in version 3.
	s.run(159*time.Second + 999*time.Millisecond)
	s.set(ipv4.Addr{239, 7, 7, 7}, NotMember, ex())
	expect(t, s.run(10*time.Second))
	if s.Version() != 3 || s.Lookup(g1) == nil {
		t.Error("version 3 is not back")
	}
}

// Joins, repetitions and leaves of versions 1 and 2 (RFC 2236 section 3).
func TestShortReports(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Version = 2 })
	s.draw(4 * time.Second)
	s.set(g1, NotMember, in(1))
	s.set(g1, in(1), ex(2)) // filters are not reported
	expect(t, s.run(60*time.Second), "0.002 v2 239.1.1.1", "4.002 v2 239.1.1.1")
	s.set(g1, ex(2), NotMember)
	expect(t, s.run(60*time.Second), "0.000 leave 239.1.1.1")
	s.set(g1, NotMember, ex())
	s.set(g1, ex(), NotMember) // never reported, so there is nothing to leave
	expect(t, s.run(60*time.Second))

	s = newSim(t, func(c *Config) { c.Version, c.Robustness = 1, 3 })
	s.draw(4 * time.Second)
	s.set(g1, NotMember, ex())
	expect(t, s.run(60*time.Second), "0.002 v1 239.1.1.1", "4.002 v1 239.1.1.1", "8.002 v1 239.1.1.1")
	s.set(g1, ex(), NotMember)
	expect(t, s.run(60*time.Second))
}

// Queries in versions 1 and 2.
func TestShortQueries(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version int
		steps   []step
		want    []string
	}{
		{"v2 general", 2, []step{{0, time.Second, v2Query}}, []string{"1.000 v2 239.1.1.1", "1.000 v2 239.1.1.2"}},
		{"v2 group", 2, []step{{0, time.Second, short(Query, 100, g2)}}, []string{"1.000 v2 239.1.1.2"}},
		{"v2 sooner", 2, []step{{0, 8 * time.Second, short(Query, 100, g2)}, {time.Second, 500 * time.Millisecond, short(Query, 10, g2)}},
			[]string{"1.500 v2 239.1.1.2"}},
		{"v2 later", 2, []step{{0, 3 * time.Second, short(Query, 100, g2)}, {time.Second, 7 * time.Second, short(Query, 100, g2)}},
			[]string{"3.000 v2 239.1.1.2"}},
		{"v3 general to v2", 2, []step{{0, time.Second, queryV3(100, ipv4.Addr{})}}, []string{"1.000 v2 239.1.1.1", "1.000 v2 239.1.1.2"}},
		{"v3 sources to v2", 2, []step{{0, time.Second, queryV3(100, g2, 1)}}, []string{"1.000 v2 239.1.1.2"}},
		{"v1 general", 1, []step{{0, 9 * time.Second, v1Query}}, []string{"9.000 v1 239.1.1.1", "9.000 v1 239.1.1.2"}},
		{"v1, group ignored", 1, []step{{0, 9 * time.Second, short(Query, 0, g1)}}, []string{"9.000 v1 239.1.1.1", "9.000 v1 239.1.1.2"}},
		{"v3 group to v1", 1, []step{{0, 9 * time.Second, queryV3(1, g1)}}, []string{"9.000 v1 239.1.1.1", "9.000 v1 239.1.1.2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, func(c *Config) { c.Version = tc.version })
			s.set(g1, NotMember, ex())
			s.run(20 * time.Second)
			s.set(g2, NotMember, in(1))
			s.run(100 * time.Second)
			start := s.now
			var got []string
			for _, st := range tc.steps {
				got = append(got, restamp(s.run(st.wait), start, s.now-int64(st.wait))...)
				s.draw(st.delay)
				s.hear(st.query)
			}
			at := s.now
			got = append(got, restamp(s.run(60*time.Second), start, at)...)
			slices.Sort(got) // at the same time, in any order
			expect(t, got, tc.want...)
		})
	}
}

// Another host's report makes ours needless in versions 1 and 2, and the leave too.
func TestSuppression(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version int
		p       Packet
		want    Cause
		silent  bool
	}{
		{"v2", 2, from(peerIP, g1, short(ReportV2, 0, g1)), CauseNone, true},
		{"v1 to v2", 2, from(peerIP, g1, short(ReportV1, 0, g1)), CauseNone, true},
		{"v2 to v1", 1, from(peerIP, g1, short(ReportV2, 0, g1)), CauseNone, true},
		{"from 0.0.0.0", 2, from(ipv4.Addr{}, g1, short(ReportV2, 0, g1)), CauseNone, true},
		{"in version 3", 3, from(peerIP, g1, short(ReportV2, 0, g1)), CauseNotSuppressed, false},
		{"our own", 2, from(ourIP, g1, short(ReportV2, 0, g1)), CauseReflected, false},
		{"of another group", 2, from(peerIP, g2, short(ReportV2, 0, g2)), CauseNotMember, false},
		{"to elsewhere", 2, from(peerIP, AllSystems, short(ReportV2, 0, g1)), CauseDestination, false},
		{"unicast", 2, from(peerIP, ourIP, short(ReportV2, 0, g1)), CauseDestination, false},
		{"of no group", 2, from(peerIP, peerIP, short(ReportV2, 0, peerIP)), CauseGroup, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, func(c *Config) { c.Version = tc.version })
			s.set(g1, NotMember, ex())
			s.run(60 * time.Second)
			s.draw(5 * time.Second)
			s.hear(short(Query, 100, g1))
			s.run(time.Second)
			if c := s.Input(s.now, tc.p); c != tc.want {
				t.Errorf("cause %v, want %v", c, tc.want)
			}
			if got := s.run(60 * time.Second); (len(got) == 0) != tc.silent {
				t.Errorf("sent %q", got)
			}
			// The same before the leave, with no response pending.
			s.Input(s.now, tc.p)
			s.set(g1, ex(), NotMember)
			leave := s.run(0)
			if want := tc.version == 2 && !tc.silent; (len(leave) == 1) != want {
				t.Errorf("leave: %q", leave)
			}
		})
	}
}

// A join that others report needs no repetition.
func TestSuppressedRepetition(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Version = 2 })
	s.set(g1, NotMember, ex())
	expect(t, s.run(100*time.Millisecond), "0.002 v2 239.1.1.1")
	s.Input(s.now, from(peerIP, g1, short(ReportV2, 0, g1)))
	expect(t, s.run(60*time.Second))
	if s.Stats().Suppressed != 1 {
		t.Error("not counted")
	}
}

// What a version 3 querier tells of robustness is not for the older versions.
func TestOlderRobustness(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Robustness = 3 })
	q := queryV3(100, ipv4.Addr{})
	q[8] = 1
	s.hear(seal(q))
	s.hear(v2Query)
	s.set(g1, NotMember, ex())
	s.run(100 * time.Second)
	if n := s.Stats().TxReportsV2; n != 3 {
		t.Errorf("a join is reported %d times, want 3", n)
	}
}
