package stack

import (
	"strings"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/fault"
)

// A Counter is one line of the statistics.
type Counter struct {
	Name  string
	Value uint64
}

// Stats is a snapshot of a stack's counters, in a fixed order, each with the
// name that nstat(8) gives it or, for a cause that Linux does not count, one
// that starts with "Outband", or with "Link" if the links count it.
type Stats struct {
	Counters []Counter
}

// Get returns the counter of that name, 0 if there is none.
func (s Stats) Get(name string) uint64 {
	for _, c := range s.Counters {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

// Stats returns the counters as they are now. It waits for each leader to let
// its lane go, about a microsecond, and costs the datagrams nothing.
func (s *Stack) Stats() Stats {
	s.lockLanes()
	var sum counter.Set
	for _, l := range *s.lanes.all.Load() {
		for c, n := range l.counters {
			sum[c] += n
		}
	}
	s.addReassembly(&sum)
	igmps := s.igmpCounters()
	s.unlockLanes()
	s.out.AddTransmitCounters(&sum)
	sum[counter.Faults] = s.faults.Count()
	sum[counter.EventsLost] = s.subscriptions.Lost()
	sum[counter.ErrorsLost] = s.errorsLost.Load()
	sum[counter.ReceiveMemoryFull] = s.receiveMemory.Refused.Load()
	out := make([]Counter, counter.Num, int(counter.Num)+int(arp.NumCauses))
	for i := range out {
		out[i] = Counter{counter.Names[i], sum[i]}
	}
	out = append(append(out, s.arpCounters()...), igmps...)
	s.links.Each(func(name string, n uint64) { out = append(out, Counter{name, n}) })
	return Stats{out}
}

// addReassembly adds what the reassembler counts itself.
func (s *Stack) addReassembly(sum *counter.Set) {
	r := s.reasm.stats()
	sum[counter.IPReasmReqds] = r.ReasmReqds
	sum[counter.IPReasmOKs] = r.ReasmOKs
	sum[counter.IPReasmFails] = r.ReasmFails
	sum[counter.IPReasmTimeout] = r.ReasmTimeout
	sum[counter.IPReasmOverlaps] = r.ReasmOverlaps
	sum[counter.ReasmDuplicates] = r.Duplicates
	sum[counter.ReasmEvicted] = r.Evicted
	sum[counter.ReasmRestarted] = r.Restarted
}

// arpCounters returns how many ARP packets and requests ended in each cause, of
// all neighbour tables together: "OutbandArpUnsolicited" and so on.
func (s *Stack) arpCounters() []Counter {
	var sum [arp.NumCauses]uint64
	for _, i := range s.Interfaces() {
		st := i.dev.Neighbours.Stats()
		for c, n := range st.Causes {
			sum[c] += n
		}
	}
	out := make([]Counter, 0, arp.NumCauses)
	for c := arp.CauseNone + 1; c < arp.NumCauses; c++ {
		out = append(out, Counter{"OutbandArp" + camel(c.String()), sum[c]})
	}
	return out
}

// igmpCounters returns how many IGMP messages ended in each cause, on all interfaces
// together: "OutbandIgmpChecksum" and so on. The locks of all lanes are held.
func (s *Stack) igmpCounters() []Counter {
	var sum [igmp.NumCauses]uint64
	for _, i := range s.Interfaces() {
		st := i.groups.Stats()
		for c, n := range st.Causes {
			sum[c] += n
		}
	}
	out := make([]Counter, 0, igmp.NumCauses)
	for c := igmp.CauseNone + 1; c < igmp.NumCauses; c++ {
		out = append(out, Counter{"OutbandIgmp" + camel(c.String()), sum[c]})
	}
	return out
}

// camel joins words as counters' names do: "table full" becomes "TableFull".
func camel(words string) string {
	var b strings.Builder
	for w := range strings.FieldsSeq(words) {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// A Fault is the report of a panic that was contained (see Config.Panics).
type Fault = fault.Report

// Faults returns the reports of the latest panics that were contained, oldest first. The
// counter OutbandFaults has how many there were. Each is a mistake in the stack: please
// report it.
func (s *Stack) Faults() []Fault { return s.faults.Reports() }
