package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// TestFullOutput has the standard output take nothing: that is exit code 2, at once,
// whatever the command, and said once.
func TestFullOutput(t *testing.T) {
	full := func(cmd *exec.Cmd) {
		f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { f.Close() })
		cmd.Stdout = f
	}
	for _, line := range []string{"version", "version --json", "help", "completion bash", "--version", "ping --help"} {
		start(t, nil, full, strings.Fields(line)...).
			end(ExitFailed, "", "outband: standard output: no space left on device\n")
	}
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	for _, line := range []string{
		"ping 10.9.0.2", "ping 10.9.0.2 -c 1 --json", "neigh 10.9.0.2", "neigh 10.9.0.2 --json", "stat --time 0.01", "stat --time 0.01 --json",
		"send 10.9.0.2:9 hello --stat", "send 10.9.0.2:9 hello --json", "mcast recv 239.9.0.1:5 --interval 0.01",
		"mcast groups 239.9.0.1:5", "mcast groups 239.9.0.1:5 --json", "mcast send 239.9.0.1:5 hello --json",
		"latmus -E 10.9.0.2", "latmus -E 10.9.0.2 -T 3 --json",
	} {
		p := start(t, l.Near().Namespace, full, append(strings.Fields(line), "--dev", "near0", "--addr", "10.9.0.1/24")...)
		if code := p.wait(); code != ExitFailed || strings.Count(p.err.String(), "outband: standard output: no space left on device\n") != 1 {
			t.Errorf("%s: exit code %d, stderr:\n%s", line, code, p.err)
		}
	}
}

// TestReaderGone ends a command as soon as nobody reads its output any more.
func TestReaderGone(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := start(t, l.Near().Namespace, func(cmd *exec.Cmd) { cmd.Stdout = w },
		"ping", "10.9.0.2", "-i", "0.01", "--dev", "near0", "--addr", "10.9.0.1/24")
	if n, err := r.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
	r.Close()
	p.end(ExitFailed, "", "")
}

func TestOutputKeepsTheFirstError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := &output{to: failing{}, stop: cancel}
	if err := o.failed(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err := o.Write([]byte("x")); !errors.Is(err, unix.EIO) {
			t.Error(err)
		}
	}
	if err := o.failed(); err == nil || err.Error() != "standard output: input/output error" || ctx.Err() == nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

// failing is a writer that fails.
type failing struct{}

func (failing) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: unix.EIO}
}
