package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a reader can take in at a time: of code, without tests.
const (
	maxFiles   = 25  // in a folder
	maxLines   = 600 // in a file
	p50Lines   = 150
	maxMethods = 70 // of a type in stack
	maxFields  = 30 // of one in stack or below it
	p90Func    = 25 // lines of a function
)

// A source is a parsed file of code.
type source struct {
	folder, name string
	lines        int
	tree         *ast.File
}

// sources returns the library's files of code, and the command's.
func sources(t *testing.T, set *token.FileSet) (all []source) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || path == filepath.Join("..", "test")):
			return fs.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		all = append(all, source{filepath.Dir(path), path, strings.Count(string(text), "\n"), tree})
		return err
	})
	if err != nil || len(all) < 100 {
		t.Fatal(len(all), err)
	}
	return all
}

func TestSizes(t *testing.T) {
	set := token.NewFileSet()
	all := sources(t, set)
	folders, methods := map[string]int{}, map[string]int{}
	var lines, functions []int
	for _, f := range all {
		folders[f.folder]++
		lines = append(lines, f.lines)
		if f.lines > maxLines {
			t.Errorf("%s has %d lines, want at most %d", f.name, f.lines, maxLines)
		}
		for _, d := range f.tree.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				functions = append(functions, set.Position(d.End()).Line-set.Position(d.Pos()).Line+1)
				if f.folder == filepath.Join("..", "stack") && d.Recv != nil {
					methods[receiver(d.Recv.List[0].Type)]++
				}
			case *ast.GenDecl:
				if strings.HasPrefix(f.folder, filepath.Join("..", "stack")) {
					checkFields(t, f.name, d)
				}
			}
		}
	}
	for folder, n := range folders {
		if n > maxFiles {
			t.Errorf("%s has %d files of code, want at most %d", folder, n, maxFiles)
		}
	}
	for typ, n := range methods {
		if n > maxMethods {
			t.Errorf("stack.%s has %d methods, want at most %d", typ, n, maxMethods)
		}
	}
	if n := share(lines, 50); n > p50Lines {
		t.Errorf("half of the files have more than %d lines, want %d", n, p50Lines)
	}
	if n := share(functions, 90); n > p90Func {
		t.Errorf("a tenth of the functions have more than %d lines, want %d", n, p90Func)
	}
}

// checkFields counts the fields of the structs that a declaration declares.
func checkFields(t *testing.T, file string, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		typ, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		if s, ok := typ.Type.(*ast.StructType); ok && s.Fields.NumFields() > maxFields {
			t.Errorf("%s: %s has %d fields, want at most %d", file, typ.Name, s.Fields.NumFields(), maxFields)
		}
	}
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// share returns what percent of some numbers are not above.
func share(of []int, percent int) int {
	slices.Sort(of)
	return of[(len(of)-1)*percent/100]
}
