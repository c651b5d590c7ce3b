package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// userNamespaceMark is in the environment of a process that InUserNamespace
// started.
const userNamespaceMark = "OUTBAND_USER_NAMESPACE"

// ErrNoUserNamespace means that the system lets this user make no user
// namespace, or none with capabilities in it.
var ErrNoUserNamespace = errors.New("no user namespace to be had")

// InUserNamespace runs this program again, with the same arguments and standard
// streams, in a new user namespace (user_namespaces(7)) where it is root and in
// a new network namespace, and waits for it. It returns the exit code. SIGINT,
// SIGQUIT, SIGTERM and SIGUSR1 are left to the second process; it is killed if
// the first one dies.
//
// A system that forbids this gives an error that wraps [ErrNoUserNamespace]. So
// does a call from a process that was itself started this way: there is nothing
// more to gain.
func InUserNamespace() (int, error) {
	if os.Getenv(userNamespaceMark) != "" {
		return 0, fmt.Errorf("%w: made one, and have no capabilities in it", ErrNoUserNamespace)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), userNamespaceMark+"=1")
	EnterUserNamespace(cmd)

	// The parent-death signal is the thread's, not the process'.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoUserNamespace, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// The terminal sends SIGINT and SIGQUIT to the whole group; a
			// second copy of those does no harm.
			cmd.Process.Signal(s)
		case <-ended:
			return exitCode(cmd.ProcessState), nil
		}
	}
}

// EnterUserNamespace makes cmd start as root of a new user namespace and in a
// new network namespace.
func EnterUserNamespace(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNET
	cmd.SysProcAttr.UidMappings = idMap(os.Getuid())
	cmd.SysProcAttr.GidMappings = idMap(os.Getgid())
}

// exitCode follows the shell: 128 and the signal's number for a process that a
// signal ended.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

func idMap(id int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
}
