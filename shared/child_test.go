package shared

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/netlab"
)

// A child is this test binary in a process of its own, which does a task in a namespace.
// Parent and child tell each other lines.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs bytes.Buffer
	over bool
}

// startChild starts a program, this one if it is "", for a task. Arguments come before it
// (strace and its own, say).
func startChild(t *testing.T, n *netlab.Namespace, task, program string, before []string, env ...string) *child {
	t.Helper()
	if program == "" {
		program = must(os.Executable())
	}
	line := append(before, program)
	c := &child{t: t, cmd: exec.Command(line[0], line[1:]...)}
	c.cmd.Env = append(append(os.Environ(), childMark+"="+task), env...)
	c.cmd.Stderr = &c.errs
	var err error
	c.in, err = c.cmd.StdinPipe()
	check(t, err)
	out, err := c.cmd.StdoutPipe()
	check(t, err)
	c.out = bufio.NewReader(out)
	check(t, n.Do(c.cmd.Start))
	t.Cleanup(func() {
		c.kill()
		if t.Failed() && c.errs.Len() > 0 {
			t.Logf("the child says:\n%s", c.errs.String())
		}
	})
	return c
}

// say tells the child a line.
func (c *child) say(line string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.in, line)
	check(c.t, err)
}

// hear returns the child's next line.
func (c *child) hear() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.kill()
		c.t.Fatalf("the child is no more: %v", err)
	}
	return strings.TrimSpace(line)
}

// want fails the test unless the child's next line is that one.
func (c *child) want(line string) {
	c.t.Helper()
	if got := c.hear(); got != line {
		c.t.Fatalf("the child says %q, not %q", got, line)
	}
}

// kill ends the child by SIGKILL.
func (c *child) kill() {
	if !c.over {
		c.over = true
		c.in.Close() // of which a program before the child knows nothing
		c.cmd.Process.Kill()
		c.wait()
	}
}

// end has the child end by itself.
func (c *child) end() error {
	c.in.Close()
	c.over = true
	return c.wait()
}

func (c *child) wait() error {
	io.Copy(io.Discard, c.out)
	return c.cmd.Wait()
}

// onlyEnv is the variable by which a child is told its rung.
const onlyEnv = "OUTBAND_ONLY"

// only returns the variable for a rung.
func only(r claim.Rung) string { return onlyEnv + "=" + strconv.Itoa(int(r)) }

// childConfig is a child's configuration.
func childConfig() Config {
	rung, _ := strconv.Atoi(os.Getenv(onlyEnv))
	return Config{Devices: []string{"near0"}, Only: claim.Rung(rung)}
}
