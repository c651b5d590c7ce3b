package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/outband/outband/test/lab"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets the test binary play the ends of a measurement.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == EndCommand {
		if err := RunEnd(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "outband:", err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	// The race detector has every process sleep a second at its end.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	lab.Main(m)
}

// golden compares with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (go test -update writes it anew)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}
