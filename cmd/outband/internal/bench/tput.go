package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A TputConfig says what bulk transfer to measure.
type TputConfig struct {
	Time       time.Duration // for which each contender sends in a round
	Rounds     int
	Sizes      []int    // bytes of payload
	Batch      int      // datagrams a call
	Contenders []string // of [TputContenders]; empty: all
	CPUs       []int    // of the sender and the receiver; empty: not pinned
	Capture    string   // file for the frames of our stack's, at one end of each turn; "": none
	// Progress is told before each turn, rounds counted from 1. It may be nil.
	Progress func(round, size int, contender string)
}

// A TputReport is the outcome of a bulk run.
type TputReport struct {
	Schema       int          `json:"schema"`
	Surroundings Surroundings `json:"surroundings"`
	Results      []TputResult `json:"results"`
}

// A TputResult is one contender's figures for one payload size, medians over
// the rounds.
type TputResult struct {
	Contender string `json:"contender"`
	Payload   int    `json:"payload_bytes"`
	Batch     int    `json:"batch"`
	Rounds    int    `json:"rounds"`
	Spin      string `json:"spin,omitempty"` // how our stack waits, as --spin has it
	flow
	// The same as multiples of the kernel's own; nil if that did not run.
	XSent     *float64 `json:"x_kernel_sent"`
	XReceived *float64 `json:"x_kernel_received"`
}

// A flow is a bulk transfer's speed, in datagrams a second.
type flow struct {
	Sent     float64 `json:"sent_pps"`
	Received float64 `json:"received_pps"`
}

// maxBatch is the most datagrams that a call moves.
const maxBatch = 1024

// Check says what is wrong with a configuration before anything runs.
func (c TputConfig) Check() error {
	var err error
	switch {
	case c.Rounds < 1:
		err = errors.New("rounds must be at least 1")
	case c.Time < time.Millisecond || c.Time > patience/2:
		err = fmt.Errorf("time must be from %s to %s", time.Millisecond, patience/2)
	case c.Batch < 1 || c.Batch > maxBatch:
		err = fmt.Errorf("batch must be from 1 to %d", maxBatch)
	}
	_, pickErr := pick(tputContenders, c.Contenders)
	return errors.Join(err, pickErr, checkSizes(c.Sizes))
}

// Surroundings returns where and how the run takes place.
func (c TputConfig) Surroundings() Surroundings {
	s := surroundings()
	s.Ours.Slots = bulkSlots
	s.Pinned, s.Seconds, s.Rounds = append([]int{}, c.CPUs...), c.Time.Seconds(), c.Rounds
	return s
}

// Tput measures bulk transfer. It needs the privileges of a lab. When ctx ends,
// it returns what the complete rounds gave, and ctx's error.
func Tput(ctx context.Context, c TputConfig) (TputReport, error) {
	contenders, err := pick(tputContenders, c.Contenders)
	if err != nil {
		return TputReport{}, err
	}
	p := plan{rounds: c.Rounds, sizes: c.Sizes, cpus: c.CPUs, progress: c.Progress, capture: c.Capture}
	job := EndJob{Bench: "tput", Batch: c.Batch, Seconds: c.Time.Seconds()}
	results, err := runRounds(ctx, p, contenders, job,
		func(ctx context.Context, run func(context.Context, any, any) error) (flow, error) {
			var far, near flow
			err := run(ctx, &far, &near)
			return flow{Sent: near.Sent, Received: far.Received}, err
		})
	return c.report(names(contenders), results), err
}

func (c TputConfig) report(contenders []string, results table[flow]) TputReport {
	report := TputReport{Schema: schema, Surroundings: c.Surroundings(), Results: []TputResult{}}
	for i := range results {
		var base flow
		for k, name := range contenders {
			rounds := results[i][k]
			if len(rounds) == 0 {
				continue
			}
			r := TputResult{Contender: name, Payload: c.Sizes[i], Batch: c.Batch, Rounds: len(rounds), Spin: spins(tputContenders)[name], flow: medianFlow(rounds)}
			if name == bulkFloor {
				base = r.flow
			}
			r.XSent, r.XReceived = ratio(r.Sent, base.Sent), ratio(r.Received, base.Received)
			report.Results = append(report.Results, r)
		}
	}
	return report
}

func medianFlow(rounds []flow) flow {
	sent, received := make([]float64, len(rounds)), make([]float64, len(rounds))
	for i, r := range rounds {
		sent[i], received[i] = r.Sent, r.Received
	}
	return flow{Sent: median(sent), Received: median(received)}
}

// Print writes the results as a table.
func (r TputReport) Print(w io.Writer) {
	if len(r.Results) == 0 {
		return
	}
	fmt.Fprintf(w, "\nMillions of datagrams a second, %d a call, medians of %s of %.3g s:\n",
		r.Results[0].Batch, Plural(r.Results[0].Rounds, "round"), r.Surroundings.Seconds)
	fmt.Fprintf(w, "%-16s %-8s %9s %9s %9s %13s %17s\n", "contender", "our spin", "bytes", "sent", "received", "x kernel sent", "x kernel received")
	for _, result := range r.Results {
		fmt.Fprintf(w, "%-16s %-8s %9d %9.3f %9.3f %13s %17s\n", result.Contender, orDash(result.Spin), result.Payload,
			result.Sent/1e6, result.Received/1e6, times(result.XSent), times(result.XReceived))
	}
}

// runTput is one end's part.
func (j EndJob) runTput(ready func()) (any, error) {
	end, err := openEnd(tputContenders, j)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	if j.Server {
		ready()
		return drain(end)
	}
	return flood(end, time.Duration(j.Seconds*float64(time.Second)))
}

// flood sends for a time.
func flood(b bulk, length time.Duration) (flow, error) {
	sent, start := 0, time.Now()
	took := time.Duration(0)
	for ; took < length; took = time.Since(start) {
		n, err := b.send()
		if err != nil {
			return flow{}, err
		}
		sent += n
	}
	return flow{Sent: float64(sent) / took.Seconds()}, nil
}

// drain receives from the first datagram to the last.
func drain(b bulk) (flow, error) {
	var start time.Time
	var last time.Duration
	received := 0
	for {
		n, err := b.receive()
		switch {
		case err == errIdle && received == 0:
			continue // the sender is not up yet
		case err == errIdle:
			return flow{Received: float64(received) / max(last, 1).Seconds()}, nil
		case err != nil:
			return flow{}, err
		case received == 0:
			start = time.Now()
		}
		received += n
		last = time.Since(start)
	}
}
