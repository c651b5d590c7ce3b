package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/test/lab"
)

// patience bounds every wait for a process. It is far beyond what a healthy one
// takes, on a machine that is busy.
const patience = 30 * time.Second

// A process is the command in a process of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *stream
	err  *stream
	done chan struct{}
}

// A stream collects what a process prints, and can be waited on.
type stream struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // holds one when something was written
}

func newStream() *stream { return &stream{more: make(chan struct{}, 1)} }

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start starts the command in a namespace, or, if at is nil, where the test is.
// change may be nil.
func start(t *testing.T, at *netlab.Namespace, change func(*exec.Cmd), args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("/proc/self/exe", args...), out: newStream(), err: newStream(), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), commandMark+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	if change != nil {
		change(p.cmd)
	}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	run := p.cmd.Start
	if at != nil {
		run = func() error { return at.Do(p.cmd.Start) }
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		p.in.Close()
	})
	return p
}

// wait waits for the end of the process and returns its exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%v does not end\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], p.out, p.err)
		return -1
	}
}

// expect waits until a stream holds a text.
func (p *process) expect(s *stream, text string) {
	p.t.Helper()
	p.until(s, strconv.Quote(text), func() bool { return strings.Contains(s.String(), text) })
}

// until waits until a stream brings what makes a condition hold.
func (p *process) until(s *stream, what string, holds func() bool) {
	p.t.Helper()
	timeout := time.After(patience)
	for !holds() {
		select {
		case <-s.more:
		case <-p.done:
			if !holds() {
				p.t.Fatalf("%v ended without %s\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], what, p.out, p.err)
			}
			return
		case <-timeout:
			p.t.Fatalf("%v does not print %s\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], what, p.out, p.err)
		}
	}
}

// signal sends a signal.
func (p *process) signal(s unix.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the end, and checks the exit code and both streams against texts
// that must be all there is. "*" takes anything.
func (p *process) end(code int, out, err string) {
	p.t.Helper()
	if got := p.wait(); got != code {
		p.t.Errorf("%v: exit code %d, want %d", p.cmd.Args[1:], got, code)
	}
	if got := p.out.String(); out != "*" && got != out {
		p.t.Errorf("%v: stdout:\n%s\nwant:\n%s", p.cmd.Args[1:], got, out)
	}
	if got := p.err.String(); err != "*" && got != err {
		p.t.Errorf("%v: stderr:\n%s\nwant:\n%s", p.cmd.Args[1:], got, err)
	}
}

// half makes a lab in which the far end alone is the kernel's, and returns what
// starts the command at the near end with --dev and --addr.
func half(t *testing.T) (l *lab.Lab, near func(args ...string) *process) {
	t.Helper()
	l = lab.New(t, lab.Config{Kernel: lab.Far})
	return l, func(args ...string) *process {
		t.Helper()
		return start(t, l.Near().Namespace, nil, append(args, "--dev", "near0", "--addr", "10.9.0.1/24")...)
	}
}
