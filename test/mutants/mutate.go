package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
)

// A mutant is one change of one file.
type mutant struct {
	pkg, file string // the import path and the whole path
	line      int
	in        string // the function it is in, a method behind its type; empty outside of functions
	kind      string // what was done
	class     string // what it was done to: guard, limit, wake or other
	was       string // the text that is changed
	at        span   // of that text, and of the operator in it if that is what changes
	op        span
}

// A span is a part of a file: the bytes from one offset to another.
type span struct{ from, to int }

const (
	off     = "off"           // a condition that does not hold
	negated = "negated"       // a condition that holds where it did not
	shift   = "bound shifted" // a comparison that includes what it excluded
	dropped = "dropped"       // a statement that is not run
)

func (m mutant) String() string {
	return fmt.Sprintf("%s/%s:%d: %s", strings.TrimPrefix(m.pkg, module), filepath.Base(m.file), m.line, m.what())
}

// what is the mutant without its file.
func (m mutant) what() string { return fmt.Sprintf("%s: %s, %s: %s", m.in, m.class, m.kind, m.was) }

// name is the mutant without what changes when code moves: it has the package and the
// function.
func (m mutant) name() string { return strings.TrimPrefix(m.pkg, module) + " " + m.what() }

// Names that tell what a statement or a condition is for.
var (
	wakeName  = regexp.MustCompile(`(?i)wake|signal|broadcast|notify|changed|hurry|unpark|taken$`)
	limitName = regexp.MustCompile(`(?i)max|limit|budget|full|room|quota|len\(|cap\(`)
)

// mutantsOf returns what can be changed in a file. Statements are switched off and
// not taken out, so that what they use stays used.
func mutantsOf(pkg, file string, src []byte) ([]mutant, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, 0)
	if err != nil {
		return nil, err
	}
	var out []mutant
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	text := func(n ast.Node) string { return string(src[offset(n.Pos()):offset(n.End())]) }
	add := func(n ast.Node, kind, class string, op span) {
		was, _, _ := strings.Cut(text(n), "\n")
		out = append(out, mutant{pkg, file, fset.Position(n.Pos()).Line, functionAt(f, n.Pos()), kind, class, was, span{offset(n.Pos()), offset(n.End())}, op})
	}
	condition := func(n ast.Expr, class string) {
		add(n, off, class, span{})
		add(n, negated, class, span{})
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			condition(n.Cond, classOf(n, text(n.Cond)))
		case *ast.SwitchStmt:
			if n.Tag == nil {
				for _, c := range n.Body.List {
					for _, e := range c.(*ast.CaseClause).List {
						condition(e, classOf(n, text(e)))
					}
				}
			}
		case *ast.BinaryExpr:
			if shifted[n.Op.String()] != "" {
				from := offset(n.OpPos)
				add(n, shift, "limit", span{from, from + len(n.Op.String())})
			}
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok && droppable(text(call.Fun)) {
				add(n, dropped, statementClass(text(call.Fun)), span{})
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE && len(n.Lhs) == 1 && inBlock(n.Lhs[0]) {
				add(n, dropped, "other", span{})
			}
		}
		return true
	})
	return drop(out, postStatements(f, offset)), nil
}

// functionAt returns the name of the function that a position is in, of a method behind
// that of its type.
func functionAt(f *ast.File, at token.Pos) string {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || at < fn.Pos() || at >= fn.End() {
			continue
		}
		if fn.Recv == nil {
			return fn.Name.Name
		}
		t := fn.Recv.List[0].Type
		for {
			switch p := t.(type) {
			case *ast.StarExpr:
				t = p.X
			case *ast.IndexExpr:
				t = p.X
			case *ast.IndexListExpr:
				t = p.X
			case *ast.Ident:
				return p.Name + "." + fn.Name.Name
			}
		}
	}
	return ""
}

var shifted = map[string]string{"<": "<=", "<=": "<", ">": ">=", ">=": ">"}

// classOf tells what a condition is for, by what is done if it holds and by its words.
func classOf(n ast.Node, cond string) string {
	if limitName.MatchString(cond) {
		return "limit"
	}
	if i, ok := n.(*ast.IfStmt); ok && i.Else == nil && len(i.Body.List) > 0 {
		switch i.Body.List[len(i.Body.List)-1].(type) {
		case *ast.ReturnStmt, *ast.BranchStmt:
			return "guard"
		}
	}
	return "other"
}

func statementClass(name string) string {
	if wakeName.MatchString(name) {
		return "wake"
	}
	return "other"
}

// droppable leaves out what only deadlocks or says nothing.
func droppable(name string) bool {
	for _, s := range []string{"Lock", "RLock", "Unlock", "RUnlock", "panic", "lockReceive", "unlockReceive"} {
		if name == s || strings.HasSuffix(name, "."+s) {
			return false
		}
	}
	return true
}

// inBlock reports whether an assignment to e is to something that outlives it: a
// field, an element, what a pointer points to.
func inBlock(e ast.Expr) bool {
	switch e.(type) {
	case *ast.SelectorExpr, *ast.IndexExpr, *ast.StarExpr:
		return true
	}
	return false
}

// postStatements returns where statements begin that are part of another one's head,
// as those of a for clause: a block cannot stand there.
func postStatements(f *ast.File, offset func(token.Pos) int) map[int]bool {
	at := make(map[int]bool)
	mark := func(s ast.Stmt) {
		if s != nil {
			at[offset(s.Pos())] = true
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ForStmt:
			mark(n.Init)
			mark(n.Post)
		case *ast.IfStmt:
			mark(n.Init)
		case *ast.SwitchStmt:
			mark(n.Init)
		case *ast.CommClause:
			mark(n.Comm)
		}
		return true
	})
	return at
}

// drop leaves out the mutants that drop a statement where a block cannot stand.
func drop(all []mutant, at map[int]bool) []mutant {
	var out []mutant
	for _, m := range all {
		if m.kind != dropped || !at[m.at.from] {
			out = append(out, m)
		}
	}
	return out
}
