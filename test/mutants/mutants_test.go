package main

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const example = `package p

type t struct{ n, max int; c chan int }

func (t *t) add(n int) bool {
	if t.n+n > t.max {
		return false
	}
	for i := 0; i < n; i++ {
		t.n++
	}
	t.max = 7
	t.wake()
	switch {
	case n == 3:
		t.c <- 1
	}
	return true
}

func (t *t) wake() {}
`

func mutantsOfExample(t *testing.T) []mutant {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p.go")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	ms, err := mutantsOf("p", file, []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

func TestMutantsOf(t *testing.T) {
	var got []string
	for _, m := range mutantsOfExample(t) {
		_, what, _ := strings.Cut(m.String(), "p.go:")
		got = append(got, what)
	}
	want := []string{
		"6: limit, off: t.n+n > t.max",
		"6: limit, negated: t.n+n > t.max",
		"6: limit, bound shifted: t.n+n > t.max",
		"9: limit, bound shifted: i < n",
		"12: other, dropped: t.max = 7",
		"13: wake, dropped: t.wake()",
		"15: other, off: n == 3",
		"15: other, negated: n == 3",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("mutants\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The list of mutants that change nothing has those that there are, and leaves them out.
func TestEquivalents(t *testing.T) {
	known, err := equivalents()
	if err != nil {
		t.Fatal(err)
	}
	folders := make(map[string]bool)
	for name, reason := range known {
		file, _, _ := strings.Cut(name, ":")
		folders["../../"+path.Dir(file)] = true
		if reason == "" {
			t.Errorf("%s: no reason", name)
		}
	}
	var patterns []string
	for f := range folders {
		patterns = append(patterns, f)
	}
	all, err := find(patterns, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		delete(known, m.name())
	}
	for name := range known {
		t.Errorf("equivalent.txt: there is no such mutant: %s", name)
	}
	rest, err := withoutEquivalents(slices.Clone(all))
	if err != nil || len(rest) >= len(all) {
		t.Errorf("%d of %d mutants are left: %v", len(rest), len(all), err)
	}
}
