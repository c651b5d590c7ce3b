package inband

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPinThread(t *testing.T) {
	before, err := CPUs()
	must(t, err)
	last := before[len(before)-1]
	var inside []int
	done := make(chan error)
	go func() { // its thread ends with it: nobody inherits the pinning
		err := PinThread(last)
		inside, _ = CPUs()
		done <- err
	}()
	must(t, <-done)
	if !slices.Equal(inside, []int{last}) {
		t.Errorf("pinned to %d, may run on %v", last, inside)
	}
	if after, _ := CPUs(); !slices.Equal(after, before) {
		t.Errorf("another thread may run on %v, before on %v", after, before)
	}
}

func TestPinThreadToNoSuchCPU(t *testing.T) {
	if err := PinThread(1000); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v", err)
	}
}
