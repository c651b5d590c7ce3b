package main

import (
	"fmt"
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
}

// run tries mutants, room after room: each has its share of the time, and may measure its
// tests in half of that.
func run(ms []mutant, o options) (*counts, error) {
	byRoom := make(map[string][]mutant)
	for _, m := range ms {
		name := roomOf(m.pkg, o.own)
		byRoom[name] = append(byRoom[name], m)
	}
	c := newCounts()
	names := slices.Sorted(maps.Keys(byRoom))
	for i, name := range names {
		var half, end time.Time
		if !o.end.IsZero() {
			share := time.Until(o.end) / time.Duration(len(names)-i)
			half, end = time.Now().Add(share/2), time.Now().Add(share)
		}
		if err := runRoom(c, name, byRoom[name], o.dir, half, end); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// runRoom tries the mutants of one room.
func runRoom(c *counts, name string, ms []mutant, kept string, half, end time.Time) error {
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
	if kept != "" {
		if err := os.MkdirAll(kept, 0o700); err != nil {
			return err
		}
		old = readRecord(filepath.Join(kept, flat(name)+".json"))
	}
	if err := r.measure(len(ms), old, half); err != nil {
		return err
	}
	for i, m := range ms {
		f, known := r.decide(i+1, old, end)
		if c.add(m, f); known {
			c.known++
		}
		if f.lives() {
			fmt.Printf("%s: %v\n", fateNames[f], m)
		}
		if i%50 == 49 {
			if err := old.write(); err != nil {
				return err
			}
		}
	}
	return old.write()
}

// decide tells the fate of a mutant: what is on record, which is known, or what the
// judges say now.
func (r *room) decide(number int, old *record, end time.Time) (f fate, known bool) {
	if _, ok := r.numbers[number]; !ok {
		return notBuilt, false
	}
	if f, ok := old.fate(number, r.judges); ok {
		return f, true
	}
	if late(end) {
		return undecided, false
	}
	f, by := r.try(number)
	old.add(number, f, by, r.judges)
	return f, false
}
