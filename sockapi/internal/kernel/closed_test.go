package kernel

import (
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// calls are all calls on a socket that the kernel refuses for what is none.
var calls = map[string]func(k *Socket) error{
	"Bind":    func(k *Socket) error { return k.Bind(make([]byte, 16)) },
	"Connect": func(k *Socket) error { return k.Connect(make([]byte, 16)) },
	"Recvfrom": func(k *Socket) error {
		var from Name
		_, _, err := k.Recvfrom(nil, unix.MSG_DONTWAIT, &from)
		return err
	},
	"Sendto": func(k *Socket) error { _, err := k.Sendto(nil, unix.MSG_DONTWAIT, nil); return err },
	"Recvmsg": func(k *Socket) error {
		var from Name
		_, err := k.Recvmsg(nil, nil, unix.MSG_DONTWAIT, &from)
		return err
	},
	"Sendmsg": func(k *Socket) error { _, err := k.Sendmsg(nil, nil, nil, unix.MSG_DONTWAIT); return err },
	"Recvmmsg": func(k *Socket) error {
		b := NewBatch(1, 1)
		b.SetReceive(0, nil, nil)
		_, err := k.Recvmmsg(b, unix.MSG_DONTWAIT, -1)
		return err
	},
	"Sendmmsg": func(k *Socket) error {
		b := NewBatch(1, 1)
		b.SetSend(0, 0, nil, nil)
		_, err := k.Sendmmsg(b, unix.MSG_DONTWAIT)
		return err
	},
	"Setsockopt": func(k *Socket) error { return k.Setsockopt(unix.SOL_SOCKET, unix.SO_DEBUG, make([]byte, 4)) },
	"Getsockopt": func(k *Socket) error {
		_, err := k.Getsockopt(unix.SOL_SOCKET, unix.SO_DEBUG, make([]byte, 4))
		return err
	},
	"AttachProgram": func(k *Socket) error { return k.AttachProgram(unix.SO_ATTACH_FILTER, make([]bpf.RawInstruction, 1)) },
	"Getsockname":   func(k *Socket) error { var n Name; _, err := k.Getsockname(&n); return err },
	"Getpeername":   func(k *Socket) error { var n Name; _, err := k.Getpeername(&n); return err },
	"Shutdown":      func(k *Socket) error { return k.Shutdown(unix.SHUT_RD) },
	"Listen":        func(k *Socket) error { return k.Listen(1) },
	"Accept":        func(k *Socket) error { var n Name; _, _, err := k.Accept(0, &n); return err },
}

// others are those that it takes of files too, but not of what is none.
var others = map[string]func(k *Socket) error{
	"Ioctl":       func(k *Socket) error { _, err := k.Ioctl(unix.SIOCGIFINDEX, make([]byte, 40)); return err },
	"SIOCGIFCONF": func(k *Socket) error { _, err := k.Ioctl(unix.SIOCGIFCONF, make([]byte, 40)); return err },
	"Fcntl":       func(k *Socket) error { _, err := k.Fcntl(9999, 0); return err },
	"SetOwner":    func(k *Socket) error { return k.SetOwner(Owner{99, 1}) },
}

// A socket that is closed makes no call: its number may be another file's by now. The
// kernel's errors are told as they are.
func TestClosed(t *testing.T) {
	var file [2]int
	if err := unix.Pipe2(file[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file[0])
	defer unix.Close(file[1])
	of := map[string]unix.Errno{"Ioctl": unix.ENOTTY, "SIOCGIFCONF": unix.ENOTTY, "Fcntl": unix.EINVAL, "SetOwner": unix.EINVAL}
	for _, group := range []map[string]func(k *Socket) error{calls, others} {
		for name, call := range group {
			want := of[name]
			if want == 0 {
				want = unix.ENOTSOCK
			}
			if err := call(New(file[0], unix.AF_INET)); err != want {
				t.Errorf("%s of a file: %v, want %v", name, err, want)
			}
			k := New(file[0], unix.AF_INET)
			k.calls.Store(closing + 1) // one call has not left yet
			if err := call(k); err != unix.EBADF || k.calls.Load() != closing+1 {
				t.Errorf("%s of a closed socket: %v", name, err)
			}
		}
	}
	k := New(file[0], unix.AF_INET)
	if k.Nonblocking() {
		t.Error("it does not block")
	}
	unix.SetNonblock(file[0], true)
	if !k.Nonblocking() {
		t.Error("it blocks")
	}
	if _, err := k.Owner(); err != nil {
		t.Error(err)
	}
	k.calls.Store(closing + 1)
	if k.Nonblocking() {
		t.Error("a closed socket does not block")
	}
	if err := k.SetNonblock(false); err != unix.EBADF {
		t.Errorf("SetNonblock of a closed socket: %v", err)
	}
	if _, err := k.Owner(); err != unix.EBADF {
		t.Errorf("the owner of a closed socket: %v", err)
	}
	if err := k.Close(); err != unix.EBADF {
		t.Errorf("closed again: %v", err)
	}
	began := time.Now()
	k.Await(unix.POLLIN, time.Minute)
	if time.Since(began) > 30*time.Second {
		t.Error("a closed socket is awaited")
	}
}

// A call that a signal has interrupted is made again, unless the socket is closed or its
// time-out is over.
func TestInterruption(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name    string
		e       unix.Errno
		closed  bool
		began   time.Time
		timeout int64 // seconds
		want    unix.Errno
	}{
		{"nothing", 0, false, long, 1, 0},
		{"another error", unix.ECONNREFUSED, false, long, 1, unix.ECONNREFUSED},
		{"another error of a closed socket", unix.ECONNREFUSED, true, long, 1, unix.ECONNREFUSED},
		{"no time-out was ever set", unix.EINTR, false, time.Time{}, 1, unix.EINTR},
		{"no time-out is set", unix.EINTR, false, long, 0, unix.EINTR},
		{"the time-out is not over", unix.EINTR, false, long, 7200, unix.EINTR},
		{"the time-out is over", unix.EINTR, false, long, 1, unix.EAGAIN},
		{"closed", unix.EINTR, true, time.Time{}, 0, unix.EBADF},
	} {
		k := open(t)
		i := interruption{k: k, option: unix.SO_RCVTIMEO, began: tt.began}
		if tt.timeout != 0 {
			if err := unix.SetsockoptTimeval(k.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: tt.timeout}); err != nil {
				t.Fatal(err)
			}
		}
		if tt.closed {
			k.calls.Add(closing)
		}
		if got := i.result(tt.e, unix.EAGAIN); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		unix.Close(k.fd)
	}
	k := open(t)
	defer k.Close()
	if i := k.begin(unix.SO_RCVTIMEO); !i.began.IsZero() {
		t.Error("a call without a time-out knows when it began")
	}
	for _, name := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO_NEW, unix.SO_SNDTIMEO_NEW} {
		k.timed.Store(false)
		k.Setsockopt(unix.SOL_SOCKET, name, make([]byte, 16))
		if i := k.begin(unix.SO_RCVTIMEO); i.began.IsZero() {
			t.Errorf("a call after option %d does not know when it began", name)
		}
	}
	k.timed.Store(false)
	k.Setsockopt(unix.SOL_SOCKET, unix.SO_RCVTIMEO, make([]byte, 3)) // refused
	k.Setsockopt(unix.SOL_IP, unix.SO_RCVTIMEO, make([]byte, 16))    // another option
	if k.timed.Load() {
		t.Error("what is no time-out counts as one")
	}
}

// The descriptor of a socket whose last call has left is another file's.
func TestGone(t *testing.T) {
	k := open(t)
	if k.Closed() {
		t.Error("it is closed at first")
	}
	if err := k.Close(); err != nil || k.calls.Load() != closing {
		t.Fatal(err)
	}
	if k.Acquire() || !k.Closed() {
		t.Error("a call begins on a socket that is gone")
	}
	if err := k.Close(); err != unix.EBADF || k.calls.Load() != closing {
		t.Errorf("closed again: %v", err)
	}
}

func TestInterfaceList(t *testing.T) {
	k := open(t)
	defer k.Close()
	n, err := k.Ioctl(unix.SIOCGIFCONF, nil)
	if err != nil || n < 40 || n%40 != 0 {
		t.Fatalf("%d bytes for all, %v", n, err)
	}
	b := make([]byte, 40+39)
	if n, err := k.Ioctl(unix.SIOCGIFCONF, b); err != nil || n != 40 || b[0] == 0 {
		t.Errorf("%d bytes for one, %v: %q", n, err, b[:16])
	}
	req := make([]byte, 40)
	copy(req, b[:16])
	if n, err := k.Ioctl(unix.SIOCGIFINDEX, req); err != nil || n != 40 || req[16] == 0 {
		t.Errorf("%d bytes for an index, %v: %v", n, err, req)
	}
}
