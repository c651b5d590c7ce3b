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
}

// summarize sorts round-trip times in place and takes their quantiles: the
// smallest value that at least the given part of all values does not exceed, or
// the one after it.
func summarize(rtt []int64) Summary {
	if len(rtt) == 0 {
		return Summary{}
	}
	slices.Sort(rtt)
	n := len(rtt)
	return Summary{Min: rtt[0], P50: rtt[n/2], P99: rtt[n*99/100], P999: rtt[n*999/1000]}
}

// medians returns the median of each figure over the rounds, each for itself.
func medians(rounds []Summary) Summary {
	field := func(get func(Summary) int64) int64 {
		values := make([]int64, len(rounds))
		for i, r := range rounds {
			values[i] = get(r)
		}
		return median(values)
	}
	return Summary{
		Min:  field(func(s Summary) int64 { return s.Min }),
		P50:  field(func(s Summary) int64 { return s.P50 }),
		P99:  field(func(s Summary) int64 { return s.P99 }),
		P999: field(func(s Summary) int64 { return s.P999 }),
	}
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
