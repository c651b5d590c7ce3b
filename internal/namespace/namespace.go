// Package namespace runs functions in network namespaces (network_namespaces(7)).
//
// A network namespace belongs to a thread, and a goroutine moves between threads.
// [Namespace.Do] therefore runs a function on a thread that stays in the namespace for
// as long, and brings the thread back, or gives it up, before anything else can run
// there. A socket stays in the namespace in which it was opened, so only opening needs
// Do; a process that the function starts is born in the namespace.
package namespace

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Namespace is a handle to a network namespace. An anonymous namespace lives as long
// as a handle, a process or a socket is in it. Its methods may be called by several
// goroutines at once, Close excepted.
type Namespace struct{ handle netns.NsHandle }

// New makes an anonymous network namespace, with its loopback device still down. It
// needs CAP_SYS_ADMIN; the error wraps a unix errno.
func New() (*Namespace, error) {
	n := new(Namespace)
	err := onOwnThread(func() (err error) {
		n.handle, err = netns.New()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("new network namespace: %w", err)
	}
	return n, nil
}

// Current returns a handle to the calling thread's network namespace.
func Current() (*Namespace, error) {
	h, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("current network namespace: %w", err)
	}
	return &Namespace{handle: h}, nil
}

// Open returns a handle to the namespace that a path stands for, such as
// /proc/PID/ns/net or /run/netns/NAME.
func Open(path string) (*Namespace, error) {
	h, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return &Namespace{handle: h}, nil
}

// FD returns the namespace's file descriptor. It stays the Namespace's.
func (n *Namespace) FD() int { return int(n.handle) }

// Do runs fn in the namespace, and returns its error: on the calling thread if that is
// there, which takes no privilege; else, with CAP_SYS_ADMIN, on a thread of its own. That
// never does anything else while it is in the namespace: if it cannot be brought back it
// is given up. A panic and a runtime.Goexit (so t.FailNow as well) in fn continue in the
// caller.
//
// Goroutines that fn starts run on other threads, outside the namespace.
func (n *Namespace) Do(fn func() error) error {
	if there, err := n.doHere(fn); there {
		return err
	}
	return onOwnThread(func() error { return n.enter(fn) })
}

// enter brings the calling thread into the namespace, and runs fn there.
func (n *Namespace) enter(fn func() error) error {
	if err := netns.Set(n.handle); err != nil {
		if err == unix.EPERM {
			err = fmt.Errorf("needs CAP_SYS_ADMIN: %w", err)
		}
		return fmt.Errorf("enter network namespace: setns: %w", err)
	}
	return fn()
}

// doHere runs fn if the calling thread is in the namespace, and reports whether it is.
func (n *Namespace) doHere(fn func() error) (there bool, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return false, nil // to go there will show why
	}
	defer here.Close()
	if !here.Equal(n.handle) {
		return false, nil
	}
	return true, fn()
}

// Close gives up the handle. It does nothing to a nil Namespace.
func (n *Namespace) Close() error {
	if n == nil {
		return nil
	}
	return n.handle.Close()
}

// onOwnThread runs fn on a thread that nothing else uses meanwhile, and puts
// the thread back into the namespace in which it was.
func onOwnThread(fn func() error) error {
	var (
		err      error
		panicked any
		finished bool
		done     = make(chan struct{})
	)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, herr := netns.Get()
		if herr != nil {
			runtime.UnlockOSThread()
			err, finished = fmt.Errorf("current network namespace: %w", herr), true
			return
		}
		defer func() {
			// A goroutine that ends while locked takes its thread with it, so
			// a thread that cannot go home is never used again.
			if unix.Setns(int(home), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			home.Close()
		}()
		defer func() { panicked = recover() }()
		err = fn()
		finished = true
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	if !finished {
		runtime.Goexit()
	}
	return err
}
