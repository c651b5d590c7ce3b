package main

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// alias is what a changed file calls the package active.
const alias = "mutantactive"

// A site is a text of which there are mutants: with none of them chosen it does what
// it did.
type site struct {
	at      span
	op      span
	isShift bool
	drop    bool
	numbers map[string]int // of its mutants, by kind
}

// schemata returns a file with all its mutants in it, each behind a question for its
// number. The mutants are those of the file; activePath is where package active is.
// Lines stay where they are, but for those of a comparison over several lines.
func schemata(src []byte, numbers map[int]mutant, activePath string) (string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", src, parser.PackageClauseOnly)
	if err != nil {
		return "", err
	}
	w := &writer{string(src), sitesOf(numbers)}
	head := fset.Position(f.Name.End()).Offset
	return w.src[:head] + fmt.Sprintf("; import %s %q", alias, activePath) + w.text(span{head, len(src)}, 0), nil
}

// sitesOf returns the sites of mutants, the outer before those in it.
func sitesOf(numbers map[int]mutant) []*site {
	type key struct {
		at    span
		shift bool
	}
	found := make(map[key]*site)
	for number, m := range numbers {
		k := key{m.at, m.kind == shift}
		if found[k] == nil {
			found[k] = &site{m.at, m.op, m.kind == shift, m.kind == dropped, make(map[string]int)}
		}
		found[k].numbers[m.kind] = number
	}
	var sites []*site
	for _, s := range found {
		sites = append(sites, s)
	}
	inner := func(s *site) int {
		if s.isShift {
			return 1
		}
		return 0
	}
	slices.SortFunc(sites, func(a, b *site) int {
		return cmp.Or(cmp.Compare(a.at.from, b.at.from), cmp.Compare(b.at.to, a.at.to), cmp.Compare(inner(a), inner(b)))
	})
	return sites
}

// A writer writes a file's text with its sites changed.
type writer struct {
	src   string
	sites []*site
}

// text is the text of a part of the file, with the sites in it from the first on.
func (w *writer) text(part span, first int) string {
	var b strings.Builder
	at := part.from
	for i := first; i < len(w.sites) && w.sites[i].at.from < part.to; i++ {
		if s := w.sites[i]; s.at.from >= at && s.at.to <= part.to {
			b.WriteString(w.src[at:s.at.from])
			b.WriteString(w.changed(s, i+1))
			at = s.at.to
		}
	}
	b.WriteString(w.src[at:part.to])
	return b.String()
}

// changed is the text of a site; those in it are from next on.
func (w *writer) changed(s *site, next int) string {
	is := func(number int) string { return fmt.Sprintf("%s.Is(%d)", alias, number) }
	if s.isShift {
		left, right := w.text(span{s.at.from, s.op.from}, next), w.text(span{s.op.to, s.at.to}, next)
		op, i := w.src[s.op.from:s.op.to], is(s.numbers[shift])
		return fmt.Sprintf("(%s && %s%s%s || !%s && %s%s%s)", i, left, shifted[op], right, i, left, op, right)
	}
	text := w.text(s.at, next)
	if s.drop {
		return fmt.Sprintf("if !%s { %s }", is(s.numbers[dropped]), text)
	}
	if n := s.numbers[negated]; n != 0 {
		text = fmt.Sprintf("%s != (%s)", is(n), text)
	}
	if n := s.numbers[off]; n != 0 {
		text = fmt.Sprintf("!%s && (%s)", is(n), text)
	}
	return "(" + text + ")"
}
