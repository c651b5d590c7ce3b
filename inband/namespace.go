package inband

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Namespace is a handle to a network namespace (network_namespaces(7)). An
// anonymous namespace lives as long as a handle, a process or a socket is in it.
// Its methods may be called by several goroutines at once, Close excepted.
type Namespace struct {
	handle netns.NsHandle
	name   string // of the bind mount that Close removes; "" for none
}

// NewNamespace makes an anonymous network namespace, with its loopback device
// still down. It needs CAP_SYS_ADMIN; the error is a unix errno.
func NewNamespace() (*Namespace, error) {
	return newNamespace("", netns.New)
}

// NewNamedNamespace makes a namespace that ip-netns(8) knows by name, under
// /run/netns. Close removes the name.
func NewNamedNamespace(name string) (*Namespace, error) {
	return newNamespace(name, func() (netns.NsHandle, error) { return netns.NewNamed(name) })
}

func newNamespace(name string, create func() (netns.NsHandle, error)) (*Namespace, error) {
	n := &Namespace{name: name}
	err := onOwnThread(func() (err error) {
		n.handle, err = create()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("new network namespace: %w", err)
	}
	return n, nil
}

// CurrentNamespace returns a handle to the calling thread's network namespace.
func CurrentNamespace() (*Namespace, error) {
	h, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("current network namespace: %w", err)
	}
	return &Namespace{handle: h}, nil
}

// OpenNamespace returns a handle to the namespace that a path stands for, such
// as /proc/PID/ns/net or /run/netns/NAME.
func OpenNamespace(path string) (*Namespace, error) {
	h, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return &Namespace{handle: h}, nil
}

// FD returns the namespace's file descriptor. It stays the Namespace's.
func (n *Namespace) FD() int { return int(n.handle) }

// Do runs fn in the namespace, on an operating system thread of its own, and
// returns its error. The thread never does anything else while it is in the
// namespace: if it cannot be brought back it is given up. A panic and a
// runtime.Goexit (so t.FailNow as well) in fn continue in the caller.
//
// Goroutines that fn starts run on other threads, outside the namespace.
func (n *Namespace) Do(fn func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// Close gives up the handle, and the name if the namespace was made with one.
func (n *Namespace) Close() error {
	err := n.handle.Close()
	if n.name != "" {
		err = errors.Join(err, netns.DeleteNamed(n.name))
		n.name = ""
	}
	return err
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
