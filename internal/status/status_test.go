package status

import (
	"encoding/json"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// in runs f in a network namespace of its own, on its own thread.
func in(t *testing.T, f func()) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Skipf("a network namespace: %v", err)
	}
}

// Each process answers in its own network namespace, with what it has now.
func TestAnswer(t *testing.T) {
	in(t, func() {
		n := 0
		s, err := Serve(func() any { n++; return map[string]int{"asked": n} })
		if err != nil {
			t.Error(err)
			return
		}
		for want := 1; want <= 2; want++ {
			all, err := Ask()
			if len(all) != 1 || err != nil {
				t.Errorf("%d answers, %v", len(all), err)
				return
			}
			var got map[string]int
			if err := json.Unmarshal(all[0].Body, &got); err != nil || got["asked"] != want || all[0].PID != os.Getpid() || all[0].UID != os.Geteuid() {
				t.Errorf("%+v: %v, %v", all[0], got, err)
			}
		}
		s.Close()
		if all, err := Ask(); len(all) != 0 || err != nil {
			t.Errorf("after Close %d answers, %v", len(all), err)
		}
	})
}

// Another user gets no answer, and is told so.
func TestOthersGetNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes root to become another user")
	}
	in(t, func() {
		s, err := Serve(func() any { t.Error("asked"); return nil })
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		// The thread alone: setresuid(2) without glibc is of a thread.
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 65534, ^uintptr(0)); e != 0 {
			t.Error(e)
			return
		}
		all, err := Ask()
		if len(all) != 1 || err != nil || all[0].Err != unix.EPERM {
			t.Errorf("%+v, %v", all, err)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); e != 0 {
			t.Error(e)
		}
	})
}

// One that hangs is shown as such, and holds nobody up for ever.
func TestHanging(t *testing.T) {
	in(t, func() {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: prefix + "1/1", Net: "unix"})
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		began := time.Now()
		all, err := Ask()
		if len(all) != 1 || err != nil || !os.IsTimeout(all[0].Err) {
			t.Errorf("%+v, %v", all, err)
		}
		if took := time.Since(began); took > 20*patience {
			t.Errorf("took %v", took)
		}
	})
}
