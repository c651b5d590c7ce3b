package nftables

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSaysWhatFails has the netlink socket fail.
func TestSaysWhatFails(t *testing.T) {
	f := &Socket{fd: -1}
	if err := f.answers(); !errors.Is(err, unix.EBADF) {
		t.Errorf("answers: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	f.fd = fd // not a netlink socket: there is nothing to be read on it
	if err := f.Send(func(*Batch) {}); err == nil {
		t.Error("send has no error")
	}
}

// TestAnswersThatAreNone has something other than netlink messages to read.
func TestAnswersThatAreNone(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	_, err = unix.Write(pair[1], make([]byte, unix.SizeofNlMsghdr)) // of length 0
	must(t, err)
	if err := (&Socket{fd: pair[0]}).answers(); err == nil {
		t.Error("no error")
	}
}
