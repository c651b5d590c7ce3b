package preload

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outband/outband/test/lab"
)

// patience bounds a program of the tests.
const patience = 60 * time.Second

// warnings are errors in all C of the tests.
var warnings = []string{"-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"}

// built is what the tests share: the shim, its double of the library, and programs.
var built struct {
	sync.Mutex
	dir  string
	done map[string]bool
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// once has make make a file of the common folder, and returns its path.
func once(t *testing.T, name string, make func(path string) *exec.Cmd) string {
	t.Helper()
	lab.NeedProgram(t, "gcc")
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "outband-preload")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.done = dir, map[string]bool{}
	}
	path := filepath.Join(built.dir, name)
	if !built.done[name] {
		if out, err := make(path).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		built.done[name] = true
	}
	return path
}

// preload returns the shim.
func preload(t *testing.T) string {
	dir := once(t, "shim", func(path string) *exec.Cmd { return exec.Command("../../shim/build", path, "shim") })
	return filepath.Join(dir, "outband-preload.so")
}

func double(t *testing.T) string {
	return once(t, "mock.so", func(path string) *exec.Cmd {
		return exec.Command("gcc", append(warnings, "-fPIC", "-shared", "-I../../capi", "-o", path, "testdata/mock.c")...)
	})
}

func program(t *testing.T, name string) string {
	return once(t, name, func(path string) *exec.Cmd {
		return exec.Command("gcc", append(warnings, "-O1", "-o", path, "testdata/"+name+".c")...)
	})
}

// run returns what a program prints, and how it ends.
func run(t *testing.T, path string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return fmt.Sprintf("%send: %v\n", out.String(), err)
}

// over returns the environment in which programs run over the shim and the double.
func over(t *testing.T, shim string, more ...string) []string {
	return append([]string{"LD_PRELOAD=" + shim, "OUTBAND_LIBRARY=" + double(t), "OUTBAND_LOOPBACK=1"}, more...)
}

// differences returns the lines of two texts that are not the same.
func differences(want, got string) string {
	var b strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var x, y string
		if i < len(w) {
			x = w[i]
		}
		if i < len(g) {
			y = g[i]
		}
		if x != y {
			fmt.Fprintf(&b, "line %d\n  in-band: %s\n  shim:    %s\n", i+1, x, y)
		}
	}
	return b.String()
}

// programs are in testdata; each prints all that its calls return.
var programs = []string{"calls", "waits", "descriptors", "signals"}

// modes are what the double and the shim may be like.
var modes = map[string][]string{
	"default": nil,
	"holder":  {"MOCK_HOLDER=1"},
	"always":  {"OUTBAND_SPIN=always"},
	"never":   {"OUTBAND_SPIN=never"},
}

// forking are the modes of what forks: a child's socket can be where its parent's is only
// if both know of one another, as they do by the holder.
var forking = map[string][]string{
	"again":   {"MOCK_HOLDER=1"},
	"in-band": {"MOCK_HOLDER=1", "OUTBAND_FORK=inband"},
}

// programText returns what a program prints, without what the shim says.
func programText(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "outband: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestForks compares what parents and children do with the sockets that both have.
func TestForks(t *testing.T) {
	path := program(t, "forks")
	for mode, env := range forking {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			want := run(t, path, env...)
			if !strings.HasSuffix(want, "end: <nil>\n") {
				t.Fatalf("in-band:\n%s", want)
			}
			if got := programText(run(t, path, over(t, preload(t), env...)...)); got != want {
				t.Errorf("%s", differences(want, got))
			}
		})
	}
}

// TestForkFails has a child use a socket where that is to be an error.
func TestForkFails(t *testing.T) {
	got := run(t, program(t, "forks"), over(t, preload(t), "OUTBAND_FORK=fail")...)
	for _, want := range []string{"is used after fork, and OUTBAND_FORK=fail", "receive: ended by 6\n", "nothing: ended by 0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}

// TestPrograms compares what programs print in-band and over the shim.
func TestPrograms(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := program(t, name)
			want := run(t, path)
			if !strings.HasSuffix(want, "end: <nil>\n") {
				t.Fatalf("in-band:\n%s", want)
			}
			for mode, env := range modes {
				t.Run(mode, func(t *testing.T) {
					if got := run(t, path, over(t, preload(t), env...)...); got != want {
						t.Errorf("%s", differences(want, got))
					}
				})
			}
		})
	}
}

// TestSanitizers links the programs with the shim, and has what C leaves undefined and
// accesses to memory that is not its own looked for in both.
func TestSanitizers(t *testing.T) {
	sources, err := filepath.Glob("../../shim/*.c")
	if err != nil || len(sources) < 10 {
		t.Fatal(sources, err)
	}
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := run(t, program(t, name))
			check := "address,undefined"
			if name == "signals" {
				check = "undefined" // the other does not know how to jump off a signal stack
			}
			path := once(t, name+"-sanitized", func(path string) *exec.Cmd {
				args := append(warnings, "-O1", "-fsanitize="+check, "-fno-sanitize-recover=all", "-I../../capi", "-o", path, "testdata/"+name+".c")
				return exec.Command("gcc", append(args, sources...)...)
			})
			env := over(t, "", "ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0:handle_segv=0", "MOCK_HOLDER=1")
			if got := run(t, path, env...); got != want {
				t.Errorf("%s", differences(want, got))
			}
		})
	}
}
