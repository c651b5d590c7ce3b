package stack

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLocksAreListed compares the mutexes of the types here and in internal with those that the list
// of locks in doc.go names: all are there, and no other.
func TestLocksAreListed(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	check(t, err)
	_, list, ok := strings.Cut(string(text), "# Locks")
	if !ok {
		t.Fatal("doc.go has no list of locks")
	}
	listed := make(map[string]bool)
	for _, name := range regexp.MustCompile(`\b[A-Za-z]+\.(mu|Mu|[a-z]+Mu)\b`).FindAllString(list, -1) {
		listed[name] = false
	}
	files, err := filepath.Glob("*.go")
	check(t, err)
	internal, err := filepath.Glob("internal/*/*.go")
	check(t, err)
	files = append(files, internal...)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		check(t, err)
		for _, name := range mutexes(f) {
			if _, ok := listed[name]; !ok {
				t.Errorf("%s: %s is not in the list", file, name)
			}
			listed[name] = true
		}
	}
	for name, found := range listed {
		if !found {
			t.Errorf("%s is in the list, and nowhere else", name)
		}
	}
}

// mutexes returns the fields of a file's struct types that are mutexes, as Type.field.
func mutexes(f *ast.File) (names []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range s.Fields.List {
			typ, ok := field.Type.(*ast.SelectorExpr)
			if !ok || typ.Sel.Name != "Mutex" && typ.Sel.Name != "RWMutex" {
				continue
			}
			for _, name := range field.Names {
				names = append(names, spec.Name.Name+"."+name.Name)
			}
		}
		return true
	})
	return names
}
