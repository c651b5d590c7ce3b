package sockapi

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// without runs f on a thread without some capabilities in effect.
func without(t *testing.T, f func(), capabilities ...int) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		for _, c := range capabilities {
			data[c/32].Effective &^= 1 << (c % 32)
		}
		if err == nil {
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("cannot give up capabilities: ", err)
	}
}

// TestMetadataPrivileges sets priorities and marks with and without privileges, on a
// socket of the kernel's and on ours.
func TestMetadataPrivileges(t *testing.T) {
	a := newAPI(t)
	ours, to := oobSocket(t, a)
	linux := inband(t, New(nil), unix.AF_INET, unix.SOCK_DGRAM, 0)
	peer := inband(t, New(nil), unix.AF_INET, unix.SOCK_DGRAM, 0)
	name, err := peer.Getsockname()
	if err != nil {
		t.Fatal(err)
	}
	all := func() {
		t.Helper()
		for _, option := range []int{unix.SO_PRIORITY, unix.SO_MARK} {
			for _, v := range []int{0, 1, 6, 7, -1, 1 << 20} {
				want, got := linux.SetsockoptInt(unix.SOL_SOCKET, option, v), ours.SetsockoptInt(unix.SOL_SOCKET, option, v)
				if got != want {
					t.Errorf("option %d set to %d: %v, Linux says %v", option, v, got, want)
				}
				control := AppendCmsgInt(nil, unix.SOL_SOCKET, option, v)
				_, want = linux.Sendmsg(&Msghdr{Name: name, Iov: [][]byte{nil}, Control: control}, 0)
				_, got = ours.Sendmsg(&Msghdr{Name: to, Iov: [][]byte{nil}, Control: control}, 0)
				if got != want {
					t.Errorf("control message %d of %d: %v, Linux says %v", option, v, got, want)
				}
			}
			short := AppendCmsg(nil, unix.SOL_SOCKET, option, []byte{1, 0})
			_, want := linux.Sendmsg(&Msghdr{Name: name, Control: short}, 0)
			_, got := ours.Sendmsg(&Msghdr{Name: to, Control: short}, 0)
			if got != want {
				t.Errorf("a short control message %d: %v, Linux says %v", option, got, want)
			}
		}
	}
	all()
	without(t, all, unix.CAP_NET_RAW)
	without(t, all, unix.CAP_NET_ADMIN)
	without(t, all, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN)
}
