package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A fate is what became of a mutant.
type fate int

const (
	survived  fate = iota
	killed         // a test failed
	timedOut       // the tests did not end: that is noticed too
	notBuilt       // it is no program, and does not count
	unreached      // no test runs the line: it survives without being run
)

// counts is the outcome of a run.
type counts struct {
	byClass   map[string]*[5]int
	survivors []mutant
}

// run tries mutants one after the other, until a time if it is not zero.
func run(ms []mutant, end time.Time) (*counts, error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c := &counts{byClass: make(map[string]*[5]int)}
	rooms := make(map[string]*room)
	for _, m := range ms {
		if !end.IsZero() && time.Now().After(end) {
			break
		}
		r := rooms[m.pkg]
		if r == nil {
			if r, err = newRoom(m.pkg, dir); err != nil {
				return nil, err
			}
			rooms[m.pkg] = r
		}
		f := unreached
		if r.covers(m.file, m.line) {
			if f, err = r.try(m); err != nil {
				return nil, err
			}
		}
		c.add(m, f)
		if f == survived || f == unreached {
			fmt.Printf("%s: %v\n", map[fate]string{survived: "survived", unreached: "not reached"}[f], m)
		}
	}
	return c, nil
}

func (c *counts) add(m mutant, f fate) {
	n := c.byClass[m.class]
	if n == nil {
		n = new([5]int)
		c.byClass[m.class] = n
	}
	n[f]++
	if f == survived || f == unreached {
		c.survivors = append(c.survivors, m)
	}
}

// sum returns how many died, and how many there were that could.
func (c *counts) sum() (died, all int) {
	for _, n := range c.byClass {
		died += n[killed] + n[timedOut]
		all += n[killed] + n[timedOut] + n[survived] + n[unreached]
	}
	return died, all
}

func (c *counts) tried() int { _, all := c.sum(); return all }

func (c *counts) percent() float64 {
	died, all := c.sum()
	return 100 * float64(died) / float64(max(all, 1))
}

func (c *counts) print(w io.Writer) {
	var classes []string
	for class := range c.byClass {
		classes = append(classes, class)
	}
	slices.Sort(classes)
	for _, class := range classes {
		n := c.byClass[class]
		fmt.Fprintf(w, "%-6s %4d killed, %3d timed out, %4d survived, %4d not reached, %3d not built\n",
			class, n[killed], n[timedOut], n[survived], n[unreached], n[notBuilt])
	}
	died, all := c.sum()
	fmt.Fprintf(w, "%d of %d died, %.0f %%\n", died, all, c.percent())
}

// A room is a package whose tests judge its mutants. Those of the package that an internal
// one is of judge them too: it is a part of that.
type room struct {
	pkg, dir string
	judges   []string      // packages, the room itself first
	bound    time.Duration // for its tests: several times what they took unchanged
	reached  map[string]map[int]bool
}

// newRoom runs a package's tests as they are: they must pass.
func newRoom(pkg, dir string) (*room, error) {
	profile := filepath.Join(dir, "cover")
	began := time.Now()
	judges := judgesOf(pkg)
	args := append([]string{"test", "-count=1", "-coverpkg=" + pkg, "-coverprofile=" + profile}, judges...)
	if _, err := output("go", args...); err != nil {
		return nil, fmt.Errorf("without any mutant: %w", err)
	}
	r := &room{pkg: pkg, dir: dir, judges: judges, bound: 3*time.Since(began) + 20*time.Second}
	b, err := os.ReadFile(profile)
	if err != nil {
		return nil, err
	}
	r.reached = reachedLines(b)
	return r, nil
}

// judgesOf returns the packages whose tests judge the mutants of one.
func judgesOf(pkg string) []string {
	judges := []string{pkg}
	if outer, _, ok := strings.Cut(pkg, "/internal/"); ok && outer != strings.TrimSuffix(module, "/") {
		judges = append(judges, outer)
	}
	return judges
}

// reachedLines reads a cover profile: the lines that were run, by the file's base name.
func reachedLines(profile []byte) map[string]map[int]bool {
	reached := make(map[string]map[int]bool)
	for line := range strings.Lines(string(profile)) {
		var from, to, fromCol, toCol, statements, n int
		name, where, ok := strings.Cut(line, ".go:")
		if !ok {
			continue
		}
		if _, err := fmt.Sscanf(where, "%d.%d,%d.%d %d %d", &from, &fromCol, &to, &toCol, &statements, &n); err != nil || n == 0 {
			continue
		}
		name = filepath.Base(name) + ".go"
		if reached[name] == nil {
			reached[name] = make(map[int]bool)
		}
		for i := from; i <= to; i++ {
			reached[name][i] = true
		}
	}
	return reached
}

func (r *room) covers(file string, line int) bool { return r.reached[filepath.Base(file)][line] }

// try builds one mutant and has the tests judge it.
func (r *room) try(m mutant) (fate, error) {
	src, err := m.apply()
	if err != nil {
		return 0, err
	}
	changed, overlay := filepath.Join(r.dir, "mutant.go"), filepath.Join(r.dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {m.file: changed}})
	if err := errors.Join(err, os.WriteFile(changed, src, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return 0, err
	}
	for _, judge := range r.judges {
		if f, err := r.ask(judge, m, overlay); f != survived || err != nil {
			return f, err
		}
	}
	return survived, nil
}

// ask has the tests of one package judge a mutant that is overlaid.
func (r *room) ask(judge string, m mutant, overlay string) (fate, error) {
	binary := filepath.Join(r.dir, "test")
	os.Remove(binary) // none is built of a package without tests
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay="+overlay, "-o", binary, judge).CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte(filepath.Base(m.file))) {
			return notBuilt, nil
		}
		return 0, fmt.Errorf("go test -c %s: %w\n%s", judge, err, out)
	}
	if _, err := os.Stat(binary); err != nil {
		return survived, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.failfast", "-test.timeout="+r.bound.String())
	cmd.Dir = filepath.Dir(m.file)
	if outer, _, ok := strings.Cut(cmd.Dir, "/internal/"); ok && judge != m.pkg {
		cmd.Dir = outer
	}
	cmd.WaitDelay = 5 * time.Second
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return timedOut, nil
	case err != nil:
		return killed, nil
	}
	return survived, nil
}
