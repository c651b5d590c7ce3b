package gosuite

//lint:file-ignore SA1019 go/ast tells the variables of a function without types, which take all of the package

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A decl is a declaration at the top of a file: a function, or one of a group's names.
type decl struct {
	node    ast.Node
	imports map[string]string // of its file, by name
	top     *ast.Scope        // of its file
}

// local reports whether a name is declared inside of the declaration.
func (d *decl) local(id *ast.Ident) bool {
	return id.Obj != nil && d.top.Lookup(id.Name) != id.Obj
}

// A suite is what there is in a folder of the distribution.
type suite struct {
	fset    *token.FileSet
	pkg     string            // of the tests
	taken   map[string]bool   // names that there are already
	decls   map[string]*decl  // of test files, by name
	kinds   map[string]string // of the package itself: "type", "func", "var" or "const"
	methods map[string]*decl  // of test files, by method and type with a space between
}

// Extract returns a file of tests by name, with all that they need of the other tests in a folder
// that are in a package, but for what taken already has, as the body of a package of its own.
//
// In tests that are inside of package net exported names of it stand for net's; methods that they
// add to its types become functions, and so do those of which not all connections have one,
// File for one. In tests that are outside of a package what they take of another one, net.Dial for one, is
// net_Dial, if taken has that.
func Extract(folder, pkg string, tests []string, taken map[string]bool) ([]byte, error) {
	s := &suite{fset: token.NewFileSet(), pkg: pkg, taken: taken, decls: map[string]*decl{}, kinds: map[string]string{}, methods: map[string]*decl{}}
	if err := s.read(folder); err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	uses := map[string]bool{} // exported names of package net
	todo := slices.Clone(tests)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		d := s.decls[name]
		if d == nil {
			d = s.methods[name]
		}
		switch {
		case wanted[name] || taken[name]:
		case d == nil:
			return nil, fmt.Errorf("gosuite: there is no %s in %s", name, folder)
		default:
			wanted[name] = true
			todo = append(todo, s.needs(d, uses, taken)...)
		}
	}
	return s.print(wanted, uses)
}

// read reads all files of a folder that are for this system.
func (s *suite) read(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	for _, name := range files {
		if ok, err := build.Default.MatchFile(folder, filepath.Base(name)); err != nil || !ok {
			continue
		}
		file, err := parser.ParseFile(s.fset, name, nil, 0)
		if err != nil {
			return err
		}
		switch {
		case file.Name.Name != s.pkg: // the package, if the tests are outside of it, or others
		case strings.HasSuffix(name, "_test.go"):
			s.readTests(file)
		default:
			s.readPackage(file)
		}
	}
	return nil
}

// readPackage notes the exported names of a file.
func (s *suite) readPackage(file *ast.File) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				s.kinds[d.Name.Name] = "func"
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				for _, name := range namesOf(spec) {
					s.kinds[name] = d.Tok.String()
				}
			}
		}
	}
}

// readTests notes the declarations of a file of tests.
func (s *suite) readTests(file *ast.File) {
	imports := map[string]string{}
	for _, i := range file.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		imports[name] = path
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				s.decls[d.Name.Name] = &decl{d, imports, file.Scope}
			} else {
				s.methods[d.Name.Name+" "+receiverOf(d)] = &decl{d, imports, file.Scope}
			}
		case *ast.GenDecl:
			if d.Tok == token.IMPORT {
				continue
			}
			for _, spec := range d.Specs {
				one := &ast.GenDecl{Tok: d.Tok, Specs: []ast.Spec{spec}}
				for _, name := range namesOf(spec) {
					s.decls[name] = &decl{one, imports, file.Scope}
				}
			}
		}
	}
}

// namesOf returns what a specification declares.
func namesOf(spec ast.Spec) (names []string) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		names = []string{spec.Name.Name}
	case *ast.ValueSpec:
		for _, n := range spec.Names {
			names = append(names, n.Name)
		}
	}
	return names
}

// receiverOf returns the name of a method's type.
func receiverOf(f *ast.FuncDecl) string {
	t := f.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	return t.(*ast.Ident).Name
}

// needs returns what a declaration needs of the tests, and adds to uses what it needs of the
// package.
func (s *suite) needs(d *decl, uses, taken map[string]bool) (names []string) {
	ast.Inspect(d.node, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			for key := range s.methods {
				if method, of, _ := strings.Cut(key, " "); method == sel.Sel.Name && s.kinds[of] == "type" && !taken[method] {
					names = append(names, key)
				}
			}
			if x, ok := sel.X.(*ast.Ident); ok && (s.decls[x.Name] == nil || d.local(x)) {
				if s.kinds[x.Name] != "" && ast.IsExported(x.Name) {
					uses[x.Name] = true
				}
				return false
			}
		}
		id, ok := n.(*ast.Ident)
		switch {
		case !ok || d.local(id):
		case s.decls[id.Name] != nil:
			names = append(names, id.Name)
			names = append(names, s.methodsOf(id.Name)...)
		case ast.IsExported(id.Name) && s.kinds[id.Name] != "" && !taken[id.Name]:
			uses[id.Name] = true
		}
		return true
	})
	return names
}

// methodsOf returns the methods of a type that tests declare.
func (s *suite) methodsOf(name string) (keys []string) {
	for key := range s.methods {
		if _, of, _ := strings.Cut(key, " "); of == name {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// print writes what is wanted.
func (s *suite) print(wanted, uses map[string]bool) ([]byte, error) {
	var body bytes.Buffer
	imports, printed := map[string]string{"net": "net"}, map[ast.Node]bool{}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		d := s.decls[name]
		if d == nil {
			d = s.methods[name]
		}
		if printed[d.node] {
			continue
		}
		printed[d.node] = true
		s.rewrite(d, imports)
		if err := printer.Fprint(&body, s.fset, d.node); err != nil {
			return nil, err
		}
		body.WriteString("\n\n")
	}
	text := s.stand(body.Bytes())
	var b bytes.Buffer
	b.WriteString("package gosuite\n\nimport (\n")
	for _, name := range slices.Sorted(maps.Keys(imports)) {
		if name != "net" && !regexp.MustCompile(`\b`+name+`\.`).Match(text) {
			continue
		}
		fmt.Fprintf(&b, "\t%s %q\n", name, imports[name])
	}
	b.WriteString(")\n\n")
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		kind := s.kinds[name]
		if kind == "func" {
			kind = "var"
		}
		fmt.Fprintf(&b, "%s %s = net.%s\n", kind, name, name)
	}
	b.WriteString("\nvar _ = net.IPv4len\n\n")
	return append(b.Bytes(), text...), nil
}

// selected is something of another package.
var selected = regexp.MustCompile(`\b([a-z0-9]+)\.([A-Z]\w*)`)

// stand puts names that there are in place of other packages'.
func (s *suite) stand(text []byte) []byte {
	return selected.ReplaceAllFunc(text, func(of []byte) []byte {
		if name := bytes.Replace(of, []byte("."), []byte("_"), 1); s.taken[string(name)] {
			return name
		}
		return of
	})
}

// rewrite makes a declaration one of another package, and adds what it imports.
func (s *suite) rewrite(d *decl, imports map[string]string) {
	if f, ok := d.node.(*ast.FuncDecl); ok && f.Recv != nil && s.kinds[receiverOf(f)] == "type" {
		f.Name.Name = methodName(f.Name.Name, receiverOf(f))
		f.Type.Params.List = append(f.Recv.List, f.Type.Params.List...)
		f.Recv = nil
	}
	ast.Inspect(d.node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			n.Doc = nil
		case *ast.GenDecl:
			n.Doc = nil
		case *ast.CallExpr:
			s.rewriteCall(n)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				switch path := d.imports[x.Name]; {
				case path == "internal/poll":
					imports[x.Name] = "gosuite/poll"
				case path != "" && !strings.Contains(path, "internal/"):
					imports[x.Name] = path
				}
			}
		}
		return true
	})
}

// inside are methods that are called inside of package net only, or that not all connections have, with
// the functions of the prelude that stand for them.
var inside = map[string]string{"File": "fileOf", "isWildcard": "isWildcard"}

// rewriteCall makes a call of a method that the tests add to a type of the package one of a
// function, and one that is inside of the package too.
func (s *suite) rewriteCall(call *ast.CallExpr) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	if function := inside[sel.Sel.Name]; function != "" && len(call.Args) == 0 {
		call.Fun, call.Args = ast.NewIdent(function), []ast.Expr{sel.X}
		return
	}
	for key := range s.methods {
		if method, of, _ := strings.Cut(key, " "); method == sel.Sel.Name && s.kinds[of] == "type" {
			call.Fun, call.Args = ast.NewIdent(methodName(method, of)), append([]ast.Expr{sel.X}, call.Args...)
			return
		}
	}
}

// methodName returns the name of the function that a method becomes.
func methodName(method, of string) string { return of + "_" + method }
