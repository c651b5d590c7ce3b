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

// xnetTests are golang.org/x/net/ipv4's: what is about raw sockets with headers of their own, or TCP,
// is left out.
var xnetTests = []string{
	"TestPacketConnReadWriteMulticastUDP", "TestPacketConnReadWriteMulticastICMP", "TestUDPSinglePacketConnWithMultipleGroupListeners",
	"TestUDPMultiplePacketConnWithMultipleGroupListeners", "TestUDPPerInterfaceSinglePacketConnWithSingleGroupListener", "TestPacketConnMulticastSocketOptions",
	"TestPacketConnReadWriteUnicastUDP", "TestPacketConnReadWriteUnicastICMP", "TestPacketConnUnicastSocketOptions",
	"TestPacketConnConcurrentReadWriteUnicastUDP", "TestPacketConnConcurrentReadWriteUnicast",
}

// A source is where tests come from.
type source struct {
	name   string // of the folder in testdata
	folder string
	pkg    string
	tests  []string
	skip   string // a pattern of what cannot pass on Linux
}

// sources returns the distribution and the module.
func sources(t *testing.T) []source {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	check(t, err)
	xnet, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/net").Output()
	check(t, err)
	wanted := tests
	if raceEnabled { // which has sync.Pool drop what it is given
		wanted = slices.DeleteFunc(slices.Clone(tests), func(name string) bool { return name == "TestAllocs" })
	}
	return []source{
		{"net", filepath.Join(strings.TrimSpace(string(goroot)), "src", "net"), "net", wanted, "^$"},
		// They want a multicast by lo to be from 127.0.0.1, whose scope is the host: Linux takes another address. Where
		// they come from they are skipped, since lo says that it has no multicast.
		{"xnet", filepath.Join(strings.TrimSpace(string(xnet)), "ipv4"), "ipv4_test", xnetTests, "PacketConnReadWriteMulticast/(addr|grp)=232"},
	}
}

// TestSuites runs them over package net and over ours: what passes there passes here.
func TestSuites(t *testing.T) {
	for _, s := range sources(t) {
		for _, world := range []string{"inband", "ours"} {
			t.Run(s.name+"/"+world, func(t *testing.T) { s.test(t, world) })
		}
	}
}

// test wants all tests to pass in a world; without root those of raw sockets skip.
func (s *source) test(t *testing.T, world string) {
	out, err := s.run(t, world)
	if err != nil {
		t.Errorf("go test: %v", err)
	}
	result := regexp.MustCompile(`(?m)^--- (PASS|SKIP): (\w+)`)
	passed := map[string]bool{}
	for _, m := range result.FindAllSubmatch(out, -1) {
		passed[string(m[2])] = string(m[1]) == "PASS" || os.Geteuid() != 0
	}
	for _, name := range s.tests {
		if strings.HasPrefix(name, "Test") && !passed[name] {
			t.Errorf("%s has not passed", name)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// run makes a module of the tests in a world, and returns what they print.
func (s *source) run(t *testing.T, world string) ([]byte, error) {
	t.Helper()
	dir, names := t.TempDir(), map[string]bool{}
	put := func(name string, text []byte) { check(t, os.WriteFile(filepath.Join(dir, name), text, 0o666)) }
	for _, file := range []string{"prelude.go", world + ".go"} {
		text, err := os.ReadFile(filepath.Join("testdata", s.name, file))
		check(t, err)
		topNames(t, text, names)
		put(file, text)
	}
	if poll, err := os.ReadFile(filepath.Join("testdata", s.name, "poll", "poll.go")); err == nil {
		check(t, os.Mkdir(filepath.Join(dir, "poll"), 0o777))
		put(filepath.Join("poll", "poll.go"), poll)
	}
	put("race.go", fmt.Appendf(nil, "package gosuite\n\nconst raceEnabled = %t\n", raceEnabled))
	extracted, err := Extract(s.folder, s.pkg, s.tests, names)
	check(t, err)
	put("extracted_test.go", extracted)
	putModule(t, put)
	args := []string{"test", "-v", "-timeout", "60s", "-skip", s.skip}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	return cmd.CombinedOutput()
}

// putModule puts go.mod and go.sum of a module that has this one and what it requires.
func putModule(t *testing.T, put func(name string, text []byte)) {
	t.Helper()
	root, err := filepath.Abs("../..")
	check(t, err)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	check(t, err)
	mod = bytes.Replace(mod, []byte("module github.com/outband/outband\n"), []byte("module gosuite\n"), 1)
	put("go.mod", fmt.Appendf(mod, "\nrequire github.com/outband/outband v0.0.0\n\nreplace github.com/outband/outband => %s\n", root))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	check(t, err)
	put("go.sum", sum)
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
