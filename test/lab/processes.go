package lab

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/outband/outband/internal/netlab"
	"golang.org/x/sys/unix"
)

// EndProcesses ends the processes in a namespace, this one excepted, and waits until they are
// gone: daemons that have left the process group of whoever started them, and would keep the
// namespace.
func EndProcesses(t testing.TB, n *netlab.Namespace) {
	t.Helper()
	for end := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		pids := processes(t, n)
		if len(pids) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("processes %v do not end", pids)
			return
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// processes returns those in a namespace, without this one.
func processes(t testing.TB, n *netlab.Namespace) (pids []int) {
	t.Helper()
	var here, there unix.Stat_t
	if err := unix.Fstat(n.FD(), &here); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() || unix.Stat("/proc/"+p.Name()+"/ns/net", &there) != nil {
			continue // one that has ended has no namespace
		}
		if there.Dev == here.Dev && there.Ino == here.Ino {
			pids = append(pids, pid)
		}
	}
	return pids
}
