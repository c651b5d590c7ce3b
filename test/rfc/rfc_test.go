// Package rfc keeps what the RFCs ask of a host as tables, one file a document: where each
// requirement is met and which test shows it, or why it is not. The tests here keep the
// tables true: what they name exists, and the summary in the README adds up.
package rfc

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A row is one requirement of a table.
type row struct {
	at                      string // file and line
	section, level, want    string
	where, tests            []string // names in backquotes
	shown, notKept, notOurs bool
}

// levels are the words for how strong a requirement is: in capitals where the document has
// them so (RFC 2119, RFC 1122).
var levels = []string{"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "must", "must not", "should", "should not"}

// optional says that nobody is obliged to keep it: such rows are not counted.
func (r *row) optional() bool { return r.level == "MAY" || r.level == "may" }

var quoted = regexp.MustCompile("`([^`]+)`")

// names returns what stands in backquotes.
func names(cell string) (out []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

// tables reads all tables.
func tables(t *testing.T) map[string][]row {
	t.Helper()
	files, err := filepath.Glob("rfc*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	all := map[string][]row{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(b), "\n") {
			if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| § ") || strings.HasPrefix(line, "| --- ") {
				continue
			}
			at := fmt.Sprintf("%s:%d", file, n+1)
			cells := strings.Split(strings.Trim(line, "| "), " | ")
			if len(cells) != 5 {
				t.Errorf("%s: %d cells, want 5", at, len(cells))
				continue
			}
			last := cells[4]
			r := row{at: at, section: cells[0], level: cells[1], want: cells[2], where: names(cells[3]),
				shown: strings.HasPrefix(last, "`"), notKept: strings.HasPrefix(last, "not kept: "), notOurs: strings.HasPrefix(last, "not ours: ")}
			if r.shown {
				r.tests = names(last)
			}
			all[file] = append(all[file], r)
		}
	}
	return all
}

// TestRowsAreComplete has each row say all that it should, and name what there is.
func TestRowsAreComplete(t *testing.T) {
	src := parseSource(t)
	for _, rows := range tables(t) {
		for _, r := range rows {
			switch {
			case !r.optional() && !slices.Contains(levels, r.level):
				t.Errorf("%s: level %q", r.at, r.level)
			case !r.shown && !r.notKept && !r.notOurs:
				t.Errorf("%s: neither a test, nor why not", r.at)
			case r.shown && len(r.where) == 0:
				t.Errorf("%s: a test, but not where it is done", r.at)
			}
			for _, name := range r.where {
				if !src.functions[name] {
					t.Errorf("%s: there is no function %s", r.at, name)
				}
			}
			for _, name := range r.tests {
				if why := src.missing(name); why != "" {
					t.Errorf("%s: %s", r.at, why)
				}
			}
		}
	}
}

// TestDocuments has every document of the list there, with rows.
func TestDocuments(t *testing.T) {
	all := tables(t)
	for _, name := range []string{"rfc768", "rfc791", "rfc792", "rfc826", "rfc1112", "rfc1122-link", "rfc1122-internet", "rfc1122-udp",
		"rfc1191", "rfc3376", "rfc4884", "rfc5227", "rfc5722", "rfc6056", "rfc6864", "rfc8085"} {
		if len(all[name+".md"]) == 0 {
			t.Errorf("no rows for %s", name)
		}
	}
}

// TestEveryRowOfTheSummaries has as many rows of each section of RFC 1122 as its summary
// tables (2.5, 3.5 and 4.1.5) have.
func TestEveryRowOfTheSummaries(t *testing.T) {
	all := tables(t)
	for file, sections := range summaries {
		have := map[string]int{}
		for _, r := range all[file] {
			have[r.section]++
		}
		for section, n := range sections {
			if have[section] < n {
				t.Errorf("%s: section %s has %d rows, the summary %d", file, section, have[section], n)
			}
		}
	}
}

// TestReadmeCounts has the README say how many requirements are kept.
func TestReadmeCounts(t *testing.T) {
	kept, of, optional := 0, 0, 0
	for _, rows := range tables(t) {
		for _, r := range rows {
			switch {
			case r.notOurs:
			case r.optional():
				optional++
			case r.shown:
				kept++
				of++
			default:
				of++
			}
		}
	}
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d of %d", kept, of); !strings.Contains(string(b), want) {
		t.Errorf("the README does not say that %s requirements are kept", want)
	}
	t.Logf("%d of %d kept, and %d that are optional", kept, of, optional)
}
