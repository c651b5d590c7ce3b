package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The program that TestRun changes: what is tested, what is run and not judged, what no
// test runs, what does not end without a line, and what is no program when changed.
var program = map[string]string{
	"go.mod": "module p\n\ngo 1.24\n",
	"p.go": `package p; import "strings"

type boolean bool

func tested(n int) bool {
	if n < 3 {
		return true
	}
	return false
}

func ignored(n int) int {
	if n == 1 {
		return 1
	}
	return 1
}

func unreached() { strings.Clone("") }

func endless(p *int) {
	for *p > 0 {
		*p -= 1
	}
}

func noProgram(b boolean) boolean {
	var c boolean = b && 1 < 2
	return c
}
`,
	"p_test.go": `package p

import "testing"

func TestP(t *testing.T) {
	for n := range 6 {
		if tested(n) != (n <= 2) {
			t.Fatal(n)
		}
		ignored(n)
	}
}

func TestEndless(t *testing.T) {
	n := 3
	endless(&n)
}

func TestNoProgram(t *testing.T) { noProgram(true) }

func TestFails(t *testing.T) { tested(3); t.Fail() }
`,
}

// inProgram makes the program the working directory.
func inProgram(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range program {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "env", "GOMOD")
	cmd.Dir = dir
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), dir) {
		t.Skipf("go has no module there: %s %v", out, err)
	}
	t.Chdir(dir)
}

func TestRun(t *testing.T) {
	inProgram(t)
	ms, err := find([]string{"."}, "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fate{
		"6: tested: other, off: n < 3":                       killed,
		"6: tested: guard, off: n < 3":                       killed,
		"6: tested: guard, negated: n < 3":                   killed,
		"6: tested: limit, bound shifted: n < 3":             killed,
		"13: ignored: guard, off: n == 1":                    survived,
		"13: ignored: guard, negated: n == 1":                survived,
		"19: unreached: other, dropped: strings.Clone(\"\")": unreached,
		"22: endless: limit, bound shifted: *p > 0":          survived,
		"23: endless: other, dropped: *p -= 1":               timedOut,
		"28: noProgram: limit, bound shifted: 1 < 2":         notBuilt,
	}
	kept := t.TempDir()
	for _, test := range []struct {
		what  string
		o     options
		known int
	}{
		{"at first", options{dir: kept}, 0},
		{"on record", options{dir: kept}, 8},
		{"three at once", options{at: 3}, 0},
	} {
		what, known := test.what, test.known
		c, err := run(ms, test.o)
		if err != nil {
			t.Fatal(err)
		}
		if died, all := c.sum(); died != 4 || all != 8 {
			t.Errorf("%s: %d of %d died, want 4 of 8: the survivors are %v", what, died, all, c.survivors)
		}
		for _, m := range c.survivors {
			if _, name, _ := strings.Cut(m.String(), "p.go:"); !want[name].lives() {
				t.Errorf("%s: %v survived", what, m)
			}
		}
		n := c.byPackage["p"]
		for _, f := range []fate{killed, timedOut, survived, unreached, notBuilt} {
			if got := n[f]; got != countOf(ms, want, f) {
				t.Errorf("%s: %d mutants %s, want %d", what, got, fateNames[f], countOf(ms, want, f))
			}
		}
		if c.known != known {
			t.Errorf("%s: %d are known, want %d", what, c.known, known)
		}
	}
	c, err := run(ms, options{end: time.Now()})
	if err != nil || c.byPackage["p"][undecided] == 0 || c.tried() != 0 {
		t.Errorf("without time %v, %v", c.byPackage["p"], err)
	}
}

func countOf(ms []mutant, want map[string]fate, f fate) (n int) {
	for _, m := range ms {
		if _, name, _ := strings.Cut(m.String(), "p.go:"); want[name] == f {
			n++
		}
	}
	return n
}

// A file with all mutants in it has each of them once, and is as it was between them.
func TestSchemata(t *testing.T) {
	numbers := make(map[int]mutant)
	for i, m := range mutantsOfExample(t) {
		numbers[i+1] = m
	}
	got, err := schemata([]byte(example), numbers, "p/active")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(
		"package p\n", "package p; import mutantactive \"p/active\"\n",
		"if t.n+n > t.max {", "if (!mutantactive.Is(1) && (mutantactive.Is(2) != ((mutantactive.Is(3) && t.n+n >= t.max || !mutantactive.Is(3) && t.n+n > t.max)))) {",
		"i < n;", "(mutantactive.Is(4) && i <= n || !mutantactive.Is(4) && i < n);",
		"t.max = 7", "if !mutantactive.Is(5) { t.max = 7 }",
		"t.wake()\n", "if !mutantactive.Is(6) { t.wake() }\n",
		"case n == 3:", "case (!mutantactive.Is(7) && (mutantactive.Is(8) != (n == 3))):",
	).Replace(example)
	if got != want {
		t.Errorf("changed to\n%s\nwant\n%s", got, want)
	}
}

// Groups have the quickest tests first, and grow.
func TestGroups(t *testing.T) {
	const ms = time.Millisecond
	tests := []test{
		{"a", 1 * ms, []int{1}}, {"b", 40 * ms, []int{1, 2}}, {"c", 50 * ms, []int{1, 2}}, {"not", 60 * ms, []int{2}},
		{"d", 70 * ms, []int{1}}, {"e", 90 * ms, []int{1}}, {"f", time.Second, []int{1}},
	}
	var got []string
	for _, g := range groups(tests, 1) {
		var names string
		for _, t := range g {
			names += t.Name
		}
		got = append(got, names)
	}
	if want := []string{"abc", "d", "e", "f"}; !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
	if g := groups(tests, 3); len(g) != 0 {
		t.Errorf("groups of what no test reaches: %v", g)
	}
}

// A fate is believed as long as those are there who told it.
func TestRecord(t *testing.T) {
	a, b, other := &judge{hash: "a"}, &judge{hash: "b"}, &judge{hash: "c"}
	r := readRecord("")
	r.add(1, killed, b, []*judge{a, b})
	r.add(2, survived, nil, []*judge{a, b})
	r.add(3, undecided, nil, []*judge{a, b})
	known := func(judges ...*judge) map[int]fate {
		all := make(map[int]fate)
		for n := range 4 {
			if f, ok := r.fate(n, judges); ok {
				all[n] = f
			}
		}
		return all
	}
	for _, test := range []struct {
		judges []*judge
		want   map[int]fate
	}{
		{[]*judge{a, b}, map[int]fate{1: killed, 2: survived}},
		{[]*judge{other, b}, map[int]fate{1: killed}},
		{[]*judge{a, b, other}, map[int]fate{1: killed}},
		{[]*judge{a, other}, nil},
	} {
		if got := known(test.judges...); !maps.Equal(got, test.want) {
			t.Errorf("fates %v, want %v", got, test.want)
		}
	}
}
