package inband

import (
	"runtime"

	"github.com/vishvananda/netns"
)

// A space is a network namespace that what was opened in it may have to come back to.
type space struct{ handle netns.NsHandle }

// currentSpace returns the calling thread's.
func currentSpace() (space, error) {
	h, err := netns.Get()
	return space{h}, err
}

// do runs fn on a thread in the namespace: the calling one if that is there, which
// takes no privilege.
func (s space) do(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if here, err := netns.Get(); err == nil {
		defer here.Close()
		if here.Equal(s.handle) {
			return fn()
		}
	}
	done := make(chan error, 1)
	go func() {
		// A thread of its own, which ends with the goroutine.
		runtime.LockOSThread()
		if err := netns.Set(s.handle); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

func (s space) close() {
	if s.handle > 0 {
		s.handle.Close()
	}
}
