package bench

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// schema counts the changes of the reports' JSON that break their readers.
const schema = 1

// A plan is what both benches have in common.
type plan struct {
	rounds   int
	sizes    []int
	cpus     []int
	progress func(round, size int, contender string)
	capture  string
}

// begin empties the file for captures: the ends of a run add to it, one after the other.
func (p *plan) begin() error {
	if p.capture == "" {
		return nil
	}
	f, err := os.Create(p.capture)
	if err != nil {
		return err
	}
	if p.capture, err = filepath.Abs(f.Name()); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// A table holds what each round gave, by payload size and contender.
type table[T any] [][][]T

func newTable[T any](sizes, contenders int) table[T] {
	t := make(table[T], sizes)
	for i := range t {
		t[i] = make([][]T, contenders)
	}
	return t
}

// add takes over a complete round.
func (t table[T]) add(round table[T]) {
	for i := range t {
		for k := range t[i] {
			t[i][k] = append(t[i][k], round[i][k]...)
		}
	}
}

// runRounds gives every contender its turn once in each round, for each size. A
// turn runs the pair that it is handed and returns its outcome. When ctx ends,
// the complete rounds are returned with ctx's error.
func runRounds[E, T any](ctx context.Context, p plan, contenders []contender[E], job EndJob,
	turn func(context.Context, func(context.Context, any, any) error) (T, error)) (table[T], error) {
	if err := p.begin(); err != nil {
		return nil, err
	}
	ws := wires{}
	defer ws.close()
	results := newTable[T](len(p.sizes), len(contenders))
	for round := range p.rounds {
		one := newTable[T](len(p.sizes), len(contenders))
		for i, size := range p.sizes {
			for k, c := range contenders {
				if p.progress != nil {
					p.progress(round+1, size, c.name)
				}
				run, err := prepare(ws, p, c, job, size)
				if err != nil {
					return nil, err
				}
				outcome, err := turn(ctx, run)
				if ctx.Err() != nil {
					return results, ctx.Err()
				}
				if err != nil {
					return nil, fmt.Errorf("%s, %d bytes: %w", c.name, size, err)
				}
				one[i][k] = append(one[i][k], outcome)
			}
		}
		results.add(one)
	}
	return results, nil
}

// prepare returns what runs one contender's two ends.
func prepare[E any](ws wires, p plan, c contender[E], job EndJob, size int) (func(context.Context, any, any) error, error) {
	w, err := ws.between(c.kernelNear, c.kernelFar)
	if err != nil {
		return nil, err
	}
	cpus := p.cpus
	if !c.pinned {
		cpus = nil
	}
	job.Contender, job.Size = c.name, size
	server, client := job, job
	server.Server = true
	client.place, server.place = places(w, cpus)
	switch { // one end sees all frames
	case !c.kernelNear:
		client.Capture = p.capture
	case !c.kernelFar:
		server.Capture = p.capture
	}
	return func(ctx context.Context, serverResult, clientResult any) error {
		return pair(ctx, w, server, client, serverResult, clientResult)
	}, nil
}

// ratio returns a/b to two digits behind the point, or nil if b is 0.
func ratio(a, b float64) *float64 {
	if b == 0 {
		return nil
	}
	x := math.Round(a/b*100) / 100
	return &x
}
