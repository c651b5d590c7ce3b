package namespace

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// netnsOf returns what names the calling thread's network namespace.
func netnsOf(t *testing.T) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	must(t, err)
	return name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newNamespace makes a namespace, where that is permitted: as root, and so in CI.
func newNamespace(t *testing.T) *Namespace {
	t.Helper()
	n, err := New()
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
		t.Skip("needs CAP_SYS_ADMIN: run as root")
	}
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

func TestDoEntersAndRestores(t *testing.T) {
	n := newNamespace(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := netnsOf(t)
	var inside string
	must(t, n.Do(func() error {
		inside = netnsOf(t)
		return nil
	}))
	if inside == before {
		t.Errorf("Do ran in the caller's namespace %s", before)
	}
	if after := netnsOf(t); after != before {
		t.Errorf("after Do in %s, before in %s", after, before)
	}
}

func TestDoReturnsError(t *testing.T) {
	n := newNamespace(t)
	want := errors.New("of fn")
	if err := n.Do(func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
}

func TestDoPassesPanicOn(t *testing.T) {
	n := newNamespace(t)
	defer func() {
		if r := recover(); r != "of fn" {
			t.Errorf("recovered %v", r)
		}
	}()
	n.Do(func() error { panic("of fn") })
	t.Error("no panic")
}

func TestDoPassesGoexitOn(t *testing.T) {
	n := newNamespace(t)
	returned := true
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Do(func() error { runtime.Goexit(); return nil })
		returned = false
	}()
	<-done
	if !returned {
		t.Error("the caller went on after Goexit in fn")
	}
}

func TestNoThreadStaysInside(t *testing.T) {
	n := newNamespace(t)
	home := netnsOf(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			defer func() { recover() }()
			n.Do(func() error {
				if i%4 == 0 {
					panic("on purpose")
				}
				return nil
			})
		})
	}
	wg.Wait()
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, task := range tasks {
		ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && ns != home {
			t.Errorf("thread %s is in %s, home is %s", task.Name(), ns, home)
		}
	}
}

func TestOpen(t *testing.T) {
	n := newNamespace(t)
	again, err := Open(fmt.Sprintf("/proc/self/fd/%d", n.FD()))
	must(t, err)
	var a, b string
	must(t, n.Do(func() error { a = netnsOf(t); return nil }))
	must(t, again.Do(func() error { b = netnsOf(t); return nil }))
	if a != b {
		t.Errorf("by handle %s, by path %s", a, b)
	}
	must(t, again.Close())
}

func TestOpenMissing(t *testing.T) {
	if _, err := Open("/run/netns/there-is-none"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
}

func TestCurrent(t *testing.T) {
	n, err := Current()
	must(t, err)
	defer n.Close()
	var inside string
	must(t, n.Do(func() error { inside = netnsOf(t); return nil }))
	if home := netnsOf(t); inside != home {
		t.Errorf("current is %s, handle leads to %s", home, inside)
	}
}

// TestDoWhereItIs has a thread that is there already, and may not enter any namespace.
func TestDoWhereItIs(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n, err := Current()
	must(t, err)
	defer n.Close()
	outside := unix.Gettid()
	must(t, n.Do(func() error {
		if inside := unix.Gettid(); inside != outside {
			t.Errorf("Do ran on thread %d, not on %d, which is there", inside, outside)
		}
		return nil
	}))
}

// TestDoWithoutPrivilege has the error say what is missing.
func TestDoWithoutPrivilege(t *testing.T) {
	n := newNamespace(t)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: threads that this one starts have no capability either
		failed <- func() error {
			h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&h, &none[0]); err != nil {
				return err
			}
			return n.enter(func() error { return nil })
		}()
	}()
	if err := <-failed; !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_SYS_ADMIN") {
		t.Errorf("got %v", err)
	}
}

func TestCloseNil(t *testing.T) {
	var n *Namespace
	must(t, n.Close())
}
