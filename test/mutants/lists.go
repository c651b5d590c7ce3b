package main

import (
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// equivalentList has the mutants that do not count, survivorList those that count as
// survivors although somebody has looked at them; a line each.
var (
	//go:embed equivalent.txt
	equivalentList string
	//go:embed survivors.txt
	survivorList string
)

// listed returns what a list has: mutants by their names, and why.
func listed(list string) (map[string]string, error) {
	all := make(map[string]string)
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, ok := strings.Cut(line, " // ")
		if !ok {
			return nil, fmt.Errorf("a list of mutants: no reason: %s", line)
		}
		if all[name] != "" {
			return nil, fmt.Errorf("a list of mutants: twice: %s", name)
		}
		all[name] = reason
	}
	return all, nil
}

// module is the module whose packages' names are short.
const module = "github.com/outband/outband/"

// withoutEquivalents leaves out the mutants that do not count.
func withoutEquivalents(all []mutant) ([]mutant, error) {
	known, err := listed(equivalentList)
	return slices.DeleteFunc(all, func(m mutant) bool { return known[m.name()] != "" }), err
}

// survivorLine is what a run says of a mutant that lives: its package, and what it is.
var survivorLine = regexp.MustCompile(`^(?:survived|not reached): (\S+)/[^/]+\.go:\d+: (.*?)(?: // .*)?$`)

// again leaves the mutants that lived in a run before, whose output is a file's.
func again(all []mutant, file string) ([]mutant, error) {
	b, err := os.ReadFile(file)
	lived := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		if m := survivorLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			lived[m[1]+" "+m[2]] = true
		}
	}
	return slices.DeleteFunc(all, func(m mutant) bool { return !lived[m.name()] }), err
}
