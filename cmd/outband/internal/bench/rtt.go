package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/outband/outband/cmd/outband/internal/peers"
)

// An RTTConfig says what round trips to measure.
type RTTConfig struct {
	Count      int      // round trips in a round
	Rounds     int      // how often each contender runs
	Sizes      []int    // bytes of payload
	Contenders []string // of [RTTContenders]; empty: all
	CPUs       []int    // of the near and the far end; empty: not pinned
	Capture    string   // file for the frames of our stack's, at one end of each turn; "": none
	// Progress is told before each turn, rounds counted from 1. It may be nil.
	Progress func(round, size int, contender string)
}

// An RTTReport is the outcome of a run.
type RTTReport struct {
	Schema       int          `json:"schema"`
	Surroundings Surroundings `json:"surroundings"`
	Results      []RTTResult  `json:"results"`
}

// An RTTResult is one contender's figures for one payload size, medians over
// the rounds.
type RTTResult struct {
	Contender string `json:"contender"`
	Payload   int    `json:"payload_bytes"`
	Rounds    int    `json:"rounds"`
	Spin      string `json:"spin,omitempty"` // how our stack waits, as --spin has it
	Summary
	// XFloor is P50 as a multiple of the bare ring's; nil if that did not run.
	XFloor *float64 `json:"x_floor"`

	times histogram // of all rounds
}

// Check says what is wrong with a configuration before anything runs.
func (c RTTConfig) Check() error {
	switch {
	case c.Count < 1 || c.Count > maxCount:
		return fmt.Errorf("count must be from 1 to %d", int(maxCount))
	case c.Rounds < 1:
		return errors.New("rounds must be at least 1")
	}
	_, err := pick(rttContenders, c.Contenders)
	return errors.Join(err, checkSizes(c.Sizes))
}

// maxCount is as many round trips as a turn keeps the times of: 80 MB.
const maxCount = 10e6

func checkSizes(sizes []int) error {
	for _, size := range sizes {
		if size <= quitSize || size > peers.MaxRingPayload {
			return fmt.Errorf("payload of %d bytes: must be from %d to %d, to fit one frame", size, quitSize+1, peers.MaxRingPayload)
		}
	}
	return nil
}

// Surroundings returns where and how the run takes place.
func (c RTTConfig) Surroundings() Surroundings {
	s := surroundings()
	s.Pinned, s.Count, s.Rounds = append([]int{}, c.CPUs...), c.Count, c.Rounds
	return s
}

// RTT measures round trips. It needs the privileges of a lab. When ctx ends, it
// returns what the complete rounds gave, and ctx's error.
func RTT(ctx context.Context, c RTTConfig) (RTTReport, error) {
	contenders, err := pick(rttContenders, c.Contenders)
	if err != nil {
		return RTTReport{}, err
	}
	p := plan{rounds: c.Rounds, sizes: c.Sizes, cpus: c.CPUs, progress: c.Progress, capture: c.Capture}
	results, err := runRounds(ctx, p, contenders, EndJob{Bench: "rtt", Count: c.Count},
		func(ctx context.Context, run func(context.Context, any, any) error) (t turn, err error) {
			return t, run(ctx, new(any), &t)
		})
	return c.report(names(contenders), results), err
}

func (c RTTConfig) report(contenders []string, results table[turn]) RTTReport {
	report := RTTReport{Schema: schema, Surroundings: c.Surroundings(), Results: []RTTResult{}}
	for i := range results {
		var floorP50 int64
		for k, name := range contenders {
			rounds := results[i][k]
			if len(rounds) == 0 {
				continue
			}
			r := RTTResult{Contender: name, Payload: c.Sizes[i], Rounds: len(rounds), Spin: spins(rttContenders)[name], Summary: medians(summaries(rounds)), times: merge(rounds)}
			if name == floor {
				floorP50 = r.P50
			}
			r.XFloor = ratio(float64(r.P50), float64(floorP50))
			report.Results = append(report.Results, r)
		}
	}
	return report
}

// Print writes the results, one table for each payload size.
func (r RTTReport) Print(w io.Writer) {
	for i, result := range r.Results {
		if i == 0 || result.Payload != r.Results[i-1].Payload {
			fmt.Fprintf(w, "\nRTT in ns of %d bytes of payload, medians of %s of %d:\n", result.Payload, Plural(result.Rounds, "round"), r.Surroundings.Count)
			r.printSize(w, result.Payload)
		}
	}
}

func (r RTTReport) printSize(w io.Writer, size int) {
	fmt.Fprintf(w, "%-16s %-8s %9s %9s %9s %9s %8s %9s\n", "contender", "our spin", "min", "p50", "p99", "p99.9", "> 10 us", "x floor")
	for _, result := range r.Results {
		if result.Payload == size {
			fmt.Fprintf(w, "%-16s %-8s %9d %9d %9d %9d %7.2f%% %9s\n", result.Contender, orDash(result.Spin),
				result.Min, result.P50, result.P99, result.P999, 100*result.Slow, times(result.XFloor))
		}
	}
}

// Plural writes a number and what it counts.
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// orDash writes a dash for nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// times writes a ratio, or a dash for none.
func times(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *x)
}

// runRTT is one end's part.
func (j EndJob) runRTT(ready func()) (any, error) {
	end, err := openEnd(rttContenders, j)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	if j.Server {
		ready()
		return nil, serve(end)
	}
	rtt, err := measure(end, WarmUp, j.Count, j.Size)
	if err != nil {
		return nil, err
	}
	return newTurn(rtt)
}

// maxDatagram is room for any datagram of a bench.
const maxDatagram = 2048

// quitSize is the length of the datagram that ends a server.
const quitSize = 1

// serve returns what it receives until it is told to quit.
func serve(c conn) error {
	buf := make([]byte, maxDatagram)
	for {
		n, err := c.Recv(buf)
		if err != nil {
			return err
		}
		if n == quitSize {
			return nil
		}
		if _, err := c.Send(buf[:n]); err != nil {
			return err
		}
	}
}

// WarmUp is how many round trips of a turn are made before those that count. Both rings
// have been round once by then, the caches are full, and ARP, the spin budget and the
// CPU's frequency have settled.
const WarmUp = 2000

// measure takes the times of count round trips in nanoseconds, after warmUp that do not
// count, and ends the server.
func measure(c conn, warmUp, count, size int) ([]int64, error) {
	out, in := make([]byte, size), make([]byte, maxDatagram)
	for i := range out {
		out[i] = 1
	}
	rtt := make([]int64, max(warmUp, count)) // written to once while it is warmed up
	for _, trips := range []int{warmUp, count} {
		if err := roundTrips(c, rtt[:trips], out, in); err != nil {
			return nil, err
		}
	}
	_, err := c.Send(out[:quitSize])
	return rtt[:count], err
}

// roundTrips takes the time of each of some round trips.
func roundTrips(c conn, rtt []int64, out, in []byte) error {
	origin := time.Now()
	for i := range rtt {
		start := time.Since(origin)
		if _, err := c.Send(out); err != nil {
			return err
		}
		n, err := c.Recv(in)
		rtt[i] = int64(time.Since(origin) - start)
		if err != nil {
			return err
		}
		if n != len(out) {
			return fmt.Errorf("%d bytes came back of %d", n, len(out))
		}
	}
	return nil
}
