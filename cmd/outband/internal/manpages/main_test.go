package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/cli"
)

// checkedIn is the folder of the pages in the repository.
const checkedIn = "../../../../man"

// TestPagesAreCurrent makes the pages anew: they must be those that are checked in.
func TestPagesAreCurrent(t *testing.T) {
	fresh := t.TempDir()
	if err := write(cli.Command(), fresh); err != nil {
		t.Fatal(err)
	}
	want, got := pages(t, fresh), pages(t, checkedIn)
	if len(want) == 0 || !slices.Equal(want, got) {
		t.Fatalf("the repository has %v, the command %v: run go generate ./cmd/outband", got, want)
	}
	for _, name := range want {
		if !bytes.Equal(read(t, fresh, name), read(t, checkedIn, name)) {
			t.Errorf("man/%s is not what the command says: run go generate ./cmd/outband", name)
		}
	}
}

func pages(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".3" { // which are the C library's
			names = append(names, e.Name())
		}
	}
	return names
}

func read(t *testing.T, folder, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestEachCommandHasAPage, with all its flags, and none that is not for users.
func TestEachCommandHasAPage(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		if c.Hidden {
			if _, err := os.Stat(filepath.Join(checkedIn, name)); err == nil {
				t.Errorf("%s is the page of a hidden command", name)
			}
			return
		}
		page := string(read(t, checkedIn, name))
		for _, word := range strings.Fields(c.LocalFlags().FlagUsages()) {
			if flag, found := strings.CutPrefix(word, "--"); found && !strings.Contains(strings.ReplaceAll(page, `\-`, "-"), "--"+flag) {
				t.Errorf("%s: no --%s", name, flag)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cli.Command())
}

// TestOldPagesGo with the commands that they were of; what is no page stays.
func TestOldPagesGo(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"outband-gone.1", "README"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(&cobra.Command{Use: "outband", Run: func(*cobra.Command, []string) {}}, folder); err != nil {
		t.Fatal(err)
	}
	if got := pages(t, folder); !slices.Equal(got, []string{"README", "outband.1"}) {
		t.Errorf("%v", got)
	}
}
