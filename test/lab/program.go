package lab

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// NeedProgram skips the test, or fails it in CI, if a program is not installed.
// It returns where it is: name may be a path, or is looked for in PATH.
func NeedProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("CI is set, and %s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// Output runs a program in a namespace until it ends, and returns what it prints.
// The test fails if it fails.
func Output(t testing.TB, at *netlab.Namespace, name string, args ...string) []byte {
	t.Helper()
	out, err := tryOutput(at, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// tryOutput is Output for programs that may fail; what they print then is all that
// they print.
func tryOutput(at *netlab.Namespace, name string, args ...string) (out []byte, err error) {
	cmd := exec.Command(name, args...)
	var text, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &complaints
	if err := at.Do(cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return append(text.Bytes(), complaints.Bytes()...), err
	}
	return text.Bytes(), nil
}

// Start starts a program in a namespace that runs until the test is over. It is ended
// by SIGTERM then, and killed if that does not help. What it has printed is
// logged if the test fails.
func Start(t testing.TB, at *netlab.Namespace, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	check(t, at.Do(cmd.Start))
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		select {
		case <-ended:
		case <-time.After(Patience):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s %q:\n%s", name, args, out.Bytes())
		}
	})
	return cmd
}
