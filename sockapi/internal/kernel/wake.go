package kernel

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Pauses between rounds of looking for threads that wait on a closed socket.
const (
	minWakePause = 20 * time.Microsecond
	maxWakePause = 10 * time.Millisecond
)

// OwnThreads lists the threads of the process (proc(5)).
const OwnThreads = "/proc/self/task"

// wakeTimeout is the time-out of waits that a Close shall end, in seconds: the
// longest that Linux takes for one on every machine. None lasts so long.
const wakeTimeout = 1_000_000

// maxWake is how long Close waits for the calls in flight. All families' waits end
// much sooner but those that know neither time-outs nor signals (AF_ALG).
const maxWake = 5 * time.Second

// wake ends the calls in flight on a socket that is closing, one of which is the
// caller's:
//
//  1. The socket gets a time-out, if it has none. A signal ends a wait that has
//     one for good, and does not have it restarted (signal(7)).
//  2. Each thread that waits on the descriptor is sent SIGURG, which the runtime
//     uses for preemption and ignores otherwise. The first has a wait of before
//     restarted, which then has the time-out; the next ends it, and
//     [interruption] sees why.
//
// Only the last of the calls closes the descriptor: what is done to its
// number is done to this socket. Unlike shutdown(2) this leaves the socket alone if
// it has other descriptors, in other processes, and it works for the families
// that know no shutdown (netlink, packet). A poll before every call would cost a
// system call, and would not wait as the call does: it returns at once while the
// error queue has something.
func (k *Socket) wake(taskDir string) {
	if _, err := os.Stat(taskDir); err != nil {
		// Without /proc there is no telling which threads wait. Most families' waits
		// end by a shutdown; those that do not are not waited for here.
		_ = unix.Shutdown(k.fd, unix.SHUT_RDWR)
		k.Release()
		return
	}
	k.lendTimeouts()
	pause := time.NewTimer(0)
	defer pause.Stop()
	end := time.Now().Add(maxWake)
	for wait := minWakePause; k.calls.Load() > closing+1 && time.Now().Before(end); wait = min(2*wait, maxWakePause) {
		InterruptThreads(taskDir, k.fd)
		pause.Reset(wait)
		<-pause.C
	}
	k.Release()
}

// lendTimeouts gives the socket those time-outs that it has not, and
// restoreTimeouts takes them back, for other processes that share it.
func (k *Socket) lendTimeouts() {
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if tv, err := unix.GetsockoptTimeval(k.fd, unix.SOL_SOCKET, option); err != nil || *tv != (unix.Timeval{}) {
			continue
		}
		if unix.SetsockoptTimeval(k.fd, unix.SOL_SOCKET, option, &unix.Timeval{Sec: wakeTimeout}) == nil {
			k.lent = append(k.lent, option)
		}
	}
}

func (k *Socket) restoreTimeouts() {
	for _, option := range k.lent {
		tv, err := unix.GetsockoptTimeval(k.fd, unix.SOL_SOCKET, option)
		if err == nil && *tv == (unix.Timeval{Sec: wakeTimeout}) {
			_ = unix.SetsockoptTimeval(k.fd, unix.SOL_SOCKET, option, &unix.Timeval{})
		}
	}
}

// InterruptThreads sends SIGURG to the threads listed in taskDir that wait in a
// system call whose first argument is fd.
func InterruptThreads(taskDir string, fd int) {
	tasks, err := os.ReadDir(taskDir)
	if err != nil {
		return
	}
	for _, task := range tasks {
		call, err := os.ReadFile(taskDir + "/" + task.Name() + "/syscall")
		// A kernel without this file leaves no choice but to ask everyone.
		if err != nil && !os.IsNotExist(err) && !os.IsPermission(err) || err == nil && !WaitsOn(call, fd) {
			continue
		}
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG) // it may have ended
		}
	}
}

// WaitsOn reports whether a thread whose /proc file syscall is call waits in a
// system call with fd as its first argument. The file has the call's number
// and its arguments in hexadecimal, or "running".
func WaitsOn(call []byte, fd int) bool {
	fields := bytes.Fields(call)
	if len(fields) < 2 {
		return false
	}
	arg, err := strconv.ParseUint(string(fields[1]), 0, 64)
	return err == nil && int32(arg) == int32(fd)
}
