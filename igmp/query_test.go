package igmp

import (
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

// settled returns a host that is a member of g1 (all), g2 (sources 1 to 3) and g3 (all
// but 1), and has said so.
func settled(t *testing.T, change func(*Config)) *sim {
	t.Helper()
	s := newSim(t, change)
	s.set(g1, NotMember, ex())
	s.set(g2, NotMember, in(1, 2, 3))
	s.set(g3, NotMember, ex(1))
	s.run(100 * time.Second)
	return s
}

// A step is a query that comes after a wait, whose response is drawn to be sent after delay.
type step struct {
	wait, delay time.Duration
	query       []byte
}

// Responses to queries, by the rules of RFC 3376 section 5.2.
func TestQueries(t *testing.T) {
	const code = 100 // 10 s
	all := "IS_EX 239.1.1.1 {}, IS_IN 239.1.1.2 {1 2 3}, IS_EX 239.1.1.3 {1}"
	general := queryV3(code, ipv4.Addr{})
	for _, tc := range []struct {
		name  string
		steps []step
		want  []string // times from the first query
	}{
		{"general", []step{{0, 4 * time.Second, general}}, []string{"4.000 " + all}},
		{"group, EXCLUDE", []step{{0, 4 * time.Second, queryV3(code, g3)}}, []string{"4.000 IS_EX 239.1.1.3 {1}"}},
		{"group, INCLUDE", []step{{0, 4 * time.Second, queryV3(code, g2)}}, []string{"4.000 IS_IN 239.1.1.2 {1 2 3}"}},
		{"sources, INCLUDE", []step{{0, time.Second, queryV3(code, g2, 9, 3, 1)}}, []string{"1.000 IS_IN 239.1.1.2 {1 3}"}},
		{"sources, EXCLUDE", []step{{0, time.Second, queryV3(code, g3, 1, 2, 9)}}, []string{"1.000 IS_IN 239.1.1.3 {2 9}"}},
		{"sources, none of them", []step{{0, time.Second, queryV3(code, g2, 8, 9)}}, nil},
		{"sources, all excluded", []step{{0, time.Second, queryV3(code, g3, 1)}}, nil},
		{"sources, plain join", []step{{0, time.Second, queryV3(code, g1, 1)}}, []string{"1.000 IS_IN 239.1.1.1 {1}"}},
		{"two groups at once", []step{{0, time.Second, queryV3(code, g1)}, {0, time.Second, queryV3(code, g3)}},
			[]string{"1.000 IS_EX 239.1.1.1 {}, IS_EX 239.1.1.3 {1}"}},

		{"rule 1: a general response comes sooner", []step{
			{0, 3 * time.Second, general}, {time.Second, 5 * time.Second, queryV3(code, g1)}}, []string{"3.000 " + all}},
		{"rule 1: for general queries", []step{
			{0, 3 * time.Second, general}, {time.Second, 5 * time.Second, general}}, []string{"3.000 " + all}},
		{"not rule 1: it comes later", []step{
			{0, 8 * time.Second, general}, {time.Second, 5 * time.Second, queryV3(code, g1)}},
			[]string{"6.000 IS_EX 239.1.1.1 {}", "8.000 " + all}},
		{"rule 2: a general query cancels the later general response", []step{
			{0, 8 * time.Second, general}, {time.Second, 5 * time.Second, general}}, []string{"6.000 " + all}},
		{"general and a pending group's", []step{
			{0, 2 * time.Second, queryV3(code, g1)}, {time.Second, 5 * time.Second, general}},
			[]string{"2.000 IS_EX 239.1.1.1 {}", "6.000 " + all}},
		{"rule 4: group after group, earlier", []step{
			{0, 5 * time.Second, queryV3(code, g1)}, {time.Second, 2 * time.Second, queryV3(code, g1)}},
			[]string{"3.000 IS_EX 239.1.1.1 {}"}},
		{"rule 4: group after group, later", []step{
			{0, 3 * time.Second, queryV3(code, g1)}, {time.Second, 7 * time.Second, queryV3(code, g1)}},
			[]string{"3.000 IS_EX 239.1.1.1 {}"}},
		{"rule 4: group after sources", []step{
			{0, 5 * time.Second, queryV3(code, g2, 1)}, {time.Second, 7 * time.Second, queryV3(code, g2)}},
			[]string{"5.000 IS_IN 239.1.1.2 {1 2 3}"}},
		{"rule 4: sources after group", []step{
			{0, 5 * time.Second, queryV3(code, g2)}, {time.Second, time.Second, queryV3(code, g2, 1)}},
			[]string{"2.000 IS_IN 239.1.1.2 {1 2 3}"}},
		{"rule 5: sources after sources", []step{
			{0, 5 * time.Second, queryV3(code, g2, 3)}, {time.Second, time.Second, queryV3(code, g2, 1, 3, 8)}},
			[]string{"2.000 IS_IN 239.1.1.2 {1 3}"}},
		{"sources after the response", []step{
			{0, time.Second, queryV3(code, g2, 3)}, {2 * time.Second, time.Second, queryV3(code, g2, 1)}},
			[]string{"1.000 IS_IN 239.1.1.2 {3}", "3.000 IS_IN 239.1.1.2 {1}"}},
		{"no time to answer", []step{{0, 50 * time.Millisecond, queryV3(0, g1)}}, []string{"0.050 IS_EX 239.1.1.1 {}"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := settled(t, nil)
			var got []string
			start := s.now
			for _, st := range tc.steps {
				got = append(got, restamp(s.run(st.wait), start, s.now-int64(st.wait))...)
				s.draw(st.delay)
				s.hear(st.query)
			}
			at := s.now
			got = append(got, restamp(s.run(20*time.Second), start, at)...)
			expect(t, got, tc.want...)
			if s.Deadline() != never || s.asked != 0 {
				t.Error("something is left over")
			}
		})
	}
}

// restamp shifts the times of lines from one start to another.
func restamp(lines []string, to, from int64) []string {
	for i, l := range lines {
		lines[i] = shift(l, float64(from-to)/1e9)
	}
	return lines
}

// A response tells what is so when it is sent.
func TestStateAtResponse(t *testing.T) {
	s := settled(t, func(c *Config) { c.ReportDelay = time.Hour }) // keeps the changes out of sight
	s.draw(5 * time.Second)
	s.hear(queryV3(100, g2, 1, 2))
	s.hear(queryV3(100, g1))
	s.set(g2, in(1, 2, 3), in(2, 3))
	s.set(g1, ex(), NotMember)
	expect(t, s.run(10*time.Second), "5.000 IS_IN 239.1.1.2 {2}")
}

// Sources of queries are kept up to a limit only.
func TestQuerySourceLimit(t *testing.T) {
	s := settled(t, func(c *Config) { c.MaxQuerySources = 4 })
	s.draw(time.Second)
	s.hear(queryV3(100, g2, 1, 2))
	s.hear(queryV3(100, g3, 1, 2))
	s.hear(queryV3(100, g3, 5))
	s.hear(queryV3(100, g3, 6)) // the group's state is pending
	expect(t, s.run(2*time.Second), "1.000 IS_IN 239.1.1.2 {1 2}, IS_EX 239.1.1.3 {1}")
	if n := s.Stats().Causes[CauseManySources]; n != 1 {
		t.Errorf("counted %d", n)
	}
}

// As many sources as the limit are kept.
func TestQuerySourcesAtLimit(t *testing.T) {
	s := settled(t, func(c *Config) { c.MaxQuerySources = 4 })
	s.draw(time.Second)
	s.hear(queryV3(100, g2, 1, 2))
	s.hear(queryV3(100, g3, 1, 2))
	if n := s.Stats().Causes[CauseManySources]; n != 0 {
		t.Errorf("counted %d", n)
	}
}

// Queries that are not heeded, and why.
func TestBadQueries(t *testing.T) {
	general := queryV3(100, ipv4.Addr{})
	for _, tc := range []struct {
		name   string
		change func(*Config)
		p      Packet
		want   Cause
	}{
		{"good", nil, from(routeIP, AllSystems, general), CauseNone},
		{"to our address", nil, from(routeIP, ourIP, general), CauseNone},
		{"to a group of ours", nil, from(routeIP, g1, general), CauseNone},
		{"for a group, to all", nil, from(routeIP, AllSystems, queryV3(1, g1)), CauseNone},
		{"from a switch", nil, from(ipv4.Addr{}, AllSystems, general), CauseNone},
		{"additional data", nil, from(routeIP, AllSystems, seal(append(queryV3(1, ipv4.Addr{}), 1, 2, 3))), CauseNone},
		{"without router alert", nil, Packet{routeIP, AllSystems, 1, false, general, false}, CauseNone},
		{"v1 without router alert", requireAlert, Packet{routeIP, AllSystems, 1, false, short(Query, 0, ipv4.Addr{}), false}, CauseNone},
		{"v2 without router alert", requireAlert, Packet{routeIP, AllSystems, 1, false, short(Query, 1, ipv4.Addr{}), false}, CauseRouterAlert},
		{"v3 without router alert", requireAlert, Packet{routeIP, AllSystems, 1, false, general, false}, CauseRouterAlert},
		{"from afar", nil, Packet{routeIP, AllSystems, 63, true, general, false}, CauseTTL},
		{"from afar, allowed", func(c *Config) { c.AnyTTL = true }, Packet{routeIP, AllSystems, 63, true, general, false}, CauseNone},
		{"from a group", nil, from(g1, AllSystems, general), CauseSource},
		{"from loopback", nil, from(ipv4.Addr{127, 0, 0, 1}, AllSystems, general), CauseSource},
		{"from broadcast", nil, from(ipv4.Addr{255, 255, 255, 255}, AllSystems, general), CauseSource},
		{"to another address of ours", nil, Packet{routeIP, peerIP, 1, true, general, true}, CauseNone},
		{"to another host", nil, from(routeIP, peerIP, general), CauseDestination},
		{"to 0.0.0.0", nil, from(routeIP, ipv4.Addr{}, general), CauseDestination},
		{"to a group of others", nil, from(routeIP, ipv4.Addr{239, 9, 9, 9}, general), CauseDestination},
		{"for a group of others", nil, from(routeIP, AllSystems, queryV3(1, ipv4.Addr{239, 9, 9, 9})), CauseNotMember},
		{"for all systems", nil, from(routeIP, AllSystems, queryV3(1, AllSystems)), CauseNotMember},
		{"for no group", nil, from(routeIP, AllSystems, queryV3(1, peerIP)), CauseGroup},
		{"general with sources", nil, from(routeIP, AllSystems, queryV3(1, ipv4.Addr{}, 1)), CauseGroup},
		{"10 bytes", nil, from(routeIP, AllSystems, seal(append(short(Query, 1, g1), 0, 0))), CauseQueryLength},
		{"sources cut", nil, from(routeIP, AllSystems, seal(queryV3(1, g1, 1, 2)[:19])), CauseTooShort},
		{"checksum", nil, from(routeIP, AllSystems, append(general[:11:11], 1)), CauseChecksum},
		{"leave", nil, from(peerIP, AllRouters, short(Leave, 0, g1)), CauseRouterOnly},
		{"v3 report", nil, from(peerIP, AllReports, seal([]byte{byte(ReportV3), 0, 0, 0, 0, 0, 0, 0})), CauseRouterOnly},
		{"DVMRP", nil, from(peerIP, AllSystems, seal([]byte{0x13, 0, 0, 0, 0, 0, 0, 0})), CauseType},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := settled(t, tc.change)
			before := s.Stats().Causes
			if c := s.Input(s.now, tc.p); c != tc.want {
				t.Fatalf("cause %v, want %v", c, tc.want)
			}
			if tc.want != CauseNone {
				before[tc.want]++
				if s.Deadline() != never {
					t.Error("a response is due")
				}
			} else if s.Deadline() == never {
				t.Error("no response is due")
			}
			if s.Stats().Causes != before {
				t.Error("wrongly counted")
			}
		})
	}
	s := settled(t, nil)
	s.LinkDown(s.now)
	if c := s.Input(s.now, from(routeIP, AllSystems, general)); c != CauseLinkDown || s.Deadline() != never {
		t.Errorf("link down: %v", c)
	}
}

func requireAlert(c *Config) { c.RequireRouterAlert = true }

// The querier's robustness and interval are adopted (RFC 3376 sections 4.1.6 and 4.1.7).
func TestQuerierVariables(t *testing.T) {
	s := newSim(t, nil)
	q := queryV3(10, ipv4.Addr{})
	for _, tc := range []struct {
		qrv, qqic  byte
		robustness int
		interval   time.Duration
	}{
		{3, 60, 3, 60 * time.Second},
		{0, 0, 2, 125 * time.Second},
		{8 | 7, 0x80, 7, 128 * time.Second},
		{1, 0xff, 1, 31744 * time.Second},
	} {
		q[8], q[9] = tc.qrv, tc.qqic
		s.hear(seal(q))
		if st := s.Status(); st.Robustness != tc.robustness || st.QueryInterval != tc.interval ||
			st.Querier != routeIP || st.QuerierVersion != 3 || st.QuerierHeard != s.now {
			t.Errorf("QRV %d, QQIC %#x: %+v", tc.qrv, tc.qqic, st)
		}
	}
	s.set(g1, NotMember, ex())
	expect(t, s.run(30*time.Second), "0.002 TO_EX 239.1.1.1 {}", "0.500 IS_EX 239.1.1.1 {}")
	q[8] = 3
	s.hear(seal(q))
	s.set(g1, ex(), NotMember)
	expect(t, s.run(30*time.Second),
		"0.002 TO_IN 239.1.1.1 {}", "0.502 TO_IN 239.1.1.1 {}", "1.002 TO_IN 239.1.1.1 {}")
	s.LinkUp(s.now)
	if s.Status().Robustness != 2 {
		t.Error("the old link's robustness stays")
	}
}

// A storm of queries makes few reports.
func TestQueryStorm(t *testing.T) {
	s := settled(t, nil)
	s.draw(100 * time.Millisecond)
	n := 0
	for range 10_000 {
		for _, q := range [][]byte{queryV3(0, ipv4.Addr{}), queryV3(0, g1), queryV3(0, g2, 1, 7), queryV3(100, g3, 8, 9)} {
			s.hear(q)
		}
		n += len(s.run(100 * time.Microsecond))
	}
	if n > 40 {
		t.Errorf("%d reports in a second", n)
	}
}

// However many queries come, and however early the times that they draw, responses of
// one kind are 50 ms apart.
func TestResponsesAreApart(t *testing.T) {
	for name, query := range map[string][]byte{
		"general": queryV3(0, ipv4.Addr{}), "group": queryV3(0, g1), "sources": queryV3(0, g2, 1, 2),
	} {
		t.Run(name, func(t *testing.T) {
			s := settled(t, nil)
			s.draw(time.Millisecond)
			before := s.Stats().TxReportsV3
			for range 1000 {
				s.hear(query)
				s.run(time.Millisecond)
			}
			if n := s.Stats().TxReportsV3 - before; n < 19 || n > 21 {
				t.Errorf("%d reports in a second, want 20", n)
			}
		})
	}
}
