package inband

import (
	"errors"
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

func TestDoEntersAndRestores(t *testing.T) {
	n := newNamespaceT(t)
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
	n := newNamespaceT(t)
	want := errors.New("of fn")
	if err := n.Do(func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
}

func TestDoPassesPanicOn(t *testing.T) {
	n := newNamespaceT(t)
	defer func() {
		if r := recover(); r != "of fn" {
			t.Errorf("recovered %v", r)
		}
	}()
	n.Do(func() error { panic("of fn") })
	t.Error("no panic")
}

func TestDoPassesGoexitOn(t *testing.T) {
	n := newNamespaceT(t)
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
	n := newNamespaceT(t)
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

func TestNamedNamespace(t *testing.T) {
	needLab(t)
	name := "outband-test-" + strings.ToLower(t.Name())
	n, err := NewNamedNamespace(name)
	must(t, err)
	path := "/run/netns/" + name
	again, err := OpenNamespace(path)
	must(t, err)
	var a, b string
	must(t, n.Do(func() error { a = netnsOf(t); return nil }))
	must(t, again.Do(func() error { b = netnsOf(t); return nil }))
	if a != b {
		t.Errorf("by handle %s, by name %s", a, b)
	}
	must(t, again.Close())
	must(t, n.Close())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", path, err)
	}
}

func TestOpenNamespaceMissing(t *testing.T) {
	if _, err := OpenNamespace("/run/netns/there-is-none"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
}

func TestCurrentNamespace(t *testing.T) {
	needLab(t)
	n, err := CurrentNamespace()
	must(t, err)
	defer n.Close()
	var inside string
	must(t, n.Do(func() error { inside = netnsOf(t); return nil }))
	if home := netnsOf(t); inside != home {
		t.Errorf("current is %s, handle leads to %s", home, inside)
	}
}
