package cli

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSecondProcess has two commands want one address on one device: the second is told
// who has it, until the first has ended.
func TestSecondProcess(t *testing.T) {
	_, near := half(t)
	first := near("stat", "--probe", "0")
	first.expect(first.err, "10.9.0.1 is up on near0\n")
	near("stat", "--probe", "0", "--time", "10ms").end(ExitFailed, "", fmt.Sprintf(
		"outband: address 10.9.0.1/24: a stack of process %d has 10.9.0.1 on near0: address already in use\n", first.cmd.Process.Pid))
	first.signal(unix.SIGKILL)
	first.wait()
	near("stat", "--probe", "0", "--time", "10ms").end(ExitOK, "*", "*")
}
