package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/outband/outband/test/mutants/active"
)

// A judge is the test binary of a package, with the mutants of its room in it.
type judge struct {
	pkg, dir string // dir is where its tests run
	binary   string
	hash     string // of the binary: with the same one everything is as before
	tests    []test // those that pass without a mutant, the quickest first
	partial  bool   // there was no time to measure all
}

// A test is one test function, example or fuzz target with its seeds.
type test struct {
	Name    string
	Took    time.Duration
	Reached []int // the numbers of mutants
}

// grace is how long tests may take beside the multiple of the time they took.
const grace = 2 * time.Second

var testName = regexp.MustCompile(`^(Test|Example|Fuzz)\w*$`)

// errLate says that tests did not end in time.
var errLate = errors.New("not done in time")

// open has the tests' names and the hash of what was built.
func (j *judge) open() error {
	f, err := os.Open(j.binary)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	j.hash = fmt.Sprintf("%x", h.Sum(nil))
	return nil
}

// measure runs each test by itself: how long it takes and which of n mutants it
// reaches. A test that fails does so without any mutant, and judges none.
func (j *judge) measure(n int, end time.Time) error {
	cmd := exec.Command(j.binary, "-test.list", ".")
	cmd.Dir = j.dir
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("tests of %s: %w", j.pkg, err)
	}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		if !testName.MatchString(name) {
			continue
		}
		if late(end) {
			j.partial = true
			break
		}
		t, err := j.measureTest(name, n)
		if err != nil {
			t, err = j.measureTest(name, n)
		}
		if err != nil {
			fmt.Printf("not a judge: %s of %s fails without a mutant: %v\n", name, j.pkg, err)
			continue
		}
		j.tests = append(j.tests, t)
	}
	slices.SortStableFunc(j.tests, func(a, b test) int { return cmp.Compare(a.Took, b.Took) })
	return nil
}

func (j *judge) measureTest(name string, n int) (test, error) {
	reached := filepath.Join(filepath.Dir(j.binary), "reached")
	if err := os.WriteFile(reached, make([]byte, n+1), 0o600); err != nil {
		return test{}, err
	}
	began := time.Now()
	err := j.run([]string{name}, time.Minute, active.Reached+"="+reached)
	t := test{Name: name, Took: time.Since(began)}
	b, errRead := os.ReadFile(reached)
	for i := range b {
		if b[i] != 0 {
			t.Reached = append(t.Reached, i)
		}
	}
	return t, errors.Join(err, errRead)
}

// run runs tests until the first fails: the error is errLate if they are not done by
// the bound.
func (j *judge) run(names []string, bound time.Duration, env string) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	// The test's own bound ends it where this program is ended first.
	cmd := exec.CommandContext(ctx, j.binary, "-test.failfast", "-test.timeout="+(2*bound+time.Minute).String(), "-test.run", "^("+strings.Join(names, "|")+")$")
	cmd.Dir = j.dir
	cmd.Env = append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return errLate
	}
	return err
}

// try has the tests that reach a mutant judge it: in groups, each of about twice the
// time of those before. A group has to fail twice, and the second time may take twice
// as long: so a busy machine kills no mutant.
func (j *judge) try(number int) fate {
	f := unreached
	for _, group := range groups(j.tests, number) {
		f = survived
		var names []string
		bound := grace
		for _, t := range group {
			names = append(names, t.Name)
			bound += 4 * t.Took
		}
		env := fmt.Sprintf("%s=%d", active.Chosen, number)
		if j.run(names, bound, env) == nil {
			continue
		}
		switch err := j.run(names, 2*bound, env); {
		case errors.Is(err, errLate):
			return timedOut
		case err != nil:
			return killed
		}
	}
	return f
}

// groups returns the tests that reach a mutant, the quickest first, in groups that are
// run at once.
func groups(tests []test, number int) [][]test {
	const first = 100 * time.Millisecond
	var all [][]test
	var group []test
	var took, before time.Duration
	for _, t := range tests {
		if _, ok := slices.BinarySearch(t.Reached, number); !ok {
			continue
		}
		if len(group) > 0 && took+t.Took > max(first, before) {
			all = append(all, group)
			group, before, took = nil, before+took, 0
		}
		group = append(group, t)
		took += t.Took
	}
	if len(group) > 0 {
		all = append(all, group)
	}
	return all
}

// late reports whether a time is over; the zero time never is.
func late(end time.Time) bool { return !end.IsZero() && time.Now().After(end) }
