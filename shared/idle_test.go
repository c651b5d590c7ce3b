package shared

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime returns how much the process has had.
func processorTime(t *testing.T) time.Duration {
	var u unix.Rusage
	check(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// wakeups returns how often the process' threads have slept, each once it had nothing to do.
func wakeups(t *testing.T) (n int) {
	files, err := filepath.Glob("/proc/self/task/*/status")
	check(t, err)
	for _, f := range files {
		b, _ := os.ReadFile(f)
		_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		one, _ := strconv.Atoi(strings.TrimSpace(line))
		n += one
	}
	return n
}

// A stack with 100 sockets that nobody uses takes no processor time, and wakes for nothing but
// what the kernel tells of its network.
func TestIdle(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		for i := range 100 {
			k := w.socket("0.0.0.0:" + strconv.Itoa(1000+i))
			if i%2 == 0 {
				check(t, k.Connect(addrPort(w.Far(), 5000)))
			}
		}
		runtime.GC()
		const during = 300 * time.Millisecond
		idle := func() (busy time.Duration, woken int) {
			was, slept := processorTime(t), wakeups(t)
			time.Sleep(during)
			return processorTime(t) - was, wakeups(t) - slept
		}
		// What came before may end a while later, and the runtime has work of its own.
		least, fewest := during, 1<<30
		w.eventually("idle", func() bool {
			busy, woken := idle()
			least, fewest = min(least, busy), min(fewest, woken)
			return least < 3*time.Millisecond && fewest < 15
		})
		t.Logf("%v of %v, woken %d times", least, during, fewest)
		before := wakeups(t)
		w.ip("address", "add", "10.9.0.77/32", "dev", "near0")
		w.eventually("woken", func() bool {
			k, err := w.st.NewUDPSocket()
			check(t, err)
			defer k.Close()
			return wakeups(t) > before && k.Bind(addrPortOf("10.9.0.77", 9)) == nil
		})
	})
}
