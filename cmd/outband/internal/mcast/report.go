package mcast

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// An Interval is what came in one interval, of all groups.
type Interval struct {
	Elapsed   int64  `json:"elapsed_ns"` // since the beginning
	Datagrams uint64 `json:"datagrams"`
	Bytes     uint64 `json:"bytes"`
	Rate      uint64 `json:"rate_bps"`
	// Missing is how many more numbers are missing than before; less than zero if
	// datagrams came that had been missing.
	Missing int64  `json:"missing"`
	Drops   uint64 `json:"drops"`
	Silent  int    `json:"silent_groups"` // that brought nothing
	Groups  int    `json:"groups"`
}

// Print writes the interval as a line. The numbers missing are told if there are
// numbers.
func (i Interval) Print(w io.Writer, numbered bool) error {
	missing := ""
	if numbered {
		missing = fmt.Sprintf("%d missing, ", i.Missing)
	}
	_, err := fmt.Fprintf(w, "%s: %d datagrams, %d bytes, %s, %s%d dropped, %d of %d groups silent\n",
		seconds(i.Elapsed), i.Datagrams, i.Bytes, bits(i.Rate), missing, i.Drops, i.Silent, i.Groups)
	return err
}

// A GroupReport is what came of one group.
type GroupReport struct {
	Group     string    `json:"group"`
	Sources   []string  `json:"sources,omitempty"` // that were asked for
	Datagrams uint64    `json:"datagrams"`
	Bytes     uint64    `json:"bytes"`
	Rate      uint64    `json:"rate_bps"`
	Silence   *int64    `json:"silence_ns"` // since the last datagram; null: there was none
	Drops     uint64    `json:"drops"`      // by the full receive queue (SO_RXQ_OVFL)
	Sequence  *Sequence `json:"sequence,omitempty"`
	Senders   int       `json:"senders,omitempty"` // whose numbers were followed
	Untracked uint64    `json:"untracked_datagrams,omitempty"`
}

// A Report is what a run has received.
type Report struct {
	Elapsed   int64         `json:"elapsed_ns"`
	Datagrams uint64        `json:"datagrams"`
	Bytes     uint64        `json:"bytes"`
	Groups    []GroupReport `json:"groups"`
	// Causes are the counters of drops that have grown, of the whole stack or
	// in-band of the whole host.
	Causes map[string]uint64 `json:"drop_causes"`

	targets []Target
}

func (r *receiver) report() *Report {
	r.refresh()
	now := r.elapsed()
	out := &Report{Elapsed: now, Datagrams: r.total.Datagrams, Bytes: r.total.Bytes, Causes: map[string]uint64{}, targets: r.Targets}
	for i := range r.meters {
		m := &r.meters[i]
		g := GroupReport{Group: m.target.Group.String(), Datagrams: m.datagrams, Bytes: m.bytes, Rate: rate(m.bytes, now), Drops: m.drops,
			Untracked: m.untracked}
		for _, s := range m.target.Sources {
			g.Sources = append(g.Sources, s.String())
		}
		if m.datagrams > 0 {
			silence := now - m.last
			g.Silence = &silence
		}
		if r.Seq.Width > 0 {
			s := m.sequence()
			g.Sequence, g.Senders = &s, len(m.senders)
		}
		out.Groups = append(out.Groups, g)
	}
	for name, v := range r.Counters() {
		if grown := v - r.before[name]; grown > 0 {
			out.Causes[name] = grown
		}
	}
	return out
}

// Silent returns the groups of which nothing came.
func (r *Report) Silent() (groups []string) {
	for i, g := range r.Groups {
		if g.Datagrams == 0 {
			groups = append(groups, r.targets[i].String())
		}
	}
	return groups
}

// Print writes the table: a line for each group, and the causes of drops.
func (r *Report) Print(w io.Writer) {
	numbered, width := false, len("group")
	for i, g := range r.Groups {
		numbered = numbered || g.Sequence != nil
		width = max(width, len(r.targets[i].String()))
	}
	line := func(group, datagrams, bytes, rate string, s []string, silence, drops string) {
		fmt.Fprintf(w, "%-*s %10s %12s %14s", width, group, datagrams, bytes, rate)
		if numbered {
			fmt.Fprintf(w, " %7s %8s %9s %10s %8s", s[0], s[1], s[2], s[3], s[4])
		}
		fmt.Fprintf(w, " %10s %8s\n", silence, drops)
	}
	line("group", "datagrams", "bytes", "rate", []string{"gaps", "missing", "reordered", "duplicates", "restarts"}, "silence", "dropped")
	for i, g := range r.Groups {
		silence, s := "never came", []string(nil)
		if g.Silence != nil {
			silence = seconds(*g.Silence)
		}
		if q := g.Sequence; q != nil {
			for _, n := range []uint64{q.Gaps, q.Missing, q.Reordered, q.Duplicates, q.Restarts} {
				s = append(s, fmt.Sprint(n))
			}
		}
		line(r.targets[i].String(), fmt.Sprint(g.Datagrams), fmt.Sprint(g.Bytes), bits(g.Rate), s, silence, fmt.Sprint(g.Drops))
	}
	r.printTroubles(w)
}

func (r *Report) printTroubles(w io.Writer) {
	for i, g := range r.Groups {
		if g.Sequence != nil && g.Sequence.Short > 0 {
			fmt.Fprintf(w, "%s: %d datagrams too short for a number\n", r.targets[i], g.Sequence.Short)
		}
		if g.Untracked > 0 {
			fmt.Fprintf(w, "%s: %d datagrams of senders beyond %d, whose numbers were not followed\n", r.targets[i], g.Untracked, maxSenders)
		}
	}
	if len(r.Causes) == 0 {
		return
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(r.Causes)) {
		words = append(words, fmt.Sprintf("%s %d", name, r.Causes[name]))
	}
	fmt.Fprintf(w, "drops: %s\n", strings.Join(words, ", "))
}

// seconds writes nanoseconds for people.
func seconds(ns int64) string { return fmt.Sprintf("%.3f s", time.Duration(ns).Seconds()) }

// bits writes a rate for people.
func bits(bps uint64) string {
	switch {
	case bps >= 1e9:
		return fmt.Sprintf("%.2f Gbit/s", float64(bps)/1e9)
	case bps >= 1e6:
		return fmt.Sprintf("%.2f Mbit/s", float64(bps)/1e6)
	}
	return fmt.Sprintf("%.2f kbit/s", float64(bps)/1e3)
}
