package netlab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/inband"
)

// openUDP opens a socket in a namespace; it gives up waiting after 5 s.
func openUDP(t *testing.T, n *Namespace, local netip.AddrPort) *inband.UDP {
	t.Helper()
	var u *inband.UDP
	must(t, n.Do(func() (err error) { u, err = inband.OpenUDP(local); return err }))
	t.Cleanup(func() { u.Close() })
	must(t, u.SetReadTimeout(5*time.Second))
	return u
}

// exchange sends a datagram each way between two namespaces.
func exchange(t *testing.T, a, b *Namespace, aIP, bIP netip.Addr) {
	t.Helper()
	ua := openUDP(t, a, netip.AddrPortFrom(aIP, 7000))
	ub := openUDP(t, b, netip.AddrPortFrom(bIP, 0))
	to, err := ub.LocalAddr()
	must(t, err)
	must(t, ua.SendTo([]byte("there"), to))
	buf := make([]byte, 64)
	n, from, err := ub.RecvFrom(buf, 0)
	must(t, err)
	if string(buf[:n]) != "there" || from != netip.AddrPortFrom(aIP, 7000) {
		t.Fatalf("%q from %s", buf[:n], from)
	}
	must(t, ub.SendTo([]byte("back"), from))
	if n, _, err = ua.RecvFrom(buf, 0); err != nil || string(buf[:n]) != "back" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	ua.Close()
	ub.Close()
}
