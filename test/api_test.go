package test

import (
	"flag"
	"go/version"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/outband/outband/test/api"
)

var update = flag.Bool("update", false, "write api/next.txt anew")

// apiFile has the API.
const apiFile = "../api/next.txt"

// stable are the packages that are meant to stay (README, "What is stable"), and of package stack
// what is.
var (
	stable      = []string{"", "gonet", "metrics", "sockapi", "shared", "stack", "link", "link/tpacket", "link/pipe", "link/fault", "link/pcapng", "link/pcapng/replay"}
	stableStack = []string{"func New(", "method (*Stack) AddLink(", "method (*Stack) AddRoute(", "method (*Stack) Close(", "method (*Stack) Stats(",
		"method (*Stack) Subscribe(", "method (*Interface) AddAddress("}
)

// isStable reports whether a line of the API is of what is meant to stay.
func isStable(line string) bool {
	of, found := strings.CutPrefix(line, "pkg "+module+"stack, ")
	return !found || slices.ContainsFunc(stableStack, func(s string) bool { return strings.HasPrefix(of, s) })
}

// TestAPI has each change of the API said so, in a file that reviewers see.
func TestAPI(t *testing.T) {
	packages := make([]string, len(stable))
	for i, s := range stable {
		packages[i] = strings.TrimSuffix(module+s, "/")
	}
	now, err := api.Lines(".", packages...)
	if err != nil {
		t.Fatal(err)
	}
	now = slices.DeleteFunc(now, func(l string) bool { return !isStable(l) })
	if *update {
		if err := os.WriteFile(apiFile, []byte(strings.Join(now, "\n")+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(apiFile)
	if err != nil {
		t.Fatal(err)
	}
	gone, came := api.Changes(strings.Split(strings.TrimSpace(string(b)), "\n"), now)
	for _, l := range gone {
		t.Errorf("- %s", l)
	}
	for _, l := range came {
		t.Errorf("+ %s", l)
	}
	if len(gone)+len(came) > 0 {
		t.Error("the API has changed: if it is to, go test ./test -run TestAPI -update; what is gone breaks programs, and belongs into CHANGELOG.md")
	}
}

// TestFloor has go.mod ask for no newer a Go than the modules that are required do: older ones
// could not build those either.
func TestFloor(t *testing.T) {
	list := func(args ...string) []string {
		t.Helper()
		out, err := exec.Command("go", append([]string{"list", "-m", "-f", "{{.GoVersion}}"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	floor := list()[0]
	for _, v := range list("all")[1:] {
		if version.Compare("go"+v, "go"+floor) >= 0 {
			return
		}
	}
	t.Errorf("go.mod asks for Go %s, and no module that it requires for that much", floor)
}
