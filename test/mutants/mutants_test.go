package main

import (
	"go/format"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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

// TestMutantsAreSyntax holds every mutant to be a Go file that differs from the original.
func TestMutantsAreSyntax(t *testing.T) {
	for _, m := range mutantsOfExample(t) {
		b, err := m.apply()
		if err != nil {
			t.Fatal(err)
		}
		if string(b) == example {
			t.Errorf("%v: nothing has changed", m)
		}
		if _, err := format.Source(b); err != nil {
			t.Errorf("%v: %v", m, err)
		}
	}
}

func TestReachedLines(t *testing.T) {
	got := reachedLines([]byte("mode: set\nx/y/a.go:3.5,5.2 2 1\nx/y/a.go:7.1,8.2 1 0\n"))
	for line, want := range map[int]bool{2: false, 3: true, 4: true, 5: true, 6: false, 7: false} {
		if got["a.go"][line] != want {
			t.Errorf("line %d: reached is %t", line, !want)
		}
	}
}

// TestRun has a package with one tested line and one that is not judged by its tests.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module p\n\ngo 1.24\n",
		"p.go":   "package p\n\nfunc tested(n int) bool {\n\tif n < 3 {\n\t\treturn true\n\t}\n\treturn false\n}\n\nfunc ignored(n int) int {\n\tif n == 1 {\n\t\treturn 1\n\t}\n\treturn 1\n}\n",
		"p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestP(t *testing.T) {\n\tfor n := range 6 {\n\t\tif tested(n) != (n <= 2) {\n\t\t\tt.Fatal(n)\n\t\t}\n\t\t" +
			"ignored(n)\n\t}\n}\n",
	} {
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
	ms, err := find([]string{"."}, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := run(ms, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if died, all := c.sum(); died != 3 || all != 5 {
		t.Errorf("%d of %d died, want 3 of 5: the survivors are %v", died, all, c.survivors)
	}
	for _, m := range c.survivors {
		if m.line != 11 {
			t.Errorf("%v survived", m)
		}
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
