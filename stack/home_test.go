package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// A socket that is bound to a device receives what this host sends to that device's
// own address, and one that is bound to another or to lo does not (Linux' inet_iif).
// test/oracle has the senders' side, with one device.
func TestLocalTrafficOfDevices(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	a, b := pipe.New(pipe.Options{})
	t.Cleanup(func() { b.Close() })
	second := addLink(t, p.near, a, "10.8.0.1/24")
	lo := p.near.InterfaceByName("lo")
	from := udpSocket(t, p.near, "")
	for _, tt := range []struct {
		to   string
		home *Interface
	}{{"10.9.0.1:9", p.nearIfc}, {"10.8.0.1:9", second}, {"127.0.0.1:9", lo}, {"0.0.0.0:9", lo}} {
		for _, at := range []*Interface{p.nearIfc, second, lo} {
			k := udpSocket(t, p.near, "")
			check(t, k.SetDevice(at.Index()))
			check(t, k.Bind(netip.MustParseAddrPort("0.0.0.0:9")))
			check(t, from.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort(tt.to)))
			_, info, err := k.Recv(make([]byte, 1), unix.MSG_DONTWAIT, 0)
			if got := err == nil; got != (at == tt.home) {
				t.Errorf("to %s, bound to %s: received %t", tt.to, at.Name(), got)
			}
			if err == nil && int(info.Home) != tt.home.Index() {
				t.Errorf("to %s: came in by %d, want %s", tt.to, info.Home, tt.home.Name())
			}
			check(t, k.Close())
		}
	}
}

// The zero address, of a socket that is bound to a device, is that device's.
func TestZeroAddressOfDevice(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	a, b := pipe.New(pipe.Options{})
	t.Cleanup(func() { b.Close() })
	second := addLink(t, p.near, a, "10.8.0.1/24")
	to := udpSocket(t, p.near, "0.0.0.0:9")
	zero := netip.MustParseAddrPort("0.0.0.0:9")
	for device, want := range map[int]ipv4.Addr{0: loopbackAddr, p.nearIfc.Index(): {10, 9, 0, 1}, second.Index(): {10, 8, 0, 1}} {
		k := udpSocket(t, p.near, "")
		check(t, k.SetDevice(device))
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, zero))
		if _, info := recv(t, to); info.To != want || info.From != want {
			t.Errorf("device %d: from %v to %v, want %v", device, info.From, info.To, want)
		}
		check(t, k.Connect(zero))
		if peer, _ := k.RemoteAddr(); peer.Addr().As4() != want {
			t.Errorf("device %d: connected to %v, want %v", device, peer, want)
		}
	}
}
