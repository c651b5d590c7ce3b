package bench

import (
	"cmp"
	"slices"
)

// A Summary is what is kept of one run's round trips, in nanoseconds.
type Summary struct {
	Min  int64 `json:"min_ns"`
	P50  int64 `json:"p50_ns"`
	P99  int64 `json:"p99_ns"`
	P999 int64 `json:"p999_ns"`
	// Slow is the part of the trips that took more than SlowTrip: what the machine's own ticks
	// take stands beside what the contender costs.
	Slow float64 `json:"above_10us"`
}

// SlowTrip is what a round trip takes that counts as slow, in nanoseconds.
const SlowTrip = 10_000

// summarize sorts round-trip times in place and takes their quantiles: the
// smallest value that at least the given part of all values does not exceed, or
// the one after it.
func summarize(rtt []int64) Summary {
	if len(rtt) == 0 {
		return Summary{}
	}
	slices.Sort(rtt)
	n := len(rtt)
	quick, _ := slices.BinarySearch(rtt, SlowTrip+1)
	return Summary{Min: rtt[0], P50: rtt[n/2], P99: rtt[n*99/100], P999: rtt[n*999/1000], Slow: float64(n-quick) / float64(n)}
}

// medians returns the median of each figure over the rounds, each for itself.
func medians(rounds []Summary) Summary {
	return Summary{
		Min:  medianOf(rounds, func(s Summary) int64 { return s.Min }),
		P50:  medianOf(rounds, func(s Summary) int64 { return s.P50 }),
		P99:  medianOf(rounds, func(s Summary) int64 { return s.P99 }),
		P999: medianOf(rounds, func(s Summary) int64 { return s.P999 }),
		Slow: medianOf(rounds, func(s Summary) float64 { return s.Slow }),
	}
}

// medianOf returns the median of one figure over the rounds.
func medianOf[T cmp.Ordered](rounds []Summary, get func(Summary) T) T {
	values := make([]T, len(rounds))
	for i, r := range rounds {
		values[i] = get(r)
	}
	return median(values)
}

// median returns the middle value, the lower one of two; zero of none.
func median[T cmp.Ordered](values []T) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
