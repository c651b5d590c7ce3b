package gonet

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/outband/outband"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A contender is who has the address of the server of a comparison; the client is in-band.
type contender struct {
	name    string
	kind    kind
	options []outband.Option
}

var contenders = []contender{
	{"in-band", inBand, nil},
	{"own address", own, nil},
	{"own address, never spinning", own, []outband.Option{outband.WithSpin(stack.SpinNever)}},
	{"shared address, never spinning", shared, []outband.Option{outband.WithSpin(stack.SpinNever)}},
}

// A measure is one figure of a program.
type measure struct {
	name string
	run  func(t testing.TB, client, server *host, effort float64) float64
}

var measures = []measure{
	{"HTTP/3 download by quic-go, MB/s", http3Rate},
	{"HTTP/3 request, median us", http3Latency},
	{"miekg/dns under dnsperf, queries/s", dnsRate},
	{"miekg/dns at 2000 queries/s, median us", dnsLatency},
	{"TCP in WireGuard, both ends in one process, MB/s", wireguardRate},
	{"StatsD without loss, packets/s", statsdRate},
}

// BenchmarkCompare runs programs in-band and out-of-band in turns, as often as -benchtime says, and
// prints a table of medians for README:
//
//	go test -run - -bench Compare -benchtime 5x
func BenchmarkCompare(b *testing.B) {
	if b.N == 1 {
		return // testing tries once before
	}
	fmt.Fprintf(os.Stderr, "\n%s", compare(b, b.N, 1))
}

// TestCompare has all of the comparison run, as quickly as it can.
func TestCompare(t *testing.T) {
	table := compare(t, 1, 0.02)
	if got := strings.Count(table, "\n"); got != 2+len(measures) {
		t.Errorf("%d lines:\n%s", got, table)
	}
}

// compare returns a table of what each measure is of each contender, with so many rounds.
func compare(t testing.TB, rounds int, effort float64) string {
	lab.Need(t)
	var s strings.Builder
	s.WriteString("| what |")
	for _, c := range contenders {
		fmt.Fprintf(&s, " %s |", c.name)
	}
	fmt.Fprintf(&s, "\n|%s\n", strings.Repeat(" --- |", 1+len(contenders)))
	for _, m := range measures {
		got := make([][]float64, len(contenders))
		for range rounds {
			for i, c := range contenders {
				got[i] = append(got[i], m.once(t, c, effort))
			}
		}
		fmt.Fprintf(&s, "| %s |", m.name)
		for i := range contenders {
			fmt.Fprintf(&s, " %s |", cell(got[i], got[0]))
		}
		s.WriteString("\n")
	}
	return s.String()
}

// once measures a contender in a lab of its own.
func (m *measure) once(t testing.TB, c contender, effort float64) (v float64) {
	inSubtest(t, func(t testing.TB) {
		at := lab.All
		if c.kind == own {
			at = lab.Far
		}
		l := lab.New(t, lab.Config{Kernel: at})
		near, far := labHost(t, l.Near(), c.kind, c.options...), labHost(t, l.Far(), inBand)
		v = m.run(t, far, near, effort)
	})
	return v
}

// inSubtest runs f with a test of its own, so that what it opens is closed at its end.
func inSubtest(t testing.TB, f func(t testing.TB)) {
	s := &scope{TB: t}
	defer s.end()
	f(s)
}

// A scope is a test, or a benchmark, whose cleanups run earlier.
type scope struct {
	testing.TB
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}

// cell writes the median of a contender, and how it is to the first one's.
func cell(all, base []float64) string {
	v := median(all)
	return fmt.Sprintf("%.*f (%.2f)", digits(v), v, v/median(base))
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// digits is how many digits behind the point a figure is told with.
func digits(v float64) int {
	if v < 10 {
		return 1
	}
	return 0
}
