package route

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// An address is reserved on every link or on none, given back with its device, and told to
// every link that is asked.
func TestClaims(t *testing.T) {
	h := newHost(t)
	ip, other := [4]byte{10, 0, 2, 2}, [4]byte{10, 0, 2, 1}
	h.lb.refuse[ip] = unix.EADDRINUSE
	if err := h.Net().Clone().AddAddress(h.a, prefix("10.0.2.2/24")); err != unix.EADDRINUSE || h.la.reserved[ip] != 0 {
		t.Errorf("%v, reserved %d times by the other link", err, h.la.reserved[ip])
	}
	if h.la.reserved[other] != 1 || h.lb.reserved[other] != 1 || h.la.reserved[[4]byte{127, 0, 0, 1}] != 0 {
		t.Errorf("reserved: %v, %v", h.la.reserved, h.lb.reserved)
	}
	c, lc := newDevice(0, DeviceConfig{})
	lc.refuse[[4]byte{10, 0, 3, 1}] = unix.EADDRINUSE
	if err := h.Net().Clone().Add(c, 0); err != unix.EADDRINUSE || lc.reserved[other] != 0 {
		t.Errorf("a new device: %v, %v", err, lc.reserved)
	}
	keeps, lk := newDevice(0, DeviceConfig{KeepsHost: true})
	shares, ls := newDevice(0, DeviceConfig{Shares: true})
	h.change(func(n *Network) error {
		return errors.Join(n.Add(keeps, 4), n.Add(shares, 5), n.AddAddress(shares, prefix("10.0.5.1/24")))
	})
	h.lb.claim = unix.EPERM
	h.Network.Claim()
	if want := [][4]byte{{10, 0, 2, 1}, {10, 0, 3, 1}, {10, 0, 5, 1}}; !slices.Equal(h.la.claimed, want) || lk.claimed != nil || len(lk.reserved)+len(ls.reserved) != 0 {
		t.Errorf("claimed %v; by a device that keeps its host %v, reserved %v, by one that shares %v", h.la.claimed, lk.claimed, lk.reserved, ls.reserved)
	}
	if h.b.Unclaimed() != unix.EPERM || h.a.Unclaimed() != nil || h.Network.Unclaimed() != unix.EPERM || h.la.reserved[[4]byte{10, 0, 5, 1}] != 0 {
		t.Errorf("unclaimed: %v, %v, %v", h.a.Unclaimed(), h.b.Unclaimed(), h.Network.Unclaimed())
	}
	h.change(func(n *Network) error { n.Remove(h.a); return nil })
	if h.lb.reserved[other] != 0 || h.la.reserved[[4]byte{10, 0, 3, 1}] != 0 || h.lb.reserved[[4]byte{10, 0, 3, 1}] != 1 {
		t.Errorf("after the end of a device: %v, %v", h.la.reserved, h.lb.reserved)
	}
}

// An address that somebody else on the host has is given up, and taken back.
func TestRecheck(t *testing.T) {
	h := newHost(t)
	p, ip := prefix("10.0.2.1/24"), [4]byte{10, 0, 2, 1}
	n := h.Net().Clone()
	for i, tt := range []struct {
		taken   error
		changes int
		state   AddressState
	}{{nil, 0, AddressInUse}, {unix.EADDRINUSE, 1, AddressAside}, {unix.EADDRINUSE, 0, AddressAside}, {nil, 1, AddressInUse}} {
		h.lb.taken[ip] = tt.taken
		changes := n.Recheck()
		if len(changes) != tt.changes || n.State(h.a, p) != tt.state || tt.changes == 1 && (changes[0].Device != h.a || changes[0].Prefix != p || changes[0].Taken != tt.taken) {
			t.Errorf("step %d: %v, state %d", i, changes, n.State(h.a, p))
		}
	}
}

// An address that is probed for is used once it has passed, and not if somebody has it.
func TestProbed(t *testing.T) {
	h := newHost(t)
	c, _ := newDevice(0, DeviceConfig{Probes: true})
	n := h.Net().Clone()
	one, two, ip := prefix("10.0.4.1/24"), prefix("10.0.4.2/24"), addr("10.0.4.1")
	if err := errors.Join(n.Add(c, 4), n.AddAddress(c, one), n.AddAddress(c, two)); err != nil {
		t.Fatal(err)
	}
	if got := n.Probed(h.a, ip, true); got != nil || n.State(c, one) != AddressProbed {
		t.Errorf("by another device: %v", got)
	}
	if got := n.Probed(c, ip, false); !slices.Equal(got, []netip.Prefix{one}) || n.State(c, one) != AddressRefused || n.State(c, two) != AddressProbed {
		t.Errorf("somebody has it: %v, states %d, %d", got, n.State(c, one), n.State(c, two))
	}
	if got := n.Probed(c, ip, true); got != nil || n.State(c, one) != AddressRefused {
		t.Errorf("again: %v", got)
	}
	if got := n.Probed(c, addr("10.0.4.2"), true); !slices.Equal(got, []netip.Prefix{two}) || n.State(c, two) != AddressInUse {
		t.Errorf("nobody has it: %v, state %d", got, n.State(c, two))
	}
	if n.Primary(c) != addr("10.0.4.2") || !slices.Equal(n.Addresses(c), []netip.Prefix{two}) {
		t.Errorf("in use: %v, %v", n.Primary(c), n.Addresses(c))
	}
}

// Of gateways that stand in for one another the first that is alive is taken.
func TestSpares(t *testing.T) {
	h := newHost(t)
	first, second := addr("10.0.2.254"), addr("10.0.3.254")
	h.change(func(n *Network) error {
		return errors.Join(n.AddRoute(ipv4.Route{Prefix: prefix("0.0.0.0/0"), Gateway: first}), n.AddRoute(ipv4.Route{Prefix: prefix("0.0.0.0/0"), Gateway: second}),
			n.AddRoute(ipv4.Route{Prefix: prefix("10.9.0.0/16"), Gateway: addr("10.0.2.253")}))
	})
	if !h.HasSpares() || !h.IsSpare(Gateway{2, first}) || !h.IsSpare(Gateway{3, second}) || h.IsSpare(Gateway{2, addr("10.0.2.253")}) {
		t.Error("the spares are others")
	}
	next := func(device int32) ipv4.Addr {
		hop, _ := h.Find(Flow{Dst: addr("192.0.2.1"), Device: device})
		return hop.Next
	}
	for i, tt := range []struct {
		fail        Gateway
		failed      bool
		any, by2    ipv4.Addr
		ofNoSpares  ipv4.Addr
		first, news bool
	}{
		{Gateway{9, first}, true, first, first, addr("10.0.2.253"), true, true},
		{Gateway{2, first}, true, second, first, addr("10.0.2.253"), false, true},
		{Gateway{3, second}, true, first, first, addr("10.0.2.253"), false, true},
		{Gateway{2, first}, false, first, first, addr("10.0.2.253"), false, true},
	} {
		news, isFirst := h.Gateways.Set(tt.fail, tt.failed)
		hop, _ := h.Find(Flow{Dst: addr("10.9.1.1")})
		if next(0) != tt.any || next(2) != tt.by2 || hop.Next != tt.ofNoSpares || isFirst != tt.first || news != tt.news {
			t.Errorf("step %d: %v, by device 2 %v, without spares %v, first %t, news %t", i, next(0), next(2), hop.Next, isFirst, news)
		}
	}
}
