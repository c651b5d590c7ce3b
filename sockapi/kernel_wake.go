package sockapi

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Pauses between rounds of looking for threads that wait on a closed socket.
const (
	minWakePause = 20 * time.Microsecond
	maxWakePause = 10 * time.Millisecond
)

// ownThreads lists the threads of the process (proc(5)).
const ownThreads = "/proc/self/task"

// wake ends the calls in flight on a socket that is closing:
//
//  1. The descriptor's number is made to name the grave, a file on which every
//     socket call gives EBADF. Who enters the kernel after this gets that.
//  2. Each thread that entered before, and waits on that number still, is sent
//     SIGURG, which the runtime uses for preemption and ignores otherwise. The
//     signal interrupts the call, the kernel restarts it or [interruption]
//     does, and it finds the grave.
//
// This is all that close(2) does and no more: unlike shutdown(2) it leaves the
// socket alone if it has other descriptors, in other processes, and it works
// for the families that know no shutdown (netlink, packet). A poll before every
// call would cost a system call, and would not wait as the call does: it
// returns at once while the error queue has something.
func (k *kernelSocket) wake(taskDir string) {
	if _, err := os.Stat(taskDir); err != nil {
		// Without /proc there is no telling who waits. Most families' waits
		// end by a shutdown; nobody waits here for those that do not.
		_ = unix.Shutdown(k.fd, unix.SHUT_RDWR)
		graves.bury(k.fd)
		return
	}
	graves.bury(k.fd)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := minWakePause; ; wait = min(2*wait, maxWakePause) {
		interruptThreads(taskDir, k.fd)
		pause.Reset(wait)
		select {
		case <-k.drained:
			return
		case <-pause.C:
		}
	}
}

// interruptThreads sends SIGURG to the threads listed in taskDir that wait in a
// system call whose first argument is fd.
func interruptThreads(taskDir string, fd int) {
	tasks, err := os.ReadDir(taskDir)
	if err != nil {
		return
	}
	for _, task := range tasks {
		call, err := os.ReadFile(taskDir + "/" + task.Name() + "/syscall")
		// A kernel without this file leaves no choice but to ask everyone.
		if err != nil && !os.IsNotExist(err) && !os.IsPermission(err) || err == nil && !waitsOn(call, fd) {
			continue
		}
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG) // it may have ended
		}
	}
}

// waitsOn reports whether a thread whose /proc file syscall is call waits in a
// system call with fd as its first argument. The file has the call's number
// and its arguments in hexadecimal, or "running".
func waitsOn(call []byte, fd int) bool {
	fields := bytes.Fields(call)
	if len(fields) < 2 {
		return false
	}
	arg, err := strconv.ParseUint(string(fields[1]), 0, 64)
	return err == nil && int32(arg) == int32(fd)
}

// graves is the one file that the numbers of sockets being closed are made to
// name. It is open while there are in-band sockets, so that closing one needs
// no new descriptor, which may not be had.
var graves grave

type grave struct {
	mu    sync.Mutex
	fd    int
	users int
}

// open has the grave open for one more socket. An O_PATH descriptor gives EBADF
// for every call but a few on files (open(2)).
func (g *grave) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users == 0 {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		g.fd = fd
	}
	g.users++
	return nil
}

// close takes one socket's share of the grave back.
func (g *grave) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.users == 0 {
		_ = unix.Close(g.fd)
	}
}

// bury makes fd name the grave. It cannot fail: both are open descriptors.
func (g *grave) bury(fd int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = unix.Dup3(g.fd, fd, unix.O_CLOEXEC)
}
