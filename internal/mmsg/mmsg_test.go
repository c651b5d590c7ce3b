package mmsg

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Several messages go by one call, each with its own length, and errors come as numbers.
func TestSendAndRecv(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	texts := []string{"a", "bc", "def"}
	out, in := headers(t, len(texts)), headers(t, len(texts)+1)
	for i, s := range texts {
		copy(unsafe.Slice(out[i].Hdr.Iov.Base, 16), s)
		out[i].Hdr.Iov.SetLen(len(s))
	}
	if n, errno := Send(fds[0], out, 0); n != len(texts) || errno != 0 {
		t.Fatalf("%d sent, %v", n, errno)
	}
	n, errno := Recv(fds[1], in, unix.MSG_DONTWAIT, nil)
	if n != len(texts) || errno != 0 {
		t.Fatalf("%d received, %v", n, errno)
	}
	for i, s := range texts {
		if got := string(unsafe.Slice(in[i].Hdr.Iov.Base, in[i].N)); got != s || out[i].N != uint32(len(s)) {
			t.Errorf("message %d: %q of %q, %d bytes sent", i, got, s, out[i].N)
		}
	}
	if n, errno := Recv(fds[1], in, unix.MSG_DONTWAIT, nil); n != 0 || errno != unix.EAGAIN {
		t.Errorf("%d from an empty socket, %v", n, errno)
	}
	if n, errno := Send(-1, out, 0); n != 0 || errno != unix.EBADF {
		t.Errorf("%d by no socket, %v", n, errno)
	}
}

// headers returns messages with room for 16 bytes each.
func headers(t *testing.T, n int) []Header {
	t.Helper()
	h := make([]Header, n)
	for i := range h {
		v := &unix.Iovec{Base: unsafe.SliceData(make([]byte, 16))}
		v.SetLen(16)
		h[i].Hdr.Iov = v
		h[i].Hdr.SetIovlen(1)
	}
	return h
}
