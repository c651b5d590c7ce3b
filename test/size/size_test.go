package size

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programs are what the library may add to the server of package net, in bytes, as go build has it
// and without symbols and debugging information (-ldflags "-s -w"), and what
// packages it may not bring.
var programs = []struct {
	name            string
	whole, stripped int64
	banned          []string
}{
	{"own", 3_900_000, 2_650_000, append([]string{"encoding/json", "log/slog", "github.com/outband/outband/shared", "github.com/outband/outband/inband/claim"}, nowhere...)},
	{"shared", 5_700_000, 3_900_000, nowhere},
}

// nowhere are packages that no program is to have for our sake: they are large, or keep
// all methods of all types for reflection.
var nowhere = []string{"net/http", "text/template", "html/template", "encoding/xml", "go/format", "debug/elf", "compress/gzip", "crypto/rand", "crypto/tls",
	"os/exec", "github.com/cilium/ebpf", "github.com/gopacket/gopacket", "github.com/spf13/cobra", "github.com/mdlayher/packet"}

// build builds a program, and returns its size.
func build(t *testing.T, name string, flags ...string) int64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	args := append(append([]string{"build", "-o", file}, flags...), "./"+name)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestSize has a server grow by no more than it is said to.
func TestSize(t *testing.T) {
	stripped := []string{"-ldflags", "-s -w"}
	whole, bare := build(t, "inband"), build(t, "inband", stripped...)
	for _, p := range programs {
		more, moreBare := build(t, p.name)-whole, build(t, p.name, stripped...)-bare
		t.Logf("%s: %d bytes more than package net's %d, stripped %d more than %d", p.name, more, whole, moreBare, bare)
		if more > p.whole || moreBare > p.stripped {
			t.Errorf("%s: %d bytes more than package net, stripped %d; want %d, %d at most", p.name, more, moreBare, p.whole, p.stripped)
		}
	}
}

// TestPackages has a server link none of what is large and not for it.
func TestPackages(t *testing.T) {
	for _, p := range programs {
		out, err := exec.Command("go", "list", "-deps", "./"+p.name).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		deps := strings.Fields(string(out))
		for _, b := range p.banned {
			if slices.Contains(deps, b) {
				t.Errorf("%s links %s", p.name, b)
			}
		}
	}
}
