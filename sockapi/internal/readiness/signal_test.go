package readiness

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestSignalInformation reads a signal of the owner's choice from a signalfd, on
// the one thread that has it blocked.
func TestSignalInformation(t *testing.T) {
	const sig = 45
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set unix.Sigset_t
	set.Val[0] = 1 << (sig - 1)
	var old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	sendSignal(Owner{Type: OwnerTID, PID: int32(unix.Gettid())}, sig, bandErr, 77)
	var info unix.SignalfdSiginfo
	b := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
	if _, err := unix.Read(fd, b); err != nil {
		t.Skip("another thread got it: ", err)
	}
	if info.Signo != sig || info.Code != siSIGIO || info.Fd != 77 || info.Band != bandErr {
		t.Errorf("%+v", info)
	}
}

// TestSignalToThread has a signal without information come to a thread, not to any of its
// process: this one alone has it blocked.
func TestSignalToThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (unix.SIGIO - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	sendSignal(Owner{Type: OwnerTID, PID: int32(unix.Gettid())}, 0, bandIn, 77)
	var info unix.SignalfdSiginfo
	b := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
	if _, err := unix.Read(fd, b); err != nil || info.Signo != uint32(unix.SIGIO) {
		t.Errorf("signal %d, %v", info.Signo, err)
	}
}

// Owners are threads, processes or groups of them, and asked for as such.
func TestOwnersExist(t *testing.T) {
	const nobody = 1<<22 + 5 // above what Linux gives out
	done := make(chan struct{})
	tid := make(chan int)
	go func() { // a thread that is not the first
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		<-done
	}()
	thread := <-tid
	defer close(done)
	group, err := unix.Getpgid(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    Owner
		want bool
	}{
		{"a thread", Owner{OwnerTID, int32(thread)}, true},
		{"the process", Owner{OwnerPID, int32(unix.Getpid())}, true},
		{"its group", Owner{OwnerPGRP, int32(group)}, true},
		{"a thread as a group", Owner{OwnerPGRP, int32(thread)}, thread == group},
		{"no thread", Owner{OwnerTID, nobody}, false},
		{"no process", Owner{OwnerPID, nobody}, false},
		{"nobody", Owner{OwnerPID, 0}, false},
	} {
		if got := tt.o.exists(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
