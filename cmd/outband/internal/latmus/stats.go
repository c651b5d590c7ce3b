package latmus

import (
	"encoding/json"
	"math"
	"time"
)

// A Series is what is known of one of the four latencies. Times are nanoseconds.
type Series struct {
	Count    uint64
	Min, Max int64
	sum      float64
	window   int64  // the largest since the last line
	inWindow uint64 // how many that were
	// Cells counts the latencies of 0, 1, ... microseconds, the last what is
	// longer; nil without a histogram.
	Cells []uint64
}

func (s *Series) add(ns int64) {
	if s.Count == 0 || ns < s.Min {
		s.Min = ns
	}
	if s.Count == 0 || ns > s.Max {
		s.Max = ns
	}
	if s.inWindow == 0 || ns > s.window {
		s.window = ns
	}
	s.Count++
	s.inWindow++
	s.sum += float64(ns)
	if n := int64(len(s.Cells)); n > 0 {
		s.Cells[max(0, min(ns/1000, n-1))]++
	}
}

// takeWindow returns the largest latency since it was last called, and whether there was
// any.
func (s *Series) takeWindow() (worst int64, any bool) {
	worst, any = s.window, s.inWindow > 0
	s.window, s.inWindow = 0, 0
	return worst, any
}

// Mean returns the mean latency in nanoseconds.
func (s *Series) Mean() float64 {
	if s.Count == 0 {
		return 0
	}
	return s.sum / float64(s.Count)
}

// MarshalJSON gives latencies in microseconds.
func (s *Series) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Count     uint64   `json:"count"`
		Min       float64  `json:"min_us"`
		Mean      float64  `json:"mean_us"`
		Max       float64  `json:"max_us"`
		Histogram []uint64 `json:"histogram_1us,omitempty"`
	}{s.Count, us(s.Min), math.Round(s.Mean()) / 1e3, us(s.Max), s.Cells})
}

func us(ns int64) float64 { return float64(ns) / 1e3 }

// A Result is what a run has measured.
type Result struct {
	RxSched  Series `json:"rx_sched"`
	RxUser   Series `json:"rx_user"`
	TxSched  Series `json:"tx_sched"`
	TxUser   Series `json:"tx_user"`
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	// Lost counts serial numbers that were passed over, Wrong what came twice, late
	// or damaged.
	Lost  uint64 `json:"lost"`
	Wrong uint64 `json:"wrong"`
	// ClocksDiffer counts packets whose stamp, by the wall clock, is later than their
	// arrival, or older than the measurement: the clock was set, or the stamp is by
	// another's clock. They are in no latency. ClockDifference is the largest difference
	// that was seen, in nanoseconds.
	ClocksDiffer    uint64 `json:"clocks_differ"`
	ClockDifference int64  `json:"clock_difference_ns"`
	// Overruns counts packets that could not be sent at once, and periods that
	// had gone by when they should have begun.
	Overruns uint64 `json:"overruns"`
	// Switches counts how often the kernel took the CPU from the measuring thread.
	Switches int64         `json:"switches"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

func (r *Result) series() [4]*Series {
	return [4]*Series{&r.RxSched, &r.RxUser, &r.TxSched, &r.TxUser}
}
