package preload

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/outband/outband/test/lab"
)

// compile builds a program in C that does nothing, with flags of the compiler's.
func compile(t *testing.T, flags ...string) string {
	t.Helper()
	gcc := lab.NeedProgram(t, "gcc")
	path := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command(gcc, append(flags, "-x", "c", "-", "-o", path)...)
	cmd.Stdin = strings.NewReader("int main(void) { return 0; }\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInspect says of each kind of program whether it can be reached, and why not.
func TestInspect(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	static := compile(t, "-static")
	for _, c := range []struct{ name, path, want string }{
		{"dynamic", compile(t), ""},
		{"static", static, "is static"},
		{"static-pie", compile(t, "-static-pie"), "is static"},
		{"musl", compile(t, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"), "musl"},
		{"Go", self, "is a Go program"},
		{"script", write(t, "#!/bin/sh -e\ntrue\n"), ""},
		{"script by env", write(t, "#!/usr/bin/env sh\ntrue\n"), ""},
		{"script of a static program", write(t, "#!"+static+"\n"), static + ", which runs it, is static"},
	} {
		t.Run(c.name, func(t *testing.T) {
			why, err := Inspect(c.path)
			if err != nil || (c.want == "") != (why == "") || !strings.Contains(why, c.want) {
				t.Errorf("%q, %v; want %q", why, err, c.want)
			}
		})
	}
	for _, text := range []string{"", "text\n", "\x7fELF"} {
		if why, err := Inspect(write(t, text)); err == nil {
			t.Errorf("%q is a program: %q", text, why)
		}
	}
}

// TestInspectPrivileged needs root, to make a program another user's.
func TestInspectPrivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	for mode, want := range map[os.FileMode]string{os.ModeSetuid: "is setuid", os.ModeSetgid: "is setgid"} {
		path := compile(t)
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o755|mode); err != nil {
			t.Fatal(err)
		}
		if why, err := Inspect(path); err != nil || !strings.Contains(why, want) {
			t.Errorf("%q, %v; want %q", why, err, want)
		}
	}
}

// TestEnviron keeps what is not the shim's, and sets only what is given.
func TestEnviron(t *testing.T) {
	old := []string{"HOME=/", "LD_PRELOAD=/old/" + Shim + ":/other.so", "OUTBAND_SPIN=always", "OUTBAND_LIB=/lib"}
	got, err := (&Settings{Devices: "eth0", Only: "1,2", Report: true}).Environ(old, "/new")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"HOME=/", "OUTBAND_LIB=/lib", "LD_PRELOAD=/new/" + Shim + ":/other.so", "OUTBAND_DEV=eth0", "OUTBAND_ONLY=1,2", "OUTBAND_REPORT=1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if _, err := (&Settings{}).Environ(nil, "/a b"); err == nil {
		t.Error("a path with a blank was taken")
	}
}

// TestFind looks where OUTBAND_LIB says, and says where it has looked.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(EnvFolder, dir)
	if got, err := Find(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{Shim, Library} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Find(); err != nil || got != dir {
		t.Errorf("%q, %v", got, err)
	}
}
