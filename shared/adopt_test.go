package shared

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// A stack holds a port by the in-band socket of another one, as a child's does by its
// parent's: both have what comes, and the one that is left goes on by its ring, alone.
func TestAdoptHolder(t *testing.T) {
	onEachRung(t, Config{}, func(t *testing.T, w *world) {
		parent, c, at := w.server(7), w.client(), addrPort(w.Near(), 7)
		fd, err := parent.HolderFD()
		check(t, err)
		child, err := sockapi.New(w.another().st).Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
		check(t, err)
		defer child.Close()
		any := func(port uint16) sockapi.Sockaddr {
			return sockapi.InetAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
		}
		if err := child.Bind(any(7)); err != unix.EADDRINUSE {
			t.Errorf("without it: %v", err)
		}
		check(t, child.AdoptHolder(fd))
		if err := child.Bind(any(8)); err != unix.EINVAL {
			t.Errorf("for another port: %v", err)
		}
		check(t, child.AdoptHolder(fd))
		check(t, child.Bind(any(7)))
		check(t, child.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 5*time.Second))
		check(t, parent.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 5*time.Second))
		sendTo(t, c, "both", at)
		for name, s := range map[string]*sockapi.Socket{"parent": parent, "child": child} {
			if _, err := w.awaited(s, "both"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		check(t, parent.Close())
		sendTo(t, c, "child's", at)
		if _, err := w.awaited(child, "child's"); err != nil {
			t.Error(err)
		}
		if _, err := tryReceive(child, unix.MSG_DONTWAIT); err != unix.EAGAIN {
			t.Errorf("once more: %v", err)
		}
	})
}
