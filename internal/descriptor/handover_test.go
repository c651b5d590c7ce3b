package descriptor

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHandover(t *testing.T) {
	fds, err := Handover(1)
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs CAP_NET_RAW")
	}
	if err != nil {
		t.Fatal(err)
	}
	before := count(t)
	if err := Give(append(fds[:len(fds):len(fds)], 0)); err == nil {
		t.Error("standard input was taken for a socket")
	}
	if n := count(t); n != before {
		t.Errorf("%d descriptors after a failure, %d before", n, before)
	}
	if err := Give(fds); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	given := count(t)
	var used []int
	for range 2 {
		fd, err := Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if k, err := kindOf(fd); err != nil || k != (kind{unix.AF_PACKET, unix.SOCK_RAW, 0}) || flags&unix.O_NONBLOCK == 0 || !isOpen(fd) {
			t.Errorf("%+v, flags %#x: %v", k, flags, err)
		}
		used = append(used, fd)
	}
	if n := count(t); n != given || used[0] == used[1] {
		t.Errorf("descriptors %d of what was given, which was %d, is %d", used, given, n)
	}
	other, err := Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil || count(t) != given+1 {
		t.Errorf("of a kind that was not given: %v, %d descriptors", err, count(t))
	}
	for _, fd := range append(used, other) {
		unix.Close(fd)
	}
	Drop()
	if n := count(t); n != before-len(fds) {
		t.Errorf("%d descriptors are left, of %d", n, before-len(fds))
	}
	fd, err := Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil || count(t) != before-len(fds)+1 {
		t.Errorf("after Drop: %v", err)
	}
	unix.Close(fd)
}
