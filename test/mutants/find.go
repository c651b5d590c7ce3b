package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// find returns the mutants of packages, all or those on lines that have changed since a
// revision.
func find(patterns []string, since string) ([]mutant, error) {
	if len(patterns) == 0 {
		return nil, fmt.Errorf("mutants: name packages, such as ./stack")
	}
	changed, err := changedLines(since)
	if err != nil {
		return nil, err
	}
	out, err := output("go", append([]string{"list", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles"}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var all []mutant
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Dir                    string
			GoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if len(p.TestGoFiles)+len(p.XTestGoFiles) == 0 && roomOf(p.ImportPath, false) == p.ImportPath {
			continue
		}
		for _, name := range p.GoFiles {
			file := filepath.Join(p.Dir, name)
			src, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			ms, err := mutantsOf(p.ImportPath, file, src)
			if err != nil {
				return nil, err
			}
			for _, m := range ms {
				if changed == nil || changed[file][m.line] {
					all = append(all, m)
				}
			}
		}
	}
}

var hunk = regexp.MustCompile(`^@@ -\S+ \+(\d+)(?:,(\d+))? @@`)

// changedLines returns the lines of Go files that have come since a revision, by
// file; nil for no revision.
func changedLines(since string) (map[string]map[int]bool, error) {
	if since == "" {
		return nil, nil
	}
	top, err := output("git", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	diff, err := output("git", "diff", "-U0", "--no-color", since, "--", ":/*.go")
	if err != nil {
		return nil, err
	}
	lines := make(map[string]map[int]bool)
	var file string
	for s := bufio.NewScanner(bytes.NewReader(diff)); s.Scan(); {
		b := s.Bytes()
		if name, ok := bytes.CutPrefix(b, []byte("+++ b/")); ok {
			file = filepath.Join(string(bytes.TrimSpace(top)), string(name))
			lines[file] = make(map[int]bool)
		}
		if m := hunk.FindSubmatch(b); m != nil {
			from, _ := strconv.Atoi(string(m[1]))
			n := 1
			if len(m[2]) > 0 {
				n, _ = strconv.Atoi(string(m[2]))
			}
			for i := range n {
				lines[file][from+i] = true
			}
		}
	}
	return lines, nil
}

// output runs a command and returns what it prints; what it complains of is the error.
func output(name string, args ...string) ([]byte, error) {
	var complaint bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %v: %w\n%s", name, args, err, complaint.Bytes())
	}
	return out, nil
}
