package api

import (
	"bytes"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Lines returns the API of some packages, sorted: a line for each exported name, field and
// method. dir is a folder of their module.
func Lines(dir string, packages ...string) ([]string, error) {
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}, packages...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %v: %s", err, &stderr)
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files[path] = file
	}
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	var all []string
	for _, path := range packages {
		p, err := from.Import(path)
		if err != nil {
			return nil, err
		}
		all = append(all, linesOf(p)...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// linesOf returns the API of a package.
func linesOf(p *types.Package) (lines []string) {
	short := func(of *types.Package) string { return of.Name() }
	line := func(format string, args ...any) {
		lines = append(lines, "pkg "+p.Path()+", "+fmt.Sprintf(format, args...))
	}
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		switch o := o.(type) {
		case *types.Const:
			line("const %s %s = %s", name, types.TypeString(o.Type(), short), o.Val().ExactString())
		case *types.Var:
			line("var %s %s", name, types.TypeString(o.Type(), short))
		case *types.Func:
			line("func %s%s", name, signature(o, short))
		case *types.TypeName:
			typeLines(o, short, line)
		}
	}
	return lines
}

// signature returns a function's parameters and results.
func signature(f *types.Func, short types.Qualifier) string {
	return strings.TrimPrefix(types.TypeString(f.Type(), short), "func")
}

// typeLines writes a type, its exported fields and its methods. What an alias stands for may be
// in an internal package: its fields and methods are the API all the same.
func typeLines(o *types.TypeName, short types.Qualifier, line func(string, ...any)) {
	name := o.Name()
	under := o.Type().Underlying()
	switch u := under.(type) {
	case *types.Struct:
		line("type %s struct", name)
		for i := range u.NumFields() {
			if f := u.Field(i); f.Exported() {
				line("type %s struct, %s %s", name, f.Name(), types.TypeString(f.Type(), short))
			}
		}
	case *types.Interface:
		line("type %s interface", name)
		for i := range u.NumMethods() {
			if m := u.Method(i); m.Exported() {
				line("type %s interface, %s%s", name, m.Name(), signature(m, short))
			}
		}
		return
	default:
		line("type %s %s", name, types.TypeString(under, short))
	}
	set := types.NewMethodSet(types.NewPointer(o.Type()))
	values := types.NewMethodSet(o.Type())
	for i := range set.Len() {
		m := set.At(i).Obj().(*types.Func)
		if !m.Exported() {
			continue
		}
		receiver := "*" + name
		if values.Lookup(m.Pkg(), m.Name()) != nil {
			receiver = name
		}
		line("method (%s) %s%s", receiver, m.Name(), signature(m, short))
	}
}

// Changes returns the lines that are in one API only.
func Changes(was, now []string) (gone, came []string) {
	for _, l := range was {
		if !slices.Contains(now, l) {
			gone = append(gone, l)
		}
	}
	for _, l := range now {
		if !slices.Contains(was, l) {
			came = append(came, l)
		}
	}
	return gone, came
}
