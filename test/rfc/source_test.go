package rfc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// source is what the house has: functions by their room's path and name
// ("link/tpacket.Link.Receive"), tests by their package's folder and name
// ("stack.TestEchoIsAnswered"), and the text of tests by folder, for subtests' names.
type source struct {
	functions map[string]bool
	tests     map[string]bool
	text      map[string]string
}

// parseSource reads all Go files of the house.
func parseSource(t *testing.T) *source {
	t.Helper()
	s := &source{map[string]bool{}, map[string]bool{}, map[string]string{}}
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		return s.add(path, filepath.ToSlash(dir))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// add takes in one file.
func (s *source) add(path, dir string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	test, folder := strings.HasSuffix(path, "_test.go"), filepath.Base(dir)
	if test || strings.HasPrefix(dir, "test/") {
		s.text[folder] += string(text) // the judges' tables are not in files of tests
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		switch {
		case !ok:
		case !test:
			s.functions[dir+"."+receiver(fn)+fn.Name.Name] = true
		case fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")):
			s.tests[folder+"."+fn.Name.Name] = true
		}
	}
	return nil
}

// receiver returns the name of a method's type and a dot, "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name + "."
		default:
			return "?."
		}
	}
}

// missing says what is wrong with a test's name, "" if there is such a test. Behind a slash
// is the name of a subtest, which the text of the tests has as a string.
func (s *source) missing(name string) string {
	test, sub, _ := strings.Cut(name, "/")
	if !s.tests[test] {
		return "there is no test " + test
	}
	folder, _, _ := strings.Cut(test, ".")
	if sub != "" && !strings.Contains(s.text[folder], `"`+sub+`"`) {
		return fmt.Sprintf("%s has no subtest %q", test, sub)
	}
	return ""
}

// TestNamesThatAreNot shows that the tables' judge finds what is missing.
func TestNamesThatAreNot(t *testing.T) {
	s := parseSource(t)
	for _, name := range []string{"ipv4.Parse", "stack.lane.ipv4Input", "link/tpacket.Link.Receive", "udp.Table.Lookup"} {
		if !s.functions[name] {
			t.Errorf("%s is not found", name)
		}
	}
	for _, name := range []string{"ipv4.Parsed", "stack.ipv4Input", "tpacket.Link.Receive", "ipv4.TestParse"} {
		if s.functions[name] {
			t.Errorf("%s is found", name)
		}
	}
	for name, there := range map[string]bool{"stack.TestBadFrames": true, "stack.TestBadFrames/IP version 6": true,
		"stack.TestBadFrames/IP version 7": false, "stack.TestBadFrame": false, "stack.BenchmarkSend": false, "ipv4.TestBadFrames": false} {
		if why := s.missing(name); (why == "") != there {
			t.Errorf("%s: %q", name, why)
		}
	}
}
