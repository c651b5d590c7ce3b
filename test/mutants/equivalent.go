package main

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// equivalentList has the mutants that do not count, a line each.
//
//go:embed equivalent.txt
var equivalentList string

// equivalents returns what the list has: mutants by their names without a line, and why.
func equivalents() (map[string]string, error) {
	all := make(map[string]string)
	for line := range strings.Lines(equivalentList) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, ok := strings.Cut(line, " // ")
		if !ok {
			return nil, fmt.Errorf("equivalent.txt: no reason: %s", line)
		}
		all[name] = reason
	}
	return all, nil
}

// module is the module whose packages' names are short.
const module = "github.com/outband/outband/"

// name is the mutant without the line, which changes with the file.
func (m mutant) name() string {
	return fmt.Sprintf("%s/%s: %s, %s: %s", strings.TrimPrefix(m.pkg, module), filepath.Base(m.file), m.class, m.kind, m.was)
}

// withoutEquivalents leaves out the mutants of the list.
func withoutEquivalents(all []mutant) ([]mutant, error) {
	known, err := equivalents()
	return slices.DeleteFunc(all, func(m mutant) bool { return known[m.name()] != "" }), err
}
