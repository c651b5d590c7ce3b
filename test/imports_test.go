// Package test holds what needs more than one room.
package test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/outband/outband/"

// root is the package at the module's root, and its room.
const root = "github.com/outband/outband"

// rooms are the project's folders from the top down: a package may import
// those of lower rooms, and of its own where same says so.
var rooms = []struct {
	name string
	same bool // packages of the room may import one another
}{
	{"examples", false},
	{"cmd", true},
	{"capi", true},
	{root, false},
	{"gonet", false},
	{"metrics", false},
	{"sockapi", true},
	{"shared", false},
	{"stack", true},
	{"protocols", false},
	{"ipv4", false},
	{"link", true},
	{"inband", true},
	{"ether", false},
	{"bpf", false},
	{"internal", true},
}

// protocols are the rooms without I/O, which know nothing of one another; what they
// have in common are the addresses of ipv4 and ether.
var protocols = []string{"udp", "icmp", "igmp", "arp"}

// level returns the place of a package's room, -1 if it has none.
func level(pkg string) int {
	top, _, _ := strings.Cut(strings.TrimPrefix(pkg, module), "/")
	if pkg == root {
		top = root
	}
	for _, p := range protocols {
		if top == p {
			top = "protocols"
		}
	}
	for i, r := range rooms {
		if r.name == top {
			return i
		}
	}
	return -1
}

// folder returns the second folder of a package's path: which example it is of.
func folder(pkg string) string {
	parts := strings.SplitN(strings.TrimPrefix(pkg, module), "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// imports returns each package of the module with the packages of the module
// that it imports directly, test files left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	graph := make(map[string][]string)
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if len(fields) > 0 && !strings.HasPrefix(fields[0], module+"test") {
			graph[fields[0]] = fields[1:]
		}
	}
	return graph
}

func TestImportsPointDown(t *testing.T) {
	graph := imports(t)
	if len(graph) < 10 {
		t.Fatalf("go list found %d packages only", len(graph))
	}
	for pkg, deps := range graph {
		from := level(pkg)
		if from < 0 {
			t.Errorf("%s is in no room", pkg)
			continue
		}
		for _, dep := range deps {
			if dep != root && !strings.HasPrefix(dep, module) {
				continue
			}
			to := level(dep)
			switch {
			case to > from:
			case to == from && rooms[from].same:
			case to == from && folder(pkg) == folder(dep): // parts of one example
			default:
				t.Errorf("%s imports %s, which is not below it", pkg, dep)
			}
		}
	}
}

// TestProtocolsDoNoIO holds the protocol rooms to bytes, addresses and times.
func TestProtocolsDoNoIO(t *testing.T) {
	banned := []string{"net", "os", "syscall", module + "link", module + "stack",
		module + "internal/namespace", module + "internal/netlab", module + "internal/mmsg"}
	for pkg, deps := range imports(t) {
		if l := level(pkg); l < 0 || rooms[l].name != "protocols" && rooms[l].name != "ipv4" && rooms[l].name != "ether" {
			continue
		}
		for _, dep := range deps {
			for _, b := range banned {
				if dep == b || strings.HasPrefix(dep, module) && strings.HasPrefix(dep, b+"/") {
					t.Errorf("%s imports %s: protocol rooms do no I/O", pkg, dep)
				}
			}
		}
	}
}

// TestGVisorOnlyForChecksums keeps the core off the parts of gVisor that reach
// into the Go runtime.
func TestGVisorOnlyForChecksums(t *testing.T) {
	for pkg, deps := range imports(t) {
		for _, dep := range deps {
			if strings.HasPrefix(dep, "gvisor.dev/") && dep != "gvisor.dev/gvisor/pkg/tcpip/checksum" {
				t.Errorf("%s imports %s", pkg, dep)
			}
		}
	}
}
