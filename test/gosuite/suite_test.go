package gosuite

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tests are Go's own that are about datagrams and IPv4. Of the files they are from these are left out: what is about
// IPv6, other kinds of sockets, or hooks inside of package net; TestResolveUDPAddr, which
// needs no socket; TestListenConfigControl, since ours is given another thing.
var tests = []string{
	// udpsock_test.go
	"TestWriteToUDP", "TestUDPConnLocalName", "TestUDPConnLocalAndRemoteNames", "TestUDPZeroBytePayload", "TestUDPZeroByteBuffer",
	"TestUDPReadSizeError", "TestUDPReadTimeout", "TestAllocs", "TestUDPIPVersionReadMsg", "TestIPv4WriteMsgUDPAddrPortTargetAddrIPVersion",
	// packetconn_test.go, timeout_test.go
	"TestPacketConn", "TestConnAndPacketConn", "TestReadFromTimeout", "TestReadFromTimeoutFluctuation", "TestWriteToTimeout",
	// protoconn_test.go, net_test.go, server_test.go, listen_test.go
	"TestUDPConnSpecificMethods", "TestIPConnSpecificMethods", "TestPacketConnClose", "TestCloseUnblocksReadUDP", "TestUDPServer", "TestIPv4MulticastListener",
	// not tests of their own
	"BenchmarkReadWriteMsgUDPAddrPort", "BenchmarkWriteToReadFromUDP", "BenchmarkWriteToReadFromUDPAddrPort",
}

// wanted returns the tests without those that the race detector makes no sense of: it has sync.Pool
// drop what it is given.
func wanted() []string {
	if !raceEnabled {
		return tests
	}
	return slices.DeleteFunc(slices.Clone(tests), func(name string) bool { return name == "TestAllocs" })
}

// TestGo runs them over package net and over ours: what passes there passes here.
func TestGo(t *testing.T) {
	for _, world := range []string{"inband", "ours"} {
		t.Run(world, func(t *testing.T) {
			out := runIn(t, world)
			var passed []string
			for _, m := range regexp.MustCompile(`(?m)^--- PASS: (\w+)`).FindAllSubmatch(out, -1) {
				passed = append(passed, string(m[1]))
			}
			for _, name := range wanted() {
				if strings.HasPrefix(name, "Test") && !slices.Contains(passed, name) {
					t.Errorf("%s has not passed", name)
				}
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}

// runIn makes a module of the tests in a world, and returns what they print.
func runIn(t *testing.T, world string) []byte {
	t.Helper()
	root, err := filepath.Abs("../..")
	check(t, err)
	dir := t.TempDir()
	names := map[string]bool{}
	for _, file := range []string{"prelude.go", world + ".go"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		check(t, err)
		topNames(t, text, names)
		check(t, os.WriteFile(filepath.Join(dir, file), text, 0o666))
	}
	check(t, os.WriteFile(filepath.Join(dir, "race.go"), fmt.Appendf(nil, "package gosuite\n\nconst raceEnabled = %t\n", raceEnabled), 0o666))
	poll, err := os.ReadFile("testdata/poll/poll.go")
	check(t, err)
	check(t, os.Mkdir(filepath.Join(dir, "poll"), 0o777))
	check(t, os.WriteFile(filepath.Join(dir, "poll", "poll.go"), poll, 0o666))
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	check(t, err)
	extracted, err := Extract(filepath.Join(strings.TrimSpace(string(goroot)), "src", "net"), wanted(), names)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "net_test.go"), extracted, 0o666))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	check(t, err)
	mod = bytes.Replace(mod, []byte("module github.com/outband/outband\n"), []byte("module gosuite\n"), 1)
	mod = fmt.Appendf(mod, "\nrequire github.com/outband/outband v0.0.0\n\nreplace github.com/outband/outband => %s\n", root)
	check(t, os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o666))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o666))
	args := []string{"test", "-v", "-timeout", "120s"}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("go test: %v", err)
	}
	return out
}

// topNames adds what a file declares at its top.
func topNames(t *testing.T, text []byte, names map[string]bool) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	check(t, err)
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				names[d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				for _, n := range namesOf(s) {
					names[n] = true
				}
			}
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
