package follow

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// descriptors returns how many the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}

func TestClose(t *testing.T) {
	before := descriptors(t)
	goroutines := runtime.NumGoroutine()
	k, err := Open()
	must(t, err)
	k.Follow(Events{})
	k.Close()
	k.Close()
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors more", n-before)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines more", n-goroutines)
	}
	if _, errno := k.Route(Query{Dst: ip4("127.0.0.1")}); errno != unix.ENETDOWN {
		t.Error("Route:", errno)
	}
	if _, err := k.Neighbours(); err != unix.ENETDOWN {
		t.Error("Neighbours:", err)
	}
	k.MembersBeside(ip4("239.1.1.1"), 1, 0)
	k.Snapshot()
	k.Follow(Events{RoutesMoved: func() { t.Error("told") }})
}

// TestOpenFails has no descriptors left at each of Open's steps.
func TestOpenFails(t *testing.T) {
	if out, err := self("fail").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// failToOpen is TestOpenFails, in a process of its own.
func failToOpen() int {
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	full := limit.Cur
	for left := range 7 { // Open needs 7, and the file of groups
		base, _ := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		unix.Close(base)
		limit.Cur = uint64(base + left)
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
		k, err := Open()
		limit.Cur = full
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
		if err == nil {
			k.Close()
			return 10 + left
		}
		after, _ := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		unix.Close(after)
		if after != base {
			return 20 + left
		}
	}
	return 0
}

func TestManyAskAtOnce(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	up0, up1 := l.index("up0"), l.index("up1")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 500 {
				q, want := Query{Dst: ip4("10.0.0.2")}, up0
				if i%2 == 1 {
					q, want = Query{Dst: ip4("10.1.0.2")}, up1
				}
				if a, errno := k.Route(q); errno != 0 || a.Device != want {
					t.Errorf("%+v %v", a, errno)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestCloseWhileAsking closes under load.
func TestCloseWhileAsking(t *testing.T) {
	k, err := Open()
	must(t, err)
	var wg sync.WaitGroup
	started := make(chan struct{}, 8)
	for range 8 {
		wg.Go(func() {
			for first := true; ; first = false {
				_, errno := k.Route(Query{Dst: ip4("127.0.0.1")})
				if errno == unix.ENETDOWN {
					return
				}
				if errno != 0 {
					t.Error(errno)
					return
				}
				if first {
					started <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-started
	}
	k.Close()
	wg.Wait()
}

func TestRouteAllocatesNothing(t *testing.T) {
	k, err := Open()
	must(t, err)
	defer k.Close()
	q := Query{Dst: ip4("127.0.0.1"), Mark: 1, SrcPort: 5, DstPort: 6}
	if n := testing.AllocsPerRun(100, func() { k.Route(q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestIdle sees that nothing is left to do after events: then the goroutine sleeps.
func TestIdle(t *testing.T) {
	l := newLab(t)
	k := l.open()
	r := recordEvents(t, k)
	due := false
	old := k.events.Load()
	k.Follow(Events{Changed: old.Changed, RoutesMoved: func() {
		_, any := k.loop.next(time.Now())
		r.note(func() { due = any; r.moved++ })
	}})
	l.ip("addr add 192.0.2.1/32 dev lo")
	l.quiet(k, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	if due {
		t.Error("something is due")
	}
}

// TestWithoutPrivileges follows and asks as nobody.
func TestWithoutPrivileges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the other tests run without privileges already: not root")
	}
	cmd := self("nobody")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func followAsNobody() int {
	k, err := Open()
	if err != nil {
		return 3
	}
	defer k.Close()
	told := make(chan struct{}, 10)
	k.Follow(Events{Changed: func(Snapshot) { told <- struct{}{} }, Neighbours: func([]Neighbour) { told <- struct{}{} }})
	<-told
	<-told
	if a, errno := k.Route(Query{Dst: ip4("127.0.0.1"), UID: 65534, Mark: 3}); errno != 0 || a.Kind != Local {
		return 4
	}
	if k.MembersBeside(ip4("239.255.1.1"), 1, 0) {
		return 5
	}
	return 0
}

// childMark in the environment makes this test binary do one task and end.
const childMark = "OUTBAND_FOLLOW_TEST"

func child() int {
	switch os.Getenv(childMark) {
	case "fail":
		return failToOpen()
	case "nobody":
		return followAsNobody()
	}
	return 2
}

// self runs this test binary again; main's child does its work there.
func self(name string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMark+"="+name)
	return cmd
}

func BenchmarkRoute(b *testing.B) {
	l, _ := uplinks(b)
	k := l.open()
	q := Query{Dst: ip4("10.0.0.2")}
	b.ReportAllocs()
	for b.Loop() {
		if _, errno := k.Route(q); errno != 0 {
			b.Fatal(errno)
		}
	}
}
