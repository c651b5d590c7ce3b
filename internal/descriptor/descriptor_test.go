package descriptor

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) int {
	t.Helper()
	fd, err := Raised(unix.Eventfd(0, unix.EFD_CLOEXEC))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func isOpen(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC != 0
}

func TestRaised(t *testing.T) {
	const low = 300
	defer SetFloor(0)
	if fd := open(t); fd >= low || !isOpen(fd) {
		t.Errorf("without a floor it is %d", fd)
	}
	SetFloor(low)
	before, _ := unix.Dup(0)
	unix.Close(before)
	a, b := open(t), open(t)
	if a != low || b != low+1 || !isOpen(a) || Floor() != low {
		t.Errorf("with a floor of %d: %d, %d", low, a, b)
	}
	if after, _ := unix.Dup(0); after != before {
		t.Errorf("the low number is open still: the next is %d, before %d", after, before)
	} else {
		unix.Close(after)
	}
	if fd, err := Raised(-1, unix.EMFILE); fd != -1 || err != unix.EMFILE {
		t.Errorf("an error: %d, %v", fd, err)
	}
	if fd, err := Raised(a, nil); fd != a || err != nil {
		t.Errorf("a high one: %d, %v", fd, err)
	}
	SetFloor(1 << 30) // more than there can be
	if fd := open(t); fd >= low || !isOpen(fd) {
		t.Errorf("it cannot be raised, and is %d", fd)
	}
}

func count(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestFill(t *testing.T) {
	before := count(t)
	release, err := Fill(200)
	if err != nil {
		t.Fatal(err)
	}
	r, err := unix.Dup(0)
	if err != nil || r < 200 {
		t.Errorf("opened meanwhile: %d, %v", r, err)
	}
	unix.Close(r)
	release()
	if n := count(t); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	var had unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	if _, err := Fill(int(had.Cur)); err != unix.EMFILE {
		t.Errorf("as many descriptors as there can be: %v", err)
	}
	if n := count(t); n != before {
		t.Errorf("%d descriptors after a failure, %d before", n, before)
	}
}
