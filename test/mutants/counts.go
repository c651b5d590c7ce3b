package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A fate is what became of a mutant.
type fate int

const (
	undecided fate = iota // the time was over before all tests were asked: it does not count
	survived
	killed    // a test failed, twice
	timedOut  // the tests did not end, twice: that is noticed too
	notBuilt  // it is no program, and does not count
	unreached // no test comes by: it survives without being run
	fates
)

var fateNames = [fates]string{"undecided", "survived", "killed", "timed out", "not built", "not reached"}

// lives reports whether a mutant of this fate is one that tests should have noticed.
func (f fate) lives() bool { return f == survived || f == unreached }

// counts has the outcomes of a run, by package and by class.
type counts struct {
	byPackage, byClass map[string]*[fates]int
	survivors          []mutant
	known              int               // of those counted, how many were on record
	listed             map[string]string // the survivors that were known before, and why they live
	explained          int               // how many of those live
	noticed            map[string]bool   // of those tried: whether none of the name lives
}

func newCounts() (*counts, error) {
	list, err := listed(survivorList)
	return &counts{byPackage: make(map[string]*[fates]int), byClass: make(map[string]*[fates]int),
		listed: list, noticed: make(map[string]bool)}, err
}

// add counts a mutant, and says what is to be looked at: one that lives, with the reason if
// survivors.txt has one.
func (c *counts) add(m mutant, f fate) {
	count := func(in map[string]*[fates]int, name string) {
		if in[name] == nil {
			in[name] = new([fates]int)
		}
		in[name][f]++
	}
	count(c.byPackage, strings.TrimPrefix(m.pkg, module))
	count(c.byClass, m.class)
	reason := c.listed[m.name()]
	if reason != "" && f != undecided && f != notBuilt {
		before, tried := c.noticed[m.name()]
		c.noticed[m.name()] = !f.lives() && (before || !tried)
	}
	if !f.lives() {
		return
	}
	c.survivors = append(c.survivors, m)
	if reason != "" {
		c.explained++
		reason = " // " + reason
	}
	fmt.Printf("%s: %v%s\n", fateNames[f], m, reason)
}

// sum returns how many died, and how many there were that could.
func (c *counts) sum() (died, all int) {
	for _, n := range c.byClass {
		d, a := sumOf(n)
		died, all = died+d, all+a
	}
	return died, all
}

func sumOf(n *[fates]int) (died, all int) {
	died = n[killed] + n[timedOut]
	return died, died + n[survived] + n[unreached]
}

func (c *counts) tried() int { _, all := c.sum(); return all }

func (c *counts) percent() float64 {
	died, all := c.sum()
	return percent(died, all)
}

func percent(died, all int) float64 { return 100 * float64(died) / float64(max(all, 1)) }

func (c *counts) print(w io.Writer) {
	for _, in := range []map[string]*[fates]int{c.byPackage, c.byClass} {
		fmt.Fprintf(w, "\n%-28s %7s", "", "mutants")
		for _, f := range []fate{killed, timedOut, survived, unreached, notBuilt, undecided} {
			fmt.Fprintf(w, " %11s", fateNames[f])
		}
		fmt.Fprintln(w, "   died")
		for _, name := range slices.Sorted(maps.Keys(in)) {
			n := in[name]
			died, all := sumOf(n)
			fmt.Fprintf(w, "%-28s %7d", name, all+n[notBuilt]+n[undecided])
			for _, f := range []fate{killed, timedOut, survived, unreached, notBuilt, undecided} {
				fmt.Fprintf(w, " %11d", n[f])
			}
			fmt.Fprintf(w, " %4.0f %%\n", percent(died, all))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.noticed)) {
		if c.noticed[name] {
			fmt.Fprintf(w, "\nno survivor any more: %s", name)
		}
	}
	died, all := c.sum()
	fmt.Fprintf(w, "\n%d of %d died, %.0f %%; of the others survivors.txt has %d\n", died, all, c.percent(), c.explained)
}
