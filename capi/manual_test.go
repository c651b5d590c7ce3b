package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/outband/outband/test/lab"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each function of the header is in one manual page, under NAME and, as it is declared,
// under SYNOPSIS; and no page has another.
func TestManual(t *testing.T) {
	pages, err := filepath.Glob("../man/*.3")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	declared := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^[a-z][a-z_ ]* \*?ob_[a-z_]+\(.*?\);`).FindAllString(read(t, "outband.h"), -1) {
		declared[m] = true
	}
	if len(declared) < 40 {
		t.Fatalf("the header declares %d functions", len(declared))
	}
	shown := map[string]int{}
	for _, page := range pages {
		text := read(t, page)
		for _, m := range regexp.MustCompile(`(?m)^\.B (.* \*?(ob_[a-z_]+)\(.*\);)$`).FindAllStringSubmatch(text, -1) {
			shown[m[1]]++
			if !declared[m[1]] {
				t.Errorf("%s: the header has no %s", page, m[1])
			}
			named, _, _ := strings.Cut(text, ".SH SYNOPSIS")
			if !regexp.MustCompile(`\b` + m[2] + `\b`).MatchString(named) {
				t.Errorf("%s: %s is not under NAME", page, m[2])
			}
		}
	}
	for d := range declared {
		if shown[d] != 1 {
			t.Errorf("%s is in %d pages", d, shown[d])
		}
	}
}

// The pages are such as groff sees nothing wrong with.
func TestManualIsWellFormed(t *testing.T) {
	lab.NeedProgram(t, "groff")
	pages, _ := filepath.Glob("../man/*.3")
	for _, page := range pages {
		if out, err := exec.Command("groff", "-man", "-ww", "-z", "-Tutf8", page).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

// What is installed as README says compiles programs by pkg-config, EVL's among them.
func TestInstalled(t *testing.T) {
	lab.NeedProgram(t, "pkg-config")
	dir := libraryIn(t)
	prefix := t.TempDir()
	for _, command := range [][]string{
		{"install", "-D", "-m", "755", "-t", prefix + "/lib", dir + "/liboutband.so"},
		{"install", "-D", "-m", "644", "-t", prefix + "/include", "outband.h"},
		{"cp", "-r", "outband", "evl", prefix + "/include/"},
		{"install", "-D", "-m", "644", "-t", prefix + "/lib/pkgconfig", "outband.pc"},
	} {
		if err := run(command[0], command[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("pkg-config", "--define-variable=prefix="+prefix, "--cflags", "--libs", "outband")
	cmd.Env = append(cmd.Environ(), "PKG_CONFIG_PATH="+prefix+"/lib/pkgconfig")
	flags, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"../examples/c/roundtrip.c", "testdata/seed_sender.c"} {
		program := filepath.Join(t.TempDir(), "program")
		args := append([]string{"-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", program, source}, strings.Fields(string(flags))...)
		if err := run("gcc", args...); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program)
		cmd.Env = append(cmd.Environ(), "LD_LIBRARY_PATH="+prefix+"/lib")
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// The header is C and C++, with or without _GNU_SOURCE.
func TestHeaders(t *testing.T) {
	lab.NeedProgram(t, "gcc")
	for _, args := range [][]string{
		{"-std=c99", "-pedantic"}, {"-std=c11", "-pedantic", "-D_GNU_SOURCE"}, {"-std=gnu17"},
	} {
		for _, header := range []string{"outband.h", "outband/evl.h"} {
			source := filepath.Join(t.TempDir(), "empty.c")
			if err := os.WriteFile(source, []byte("#include <"+header+">\nint nothing;\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			if header == "outband/evl.h" && args[0] != "-std=gnu17" {
				continue // EVL's is GNU C, as libevl's own
			}
			if err := run("gcc", append(append([]string{"-Wall", "-Wextra", "-Werror", "-I.", "-c", "-o", "/dev/null", source}, args...), "-Wno-unused-function")...); err != nil {
				t.Error(err)
			}
		}
	}
	lab.NeedProgram(t, "g++")
	source := filepath.Join(t.TempDir(), "calls.cc")
	if err := os.WriteFile(source, []byte("#include <outband/evl.h>\nint open_one() { return socket(AF_INET, SOCK_DGRAM | SOCK_OOB, 0); }\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := run("g++", "-Wall", "-Wextra", "-Werror", "-I.", "-c", "-o", "/dev/null", source); err != nil {
		t.Error(err)
	}
}
