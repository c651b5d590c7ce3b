package lab

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that is a session of its own is ended, and one elsewhere is not.
func TestEndProcesses(t *testing.T) {
	l := New(t, Config{})
	start := func(at *Endpoint) *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		if err := at.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	near, far := start(l.Near()), start(l.Far())
	gone := make(chan error, 1)
	go func() { gone <- near.Wait() }() // else it stays, as a zombie
	EndProcesses(t, l.Near().Namespace)
	if err := <-gone; err == nil {
		t.Error("it has ended by itself")
	}
	if err := far.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the other one: %v", err)
	}
	far.Process.Kill()
	far.Wait()
	if left := processes(t, l.Far().Namespace); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}
