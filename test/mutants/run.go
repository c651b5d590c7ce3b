package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// options say how mutants are tried.
type options struct {
	end time.Time // stop then, if it is not zero
	own bool      // a package's own tests judge it only, not those of the outer one
	dir string    // where what has been found is kept; none: nowhere
	at  int       // how many mutants are tried at once; 0: one
}

// run tries mutants, room after room: each has its share of the time, and may measure its
// tests in half of that.
func run(ms []mutant, o options) (*counts, error) {
	byRoom := make(map[string][]mutant)
	for _, m := range ms {
		name := roomOf(m.pkg, o.own)
		byRoom[name] = append(byRoom[name], m)
	}
	c, err := newCounts()
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(byRoom))
	for i, name := range names {
		var half time.Time
		of := o
		if !o.end.IsZero() {
			share := time.Until(o.end) / time.Duration(len(names)-i)
			half, of.end = time.Now().Add(share/2), time.Now().Add(share)
		}
		if err := runRoom(c, name, byRoom[name], of, half); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// runRoom tries the mutants of one room, whose tests may be measured until half.
func runRoom(c *counts, name string, ms []mutant, o options, half time.Time) error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r, err := newRoom(name, dir, ms)
	if err != nil {
		return err
	}
	old := readRecord("")
	if o.dir != "" {
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return err
		}
		old = readRecord(filepath.Join(o.dir, flat(name)+".json"))
	}
	if err := r.measure(len(ms), old, half); err != nil {
		return err
	}
	return r.decide(c, ms, old, o)
}

// A verdict is what became of a mutant, and the judge that noticed it.
type verdict struct {
	number int
	fate   fate
	by     *judge
}

// decide counts the fates of mutants: what is on record, and what the judges say now.
func (r *room) decide(c *counts, ms []mutant, old *record, o options) error {
	numbers, verdicts := make(chan int), make(chan verdict)
	var open []int
	for i, m := range ms {
		if _, ok := r.numbers[i+1]; !ok {
			c.add(m, notBuilt)
		} else if f, ok := old.fate(i+1, r.judges); ok {
			c.add(m, f)
			c.known++
		} else {
			open = append(open, i+1)
		}
	}
	for range max(o.at, 1) {
		go func() {
			for n := range numbers {
				verdicts <- r.verdict(n, o.end)
			}
		}()
	}
	go func() {
		defer close(numbers)
		for _, n := range open {
			numbers <- n
		}
	}()
	for i := range open {
		v := <-verdicts
		c.add(ms[v.number-1], v.fate)
		old.add(v.number, v.fate, v.by, r.judges)
		if i%50 == 49 {
			if err := old.write(); err != nil {
				return err
			}
		}
	}
	return old.write()
}

// verdict has the judges try a mutant, if it is not too late.
func (r *room) verdict(number int, end time.Time) verdict {
	if late(end) {
		return verdict{number, undecided, nil}
	}
	f, by := r.try(number)
	return verdict{number, f, by}
}
