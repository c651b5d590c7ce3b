package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/cmd/outband/internal/bench"
	"github.com/outband/outband/test/lab"
)

// TestMain lets the test binary play the command: as an end of a bench, and for
// tests that need a process of their own.
func TestMain(m *testing.M) {
	probeTime = 40 * time.Millisecond // of labs, where all answer at once
	if len(os.Args) > 1 && (os.Args[1] == bench.EndCommand || os.Getenv(commandMark) != "") {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	// The race detector has every process sleep a second at its end.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	lab.Main(m)
}

// commandMark in the environment makes this test binary the command.
const commandMark = "OUTBAND_CLI_TEST"

// run runs the command in this process.
func run(args ...string) (code int, out, err string) {
	var o, e bytes.Buffer
	code = Main(args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}
