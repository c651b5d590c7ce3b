package arbiter

import (
	"math/bits"
	"time"
)

// Stats counts what an arbiter has seen. Messages, where nothing else is said.
type Stats struct {
	Delivered uint64
	Lost      uint64 // that no side brought in time
	Gaps      uint64 // ranges of them
	Late      uint64 // copies that came after their message had been given up
	Overflows uint64 // packets too far ahead for the window
	Sides     [sides]SideStats
}

// SideStats is one side's part.
type SideStats struct {
	Packets      uint64
	Heartbeats   uint64 // packets without messages
	OtherSession uint64 // packets of another session, which are dropped
	Messages     uint64 // each once
	First        uint64 // of them those that came before the other side's
	Duplicates   uint64 // that this side had brought already
	Old          uint64 // from before the beginning, or too long ago to be told from duplicates
	Missing      uint64 // that this side has not brought (yet)
	Lead         Histogram
}

// Stats returns the counters.
func (a *Arbiter) Stats() Stats {
	s := a.stats
	for i := range s.Sides {
		s.Sides[i].Missing = a.high - a.first - s.Sides[i].Messages
	}
	return s
}

// subBits is how finely a Histogram divides each power of two.
const subBits = 4

// A Histogram counts durations in cells of which each is a sixteenth of a power of
// two wide.
type Histogram struct {
	Count uint64
	cells [(64 - subBits) << subBits]uint64
}

// Add counts a duration in nanoseconds; a negative one as 0.
func (h *Histogram) Add(ns int64) {
	h.Count++
	h.cells[cell(uint64(max(ns, 0)))]++
}

// cell returns where a value counts: values below 16 each have a cell.
func cell(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return shift<<subBits + int(v>>shift)
}

// Quantile returns the duration below which the fraction q of all lie, rounded
// down by a sixteenth at most; 0 without any.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.Count)), h.Count-1)
	i := 0
	for ; rank >= h.cells[i]; i++ {
		rank -= h.cells[i]
	}
	return time.Duration(bottom(i))
}

// bottom returns the smallest value that counts in a cell.
func bottom(i int) uint64 {
	if i < 1<<(subBits+1) {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(i-shift<<subBits) << shift
}
