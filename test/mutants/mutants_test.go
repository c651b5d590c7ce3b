package main

import (
	"maps"
	"os"
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
		if name := m.name(); name != "p "+m.what() {
			t.Errorf("%v is called %s", m, name)
		}
	}
	want := []string{
		"6: t.add: limit, off: t.n+n > t.max",
		"6: t.add: limit, negated: t.n+n > t.max",
		"6: t.add: limit, bound shifted: t.n+n > t.max",
		"9: t.add: limit, bound shifted: i < n",
		"12: t.add: other, dropped: t.max = 7",
		"13: t.add: wake, dropped: t.wake()",
		"15: t.add: other, off: n == 3",
		"15: t.add: other, negated: n == 3",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("mutants\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A function is named whatever its receiver is, and none outside of functions.
func TestFunctionAt(t *testing.T) {
	const text = `package p

var v = 1 < 2

func f() bool { return 1 < 2 }
func (t) a() bool { return 1 < 2 }
func (*t) b() bool { return 1 < 2 }
func (x *g[K]) c() bool { return func() bool { return 1 < 2 }() }
func (g2[K, V]) d() bool { return 1 < 2 }
`
	ms, err := mutantsOf("p", "p.go", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range ms {
		got = append(got, m.in)
	}
	if want := []string{"", "f", "t.a", "t.b", "g.c", "g2.d"}; !slices.Equal(got, want) {
		t.Errorf("functions %q, want %q", got, want)
	}
}

// The lists have mutants that there are, each once and with a reason.
func TestLists(t *testing.T) {
	equivalent, err := listed(equivalentList)
	if err != nil {
		t.Fatal(err)
	}
	surviving, err := listed(survivorList)
	if err != nil {
		t.Fatal(err)
	}
	packages := make(map[string]bool)
	missing := make(map[string]bool)
	for _, list := range []map[string]string{equivalent, surviving} {
		for name, reason := range list {
			pkg, _, _ := strings.Cut(name, " ")
			packages["../../"+pkg] = true
			if reason == "" || missing[name] {
				t.Errorf("no reason, or on both lists: %s", name)
			}
			missing[name] = true
		}
	}
	all, err := find(slices.Collect(maps.Keys(packages)), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		delete(missing, m.name())
	}
	for name := range missing {
		t.Errorf("there is no such mutant: %s", name)
	}
	rest, err := withoutEquivalents(slices.Clone(all))
	if err != nil || len(all)-len(rest) < len(equivalent) {
		t.Errorf("%d of %d mutants are left by a list of %d: %v", len(rest), len(all), len(equivalent), err)
	}
}

// What cannot be a list says so.
func TestListsRefused(t *testing.T) {
	for _, list := range []string{"p f: guard, off: x", "p f: guard, off: x // a\np f: guard, off: x // b"} {
		if got, err := listed(list); err == nil {
			t.Errorf("%q is a list: %v", list, got)
		}
	}
}

// A run of the survivors of another has those, wherever they stand now, with a reason
// behind them or without.
func TestAgain(t *testing.T) {
	ms := mutantsOfExample(t)
	file := filepath.Join(t.TempDir(), "out")
	out := `9 of 9 mutants
survived: p/other.go:77: t.add: limit, off: t.n+n > t.max
not reached: p/p.go:13: t.add: wake, dropped: t.wake() // a reason
killed: p/p.go:15: t.add: other, off: n == 3
`
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := again(ms, file)
	if err != nil || len(got) != 2 || got[0].kind != off || got[1].class != "wake" {
		t.Errorf("once more: %v, %v", got, err)
	}
	if _, err := again(ms, file+"x"); err == nil {
		t.Error("survivors of a file that there is not")
	}
}

// A survivor that is on the list counts as one, and as explained.
func TestExplained(t *testing.T) {
	ms := mutantsOfExample(t)
	c, err := newCounts()
	if err != nil {
		t.Fatal(err)
	}
	c.listed = map[string]string{ms[0].name(): "a reason", ms[1].name(): "another"}
	c.add(ms[0], survived)
	c.add(ms[1], killed)
	c.add(ms[2], unreached)
	if died, all := c.sum(); died != 1 || all != 3 || c.explained != 1 {
		t.Errorf("%d of %d died, %d explained, want 1 of 3 and 1", died, all, c.explained)
	}
	stale := "no survivor any more: " + ms[1].name()
	var b strings.Builder
	if c.print(&b); !strings.Contains(b.String(), stale) || strings.Contains(b.String(), ms[0].name()) {
		t.Errorf("%q, want that one has died that was listed", b.String())
	}
	c.add(ms[1], survived) // another of the same name
	b.Reset()
	if c.print(&b); strings.Contains(b.String(), stale) {
		t.Errorf("%q, but one of the name lives", b.String())
	}
}
