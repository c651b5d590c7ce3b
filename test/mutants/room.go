package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A room is a package with its internal ones: the tests of all of them judge the mutants
// of each, for an internal package is a part of the outer one. All mutants of a room are
// built at once, into one test binary for each package with tests.
type room struct {
	name    string
	dir     string // where things are built
	numbers map[int]mutant
	judges  []*judge
}

//go:embed active/active.go
var activeSource []byte

// activeFolder is where the module that is changed has package active, in the overlay.
const activeFolder = "mutantactive"

// roomOf returns the package whose room a package is in, by default with those beside it.
func roomOf(pkg string, own bool) string {
	if outer, _, ok := strings.Cut(pkg, "/internal/"); ok && outer+"/" != module && !own {
		return outer
	}
	return pkg
}

// newRoom builds the judges of mutants; those that cannot be built are left out of numbers.
func newRoom(name, dir string, ms []mutant) (*room, error) {
	r := &room{name: name, dir: dir, numbers: make(map[int]mutant)}
	packages := []string{name}
	for i, m := range ms {
		r.numbers[i+1] = m
		if !slices.Contains(packages, m.pkg) {
			packages = append(packages, m.pkg)
		}
	}
	slices.Sort(packages[1:])
	list, err := output("go", append([]string{"list", "-f", "{{.ImportPath}} {{.Dir}} {{len .TestGoFiles}} {{len .XTestGoFiles}}"}, packages...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); f[2] != "0" || f[3] != "0" {
			r.judges = append(r.judges, &judge{pkg: f[0], dir: f[1], binary: filepath.Join(dir, flat(f[0]))})
		}
	}
	slices.Reverse(r.judges) // the outer package last: its tests take longest
	for len(r.numbers) > 0 {
		again, err := r.build()
		if err != nil || !again {
			return r, err
		}
	}
	return r, nil
}

// build builds all judges. If some mutants are what the compiler complains of they are
// taken out, and it is worth another try.
func (r *room) build() (again bool, err error) {
	overlay, err := r.overlay()
	if err != nil {
		return false, err
	}
	for _, j := range r.judges {
		out, err := exec.Command("go", "test", "-c", "-vet=off", "-gcflags=-e", "-overlay="+overlay, "-o", j.binary, j.pkg).CombinedOutput()
		if err != nil {
			if r.takeOut(string(out)) {
				return true, nil
			}
			return false, fmt.Errorf("go test -c %s: %w\n%s", j.pkg, err, out)
		}
		if err := j.open(); err != nil {
			return false, err
		}
	}
	return false, nil
}

// overlay writes the changed files and what they import.
func (r *room) overlay() (name string, err error) {
	mod, err := output("go", "list", "-m", "-f", "{{.Path}} {{.Dir}}")
	if err != nil {
		return "", err
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(mod)), " ")
	source := filepath.Join(r.dir, "active.go")
	replace := map[string]string{filepath.Join(dir, activeFolder, "active.go"): source}
	errs := os.WriteFile(source, activeSource, 0o600)
	byFile := make(map[string]map[int]mutant)
	for number, m := range r.numbers {
		if byFile[m.file] == nil {
			byFile[m.file] = make(map[int]mutant)
		}
		byFile[m.file][number] = m
	}
	for file, numbers := range byFile {
		src, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		text, err := schemata(src, numbers, path+"/"+activeFolder)
		replace[file] = filepath.Join(r.dir, flat(file))
		errs = errors.Join(errs, err, os.WriteFile(replace[file], []byte(text), 0o600))
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	name = filepath.Join(r.dir, "overlay.json")
	return name, errors.Join(errs, err, os.WriteFile(name, b, 0o600))
}

// flat is a path as the name of a file.
func flat(path string) string { return strings.ReplaceAll(path, "/", "_") }

var complaint = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: `)

// takeOut takes out the mutants of the lines that a compiler complains of.
func (r *room) takeOut(complaints string) bool {
	n := len(r.numbers)
	for _, c := range complaint.FindAllStringSubmatch(complaints, -1) {
		line, _ := strconv.Atoi(c[2])
		for number, m := range r.numbers {
			if filepath.Base(c[1]) == flat(m.file) && m.line == line {
				delete(r.numbers, number)
			}
		}
	}
	return len(r.numbers) < n
}

// measure measures the tests of all judges that are not known from before.
func (r *room) measure(n int, old *record, end time.Time) error {
	for _, j := range r.judges {
		if old.recall(j) {
			continue
		}
		if err := j.measure(n, end); err != nil {
			return err
		}
		old.keep(j)
	}
	return nil
}

// try has all judges judge a mutant, and tells which of them has noticed it.
func (r *room) try(number int) (f fate, by *judge) {
	f = unreached
	partial := false
	for _, j := range r.judges {
		switch got := j.try(number); got {
		case killed, timedOut:
			return got, j
		case survived:
			f = survived
		}
		partial = partial || j.partial
	}
	if partial {
		f = undecided
	}
	return f, nil
}
