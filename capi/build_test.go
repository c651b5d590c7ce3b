package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// built is where the library is, once there is a test that needs it.
var built struct {
	dir  string
	once sync.Once
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// buildPatience bounds one build, below what go test itself has by default.
const buildPatience = 5 * time.Minute

// runtimeSettings is the linker's flag for how Go's runtime behaves in a program of others.
const runtimeSettings = "-X runtime.godebugDefault=asyncpreemptoff=1,containermaxprocs=0"

// run runs a program of the build, and of its children, for so long at most.
func run(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}

// library builds the library, by the command that its documentation has, and returns the
// folder that it is in.
func libraryIn(t testing.TB) string {
	t.Helper()
	lab.NeedProgram(t, "gcc")
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "outband-capi"); built.err == nil {
			built.err = run("go", "build", "-buildvcs=false", "-buildmode=c-shared", "-ldflags", runtimeSettings, "-o", filepath.Join(built.dir, "liboutband.so"), ".")
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// strict are the compiler's flags for all programs.
var strict = []string{"-O1", "-g", "-Wall", "-Wextra", "-Werror", "-I.", "-Itestdata", "-D_GNU_SOURCE"}

// compile builds a program over the library and returns its path.
func compile(t testing.TB, source string, flags ...string) string {
	t.Helper()
	dir := libraryIn(t)
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
	args := append(append([]string{}, strict...), flags...)
	args = append(args, source, "-o", out, "-L"+dir, "-loutband", "-Wl,-rpath,"+dir, "-pthread")
	if err := run("gcc", args...); err != nil {
		t.Fatal(err)
	}
	return out
}

// compileInBand builds a program over libc's calls.
func compileInBand(t testing.TB, source string, flags ...string) string {
	t.Helper()
	lab.NeedProgram(t, "gcc")
	out := filepath.Join(t.TempDir(), "in-band")
	args := append(append([]string{}, strict...), "-DOVER_LIBC", source, "-o", out, "-pthread")
	if err := run("gcc", append(args, flags...)...); err != nil {
		t.Fatal(err)
	}
	return out
}
