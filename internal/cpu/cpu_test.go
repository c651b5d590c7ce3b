package cpu

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPin(t *testing.T) {
	before, err := All()
	if err != nil {
		t.Fatal(err)
	}
	last := before[len(before)-1]
	var inside []int
	done := make(chan error)
	go func() { // its thread ends with it: nobody inherits the pinning
		err := Pin(last)
		inside, _ = All()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(inside, []int{last}) {
		t.Errorf("pinned to %d, may run on %v", last, inside)
	}
	if after, _ := All(); !slices.Equal(after, before) {
		t.Errorf("another thread may run on %v, before on %v", after, before)
	}
}

func TestRestore(t *testing.T) {
	before, err := All()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		err := errors.Join(Pin(before[0]), Restore(before))
		if after, _ := All(); !slices.Equal(after, before) {
			t.Errorf("may run on %v, before on %v", after, before)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPinToNoSuchCPU(t *testing.T) {
	if err := Pin(1000); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v", err)
	}
}

func TestRanges(t *testing.T) {
	for want, all := range map[string][]int{"": nil, "3": {3}, "0-1": {0, 1}, "0,2-4,9": {0, 2, 3, 4, 9}} {
		if got := ranges(all); got != want {
			t.Errorf("%v: %q, want %q", all, got, want)
		}
	}
}
