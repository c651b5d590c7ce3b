package kernel

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// awaitWaiters returns when n threads wait in a system call on fd.
func awaitWaiters(t testing.TB, fd, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		tasks, err := os.ReadDir(OwnThreads)
		if err != nil {
			t.Fatal(err)
		}
		waiting := 0
		for _, task := range tasks {
			if call, err := os.ReadFile(OwnThreads + "/" + task.Name() + "/syscall"); err == nil && WaitsOn(call, fd) {
				waiting++
			} else if os.IsPermission(err) {
				t.Skip("may not see what threads wait for")
			}
		}
		if waiting >= n {
			return
		}
	}
	t.Fatalf("no %d threads wait on descriptor %d", n, fd)
}

// open returns a UDP socket that is bound to a loopback address.
func open(t testing.TB) *Socket {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	return New(fd, unix.AF_INET)
}

func recv1(k *Socket) error {
	var from Name
	_, _, err := k.Recvfrom(make([]byte, 1), 0, &from)
	return err
}

func TestCloseWakesWithoutProc(t *testing.T) {
	k := open(t)
	done := make(chan error)
	go func() { done <- recv1(k) }()
	awaitWaiters(t, k.fd, 1)
	k.calls.Add(closing + 1)
	k.wake(t.TempDir() + "/none")
	if err := <-done; err != nil { // what a shutdown gives: nothing
		t.Errorf("Recv: %v", err)
	}
	for k.calls.Load() != closing {
		runtime.Gosched()
	}
}

func TestWaitsOn(t *testing.T) {
	for call, want := range map[string]bool{
		"45 0x7 0xc000 0x1 0x0 0x0 0x0 0x7ffd 0x46\n": true,
		"45 0x8 0x7 0x1 0x0 0x0 0x0 0x7ffd 0x46\n":    false,
		"45 0x7\n":          true,
		"45\n":              false,
		"running\n":         false,
		"-1 0x7ffd 0x46\n":  false,
		"":                  false,
		"45 seven 0x7 0x46": false,
	} {
		if got := WaitsOn([]byte(call), 7); got != want {
			t.Errorf("WaitsOn(%q) = %v", call, got)
		}
	}
}
