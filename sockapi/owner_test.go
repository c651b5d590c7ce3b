package sockapi

import (
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestOwners sets owners of all kinds, and asks for them both ways, in-band and
// out-of-band.
func TestOwners(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tid, group := int32(os.Getpid()), int32(unix.Gettid()), int32(unix.Getpgrp())
	bothKinds(t, func(w *waitScript) {
		names := map[int]string{0: "nobody", int(pid): "process", -int(group): "group"}
		if tid != pid {
			names[int(tid)] = "thread"
		}
		look := func() {
			own, err := w.s.Fcntl(unix.F_GETOWN, 0)
			w.note("F_GETOWN: %s %v", names[own], err)
			var o FileOwner
			err = w.s.FcntlOwner(unix.F_GETOWN_EX, &o)
			w.note("F_GETOWN_EX: type %d, right %t %v", o.Type, o.PID == int32(max(own, -own)), err)
		}
		look()
		for _, o := range []FileOwner{{F_OWNER_TID, tid}, {F_OWNER_PID, pid}, {F_OWNER_PGRP, group}, {F_OWNER_TID, pid},
			{F_OWNER_PID, 0}, {F_OWNER_TID, 0}, {F_OWNER_PGRP, 0}, {3, pid}, {-1, pid}, {F_OWNER_TID, 0x3fffffff},
			{F_OWNER_PID, 0x3fffffff}, {F_OWNER_PGRP, 0x3fffffff}, {F_OWNER_PID, -pid}, {F_OWNER_TID, -1}, {F_OWNER_PGRP, -group}} {
			w.note("%d: %v", o.Type, w.s.FcntlOwner(unix.F_SETOWN_EX, &o))
			look()
		}
		for _, own := range []int32{pid, -group, 0} {
			_, err := w.s.Fcntl(unix.F_SETOWN, int(own))
			w.note("F_SETOWN %v", err)
			look()
		}
		w.note("%v", w.s.FcntlOwner(unix.F_GETOWN, new(FileOwner)))
		w.s.Close()
		w.note("%v", w.s.FcntlOwner(unix.F_GETOWN_EX, new(FileOwner)))
	})
}

// TestSignalToThread has one thread get the signals, in-band and out-of-band.
func TestSignalToThread(t *testing.T) {
	const sig = 46
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (sig - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	// Nobody but this thread can take a signal that is sent to it alone.
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, flag := range []int{0, SOCK_OOB} {
		a := waitAPI(t)
		s, p := waitSocket(t, a, flag), waitSocket(t, a, flag)
		if err := s.FcntlOwner(unix.F_SETOWN_EX, &FileOwner{F_OWNER_TID, int32(unix.Gettid())}); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][2]int{{unix.F_SETSIG, sig}, {unix.F_SETFL, unix.O_ASYNC | unix.O_NONBLOCK}} {
			if _, err := s.Fcntl(c[0], c[1]); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.Sendto([]byte("x"), 0, nameOf(t, s)); err != nil {
			t.Fatal(err)
		}
		var info unix.SignalfdSiginfo
		b := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, err := unix.Read(fd, b); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%#x: no signal", flag)
			}
		}
		if info.Signo != sig || info.Band&unix.POLLIN == 0 {
			t.Errorf("%#x: signal %d, band %#x", flag, info.Signo, info.Band)
		}
		s.Close()
	}
}
