package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/outband/outband/cmd/outband/internal/bench"
)

// The benchmark takes as many rounds as fit its time.
const (
	benchTime   = 6 * time.Second
	benchRounds = 7
	benchCount  = 3000
	benchSize   = 64
)

// meanings says in few words what each contender is that the demo shows.
var meanings = map[string]string{
	"ring":            "a bare packet ring without protocols: the floor",
	"outband-spin":    "ours at both ends, spinning",
	"outband-default": "ours, spinning as long as it pays",
	"outband-block":   "ours, asleep until a datagram comes",
	"outband-half":    "ours, spinning, and an in-band client",
	"kernel-spin":     "in-band UDP, spinning",
	"kernel-block":    "in-band UDP, asleep until a datagram comes",
	"go-net":          "in-band UDP by Go's package net",
}

func (d *demo) roundTrips(ctx context.Context) {
	d.step("round_trips", fmt.Sprintf("Round trips: %d bytes there and back, and what else they could have cost", benchSize))
	report, err := d.bench(ctx)
	rounds := 0
	if len(report.Results) > 0 {
		d.report.RoundTrips = report.Results
		rounds = report.Results[0].Rounds
	}
	d.check(err, "medians of %s of %d, all in turn, each warmed up; for figures to keep: outband bench rtt", bench.Plural(rounds, "round"), benchCount)
	if rounds == 0 {
		return
	}
	d.note("%-15s %8s %8s %7s", "RTT in us", "p50", "p99", "x floor")
	for _, r := range report.Results {
		times := "-"
		if r.XFloor != nil {
			times = fmt.Sprintf("%.2f", *r.XFloor)
		}
		d.note("%-15s %8.1f %8.1f %7s  %s", r.Contender, us(r.P50), us(r.P99), times, meanings[r.Contender])
	}
}

// bench runs rounds until the time is over; but one, if it can, in any case.
func (d *demo) bench(ctx context.Context) (bench.RTTReport, error) {
	enough, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	c := bench.RTTConfig{Count: benchCount, Rounds: benchRounds, Sizes: []int{benchSize}, CPUs: d.CPUs,
		Contenders: slices.Collect(maps.Keys(meanings))}
	c.Progress = func(round, size int, contender string) {
		if round > 1 && time.Since(start) > benchTime {
			cancel()
		} else if d.Progress != nil {
			d.Progress(round, size, contender)
		}
	}
	report, err := bench.RTT(enough, c)
	switch {
	case len(report.Results) > 0 && ctx.Err() == nil && errors.Is(err, context.Canceled):
		err = nil
	case len(report.Results) == 0 && errors.Is(err, context.DeadlineExceeded):
		err = errors.New("this machine is too busy for a single round")
	}
	return report, err
}

func us(ns int64) float64 { return float64(ns) / 1e3 }
