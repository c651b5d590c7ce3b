package gonet

import (
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestIdleConnections has a thousand connections wait: that costs no CPU, and little memory.
func TestIdleConnections(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own memory")
	}
	const n, most = 1000, 8 << 10
	near, _ := hosts(t)
	var conns []*UDPConn
	before := heap()
	for range n {
		conns = append(conns, must[*UDPConn](t)(near.ListenUDP("udp4", nil)))
	}
	var wg sync.WaitGroup
	buf := make([]byte, n)
	for i, c := range conns {
		wg.Go(func() { c.Read(buf[i : i+1]) })
	}
	// Once all sleep there is a while without any CPU to speak of, in which hardly a thread wakes up:
	// the test's own, and those of the runtime.
	const while, few = 50 * time.Millisecond, 20
	for end := soon(); ; {
		used, waked := usage(t)
		time.Sleep(while)
		usedThen, wakedThen := usage(t)
		used, waked = usedThen-used, wakedThen-waked
		if used < while/10 && waked <= few {
			t.Logf("%v of CPU and %d wake-ups in %v", used, waked, while)
			break
		} else if time.Now().After(end) {
			t.Fatalf("%v of CPU and %d wake-ups in %v", used, waked, while)
		}
	}
	each := (heap() - before) / n
	if t.Logf("%d bytes each", each); each > most {
		t.Errorf("%d bytes each, want %d at most", each, most)
	}
	for _, c := range conns {
		check(t, c.Close())
	}
	wg.Wait()
}

// heap returns how many bytes are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// usage returns how long the process has run, and how often a thread of it has gone to sleep.
func usage(t *testing.T) (cpu time.Duration, sleeps int64) {
	t.Helper()
	var r syscall.Rusage
	check(t, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), int64(r.Nvcsw)
}
