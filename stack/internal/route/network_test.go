package route

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// A claimLink is a link of which only the claims of addresses count.
type claimLink struct {
	link.Link
	info     link.Info
	reserved map[[4]byte]int
	refuse   map[[4]byte]error // what it does not reserve
	taken    map[[4]byte]error
	claimed  [][4]byte
	claim    error // what Claim returns
}

func (l *claimLink) Info() link.Info              { return l.info }
func (l *claimLink) ReleaseAddress(a [4]byte)     { l.reserved[a]-- }
func (l *claimLink) AddressTaken(a [4]byte) error { return l.taken[a] }
func (l *claimLink) SetClaimNotify(func())        {}
func (l *claimLink) Claim(all [][4]byte) error    { l.claimed = all; return l.claim }

func (l *claimLink) ReserveAddress(a [4]byte) error {
	if err := l.refuse[a]; err != nil {
		return err
	}
	l.reserved[a]++
	return nil
}

func newDevice(caps link.Caps, cfg DeviceConfig) (*Device, *claimLink) {
	l := &claimLink{info: link.Info{MTU: 1500, Caps: caps, State: link.Up}, reserved: make(map[[4]byte]int), refuse: make(map[[4]byte]error), taken: make(map[[4]byte]error)}
	d := new(Device)
	d.Init(l, cfg, nil)
	return d, l
}

// A host has a loopback of index 1, and devices of 2 and 3 with 10.0.2.1/24 and 10.0.3.1/24.
type host struct {
	Routes
	*Network
	lo, a, b *Device
	la, lb   *claimLink
	t        testing.TB
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t}
	h.Routes.Init(func() int64 { return 1 }, func() uint64 { return 7 }, 10)
	h.lo, _ = newDevice(link.CapLoopback, DeviceConfig{})
	h.a, h.la = newDevice(0, DeviceConfig{})
	h.b, h.lb = newDevice(0, DeviceConfig{})
	h.change(func(n *Network) error {
		return errors.Join(n.Add(h.lo, 1), n.Add(h.a, 2), n.Add(h.b, 3), n.AddAddress(h.lo, netip.MustParsePrefix("127.0.0.1/8")),
			n.AddAddress(h.a, netip.MustParsePrefix("10.0.2.1/24")), n.AddAddress(h.b, netip.MustParsePrefix("10.0.3.1/24")))
	})
	return h
}

// change changes the configuration, which must be possible.
func (h *host) change(f func(n *Network) error) {
	h.t.Helper()
	n := h.Net().Clone()
	if err := f(n); err != nil {
		h.t.Fatal(err)
	}
	n.Finish()
	h.Routes.Set(n)
	h.Network = n
}

func addr(s string) ipv4.Addr      { return netip.MustParseAddr(s).As4() }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// Flows find the way that Linux' rules give them, or the errno.
func TestFind(t *testing.T) {
	h := newHost(t)
	h.change(func(n *Network) error {
		return errors.Join(n.AddRoute(ipv4.Route{Prefix: prefix("10.9.0.0/16"), Gateway: addr("10.0.2.254")}),
			n.AddRoute(ipv4.Route{Prefix: prefix("10.8.0.0/16"), Type: ipv4.Unreachable}), n.AddRoute(ipv4.Route{Prefix: prefix("127.9.9.0/24"), Gateway: addr("10.0.2.254")}))
	})
	to := func(dst string) Flow { return Flow{Dst: addr(dst)} }
	from := func(src, dst string) Flow { return Flow{Src: addr(src), Dst: addr(dst)} }
	by := func(f Flow, device int32) Flow { f.Device = device; return f }
	any := func(f Flow) Flow { f.AnySource = true; return f }
	all := func(f Flow) Flow { f.Broadcast = true; return f }
	for _, tt := range []struct {
		name      string
		f         Flow
		device    *Device
		src, next string
		kind      Kind
		errno     unix.Errno
	}{
		{"on a link", to("10.0.2.7"), h.a, "10.0.2.1", "10.0.2.7", Unicast, 0},
		{"by a gateway", to("10.9.1.1"), h.a, "10.0.2.1", "10.0.2.254", Unicast, 0},
		{"from another's address", from("10.0.3.1", "10.9.1.1"), h.a, "10.0.3.1", "10.0.2.254", Unicast, 0},
		{"nowhere", to("192.0.2.1"), nil, "", "", 0, unix.ENETUNREACH},
		{"nowhere, by a device", by(to("192.0.2.1"), 3), h.b, "10.0.3.1", "192.0.2.1", Unicast, 0},
		{"unreachable", to("10.8.1.1"), nil, "", "", 0, unix.EHOSTUNREACH},
		{"no such device", by(to("10.0.2.7"), 9), nil, "", "", 0, unix.ENODEV},
		{"not our address", from("10.7.7.7", "10.0.2.7"), nil, "", "", 0, unix.ENETUNREACH},
		{"not our address, transparent", any(from("10.7.7.7", "10.0.2.7")), h.a, "10.7.7.7", "10.0.2.7", Unicast, 0},
		{"from a group", any(from("239.1.1.1", "10.0.2.7")), nil, "", "", 0, unix.EINVAL},
		{"from all", any(from("255.255.255.255", "10.0.2.7")), nil, "", "", 0, unix.EINVAL},
		{"transparent, to a group", any(from("10.7.7.7", "239.1.1.1")), nil, "", "", 0, unix.ENETUNREACH},
		{"transparent, to all", any(all(from("10.7.7.7", "255.255.255.255"))), nil, "", "", 0, unix.ENETUNREACH},
		{"transparent, to a group, by a device", any(by(from("10.7.7.7", "239.1.1.1"), 2)), h.a, "10.7.7.7", "239.1.1.1", Multicast, 0},
		{"to a group", to("239.1.1.1"), nil, "", "", 0, unix.ENETUNREACH},
		{"to a group, from", from("10.0.3.1", "239.1.1.1"), h.b, "10.0.3.1", "239.1.1.1", Multicast, 0},
		{"to a group, by a device", by(to("239.1.1.1"), 2), h.a, "10.0.2.1", "239.1.1.1", Multicast, 0},
		{"to a group, from one by the other", by(from("10.0.3.1", "239.1.1.1"), 2), h.a, "10.0.3.1", "239.1.1.1", Multicast, 0},
		{"to a group, from loopback", from("127.0.0.1", "239.1.1.1"), h.lo, "127.0.0.1", "239.1.1.1", Multicast, 0},
		{"to all", by(to("255.255.255.255"), 2), nil, "", "", 0, unix.EACCES},
		{"to all, allowed", all(by(to("255.255.255.255"), 2)), h.a, "10.0.2.1", "255.255.255.255", Broadcast, 0},
		{"to a net", to("10.0.2.255"), nil, "", "", 0, unix.EACCES},
		{"to a net, allowed", all(to("10.0.2.255")), h.a, "10.0.2.1", "10.0.2.255", Broadcast, 0},
		{"to us", to("10.0.3.1"), h.lo, "10.0.3.1", "10.0.3.1", Unicast, 0},
		{"to us, by a device that is another's", by(to("10.0.3.1"), 2), h.a, "10.0.2.1", "10.0.3.1", Unicast, 0},
		{"to us, by our device", by(to("10.0.3.1"), 3), h.lo, "10.0.3.1", "10.0.3.1", Unicast, 0},
		{"to loopback", to("127.1.2.3"), h.lo, "127.0.0.1", "127.1.2.3", Unicast, 0},
		{"to loopback, by a device", by(to("127.1.2.3"), 2), nil, "", "", 0, unix.EHOSTUNREACH},
		{"from loopback, by a device", by(from("127.0.0.1", "10.0.2.7"), 2), nil, "", "", 0, unix.EINVAL},
	} {
		hop, e := h.Find(tt.f)
		if e != tt.errno || e == 0 && (hop.Device != tt.device || hop.Src != addr(tt.src) || hop.Next != addr(tt.next) || hop.Kind != tt.kind) {
			t.Errorf("%s: %v, %+v", tt.name, e, hop)
		}
	}
	if _, e := h.Find(Flow{Dst: addr("10.9.1.1"), OnLink: true}); e != unix.ENETUNREACH {
		t.Errorf("by a gateway, on link: %v", e)
	}
	h.change(func(n *Network) error {
		return n.AddRoute(ipv4.Route{Prefix: prefix("239.9.0.0/16"), Iface: 2, Scope: ipv4.ScopeLink})
	})
	if hop, e := h.Find(to("239.9.1.1")); e != 0 || hop.Device != h.a {
		t.Errorf("to a group that has a route: %v, %+v", e, hop)
	}
	if _, e := h.Find(any(from("10.7.7.7", "239.9.1.1"))); e != unix.ENETUNREACH {
		t.Errorf("transparent, to a group that has a route, without a device: %v", e)
	}
}

// A host without an address reaches nobody, but may send where everybody is.
func TestFindWithoutAddress(t *testing.T) {
	h := &host{t: t}
	h.Routes.Init(func() int64 { return 1 }, func() uint64 { return 7 }, 10)
	h.lo, _ = newDevice(link.CapLoopback, DeviceConfig{})
	h.a, h.la = newDevice(0, DeviceConfig{})
	h.change(func(n *Network) error {
		return errors.Join(n.Add(h.lo, 1), n.Add(h.a, 2), n.AddRoute(ipv4.Route{Prefix: prefix("10.5.0.0/16"), Iface: 2, Scope: ipv4.ScopeLink}))
	})
	if _, e := h.Find(Flow{Dst: addr("10.5.1.1")}); e != unix.ENETUNREACH {
		t.Errorf("to a neighbour: %v", e)
	}
	if hop, e := h.Find(Flow{Dst: addr("255.255.255.255"), Device: 2, Broadcast: true}); e != 0 || !hop.Src.IsUnspecified() {
		t.Errorf("to all: %v, from %v", e, hop.Src)
	}
}

// What is ours, and where it is.
func TestOwnAddresses(t *testing.T) {
	h := newHost(t)
	for _, tt := range []struct {
		addr                       string
		local, broadcast, bindable bool
		home, with, toward         *Device
	}{
		{"10.0.2.1", true, false, true, h.a, h.a, h.a},
		{"10.0.3.1", true, false, true, h.b, h.b, h.b},
		{"10.0.4.1", false, false, false, nil, nil, nil},
		{"10.0.2.9", false, false, false, nil, nil, nil},
		{"10.0.2.255", false, true, true, nil, nil, nil},
		{"255.255.255.255", false, true, true, nil, nil, nil},
		{"127.0.0.1", true, false, true, h.lo, h.lo, nil},
		{"127.7.7.7", true, false, true, h.lo, h.lo, nil},
		{"127.255.255.255", false, true, true, h.lo, nil, nil},
		{"239.1.1.1", false, false, true, nil, nil, nil},
		{"0.0.0.0", false, false, true, nil, nil, h.a},
	} {
		a := addr(tt.addr)
		if h.IsLocal(a) != tt.local || h.IsBroadcast(a) != tt.broadcast || h.Bindable(a) != tt.bindable || h.HomeOf(a) != tt.home || h.With(a) != tt.with || h.Toward(a) != tt.toward {
			t.Errorf("%s: local %t, broadcast %t, bindable %t, home %v, with %v, toward %v", tt.addr, h.IsLocal(a), h.IsBroadcast(a), h.Bindable(a),
				h.HomeOf(a), h.With(a), h.Toward(a))
		}
	}
	h.change(func(n *Network) error { return n.RemoveAddress(h.a, prefix("10.0.2.1/24")) })
	if h.Toward(ipv4.Addr{}) != h.b {
		t.Error("the first device with an address is another")
	}
	if h.IsBroadcast(addr("10.0.2.255")) || h.IsLocal(addr("10.0.2.1")) {
		t.Error("an address that was removed is ours")
	}
}

// What was given can be taken away: the first address, and one that is not in use yet.
func TestRemoveAddress(t *testing.T) {
	h := newHost(t)
	n := h.Net().Clone()
	lo := prefix("127.0.0.1/8")
	if err := n.RemoveAddress(h.lo, lo); err != nil || n.State(h.lo, lo) != AddressAbsent {
		t.Errorf("the first: %v, state %d", err, n.State(h.lo, lo))
	}
	c, _ := newDevice(0, DeviceConfig{Probes: true})
	p := prefix("10.0.4.1/24")
	routes := len(n.Routes())
	if err := errors.Join(n.Add(c, 4), n.AddAddress(c, p), n.RemoveAddress(c, p)); err != nil || n.State(c, p) != AddressAbsent || len(n.Routes()) != routes {
		t.Errorf("one that is probed for: %v, state %d, %d routes of %d", err, n.State(c, p), len(n.Routes()), routes)
	}
}

// What is answered with is the address that was written to, or what we would write from.
func TestLocalFor(t *testing.T) {
	h := newHost(t)
	for _, tt := range []struct{ src, dst, want string }{
		{"10.0.2.7", "10.0.2.1", "10.0.2.1"}, {"10.0.2.7", "239.1.1.1", "10.0.2.1"}, {"10.0.2.7", "255.255.255.255", "10.0.2.1"},
		{"10.0.3.1", "239.1.1.1", "10.0.3.1"}, {"192.0.2.1", "239.1.1.1", "10.0.3.1"}, {"0.0.0.0", "255.255.255.255", "10.0.3.1"}, {"0.1.2.3", "239.1.1.1", "10.0.3.1"},
	} {
		if got := h.LocalFor(3, addr(tt.src), addr(tt.dst)); got != addr(tt.want) {
			t.Errorf("from %s to %s: %v, want %s", tt.src, tt.dst, got, tt.want)
		}
	}
	h.change(func(n *Network) error { return n.AddAddress(h.a, prefix("10.0.2.2/24")) })
	if got := h.LocalFor(3, addr("10.0.2.2"), addr("239.1.1.1")); got != addr("10.0.2.1") {
		t.Errorf("from a secondary address of ours: %v", got)
	}
}

// unless returns an error if ok does not hold.
func unless(ok bool) error {
	if !ok {
		return errors.New("it is otherwise")
	}
	return nil
}

func TestConfigurationErrors(t *testing.T) {
	h := newHost(t)
	other, _ := newDevice(0, DeviceConfig{})
	for name, tt := range map[string]struct {
		do   func(n *Network) error
		want error
	}{
		"an address of no device": {func(n *Network) error { return n.AddAddress(other, prefix("10.0.4.1/24")) }, unix.ENODEV},
		"an address again":        {func(n *Network) error { return n.AddAddress(h.a, prefix("10.0.2.1/24")) }, unix.EEXIST},
		"no address of no device": {func(n *Network) error { return n.RemoveAddress(other, prefix("10.0.4.1/24")) }, unix.ENODEV},
		"no address":              {func(n *Network) error { return n.RemoveAddress(h.a, prefix("10.0.4.1/24")) }, unix.EADDRNOTAVAIL},
		"an index again":          {func(n *Network) error { return n.Add(other, 2) }, unix.EEXIST},
		"an index of none":        {func(n *Network) error { _, err := n.RemoveIndex(9); return err }, unix.ENODEV},
		"the loopback":            {func(n *Network) error { _, err := n.RemoveIndex(1); return err }, unix.EBUSY},
		"a route on no link": {func(n *Network) error {
			return n.AddRoute(ipv4.Route{Prefix: prefix("10.9.0.0/16"), Gateway: addr("10.7.0.1"), OnLink: true})
		}, unix.ENODEV},
		"a route on a link": {func(n *Network) error {
			return n.AddRoute(ipv4.Route{Prefix: prefix("10.9.0.0/16"), Gateway: addr("10.7.0.1"), OnLink: true, Iface: 2})
		}, nil},
		"a gateway that is nowhere": {func(n *Network) error {
			return n.AddRoute(ipv4.Route{Prefix: prefix("10.9.0.0/16"), Gateway: addr("10.7.0.1")})
		}, unix.ENETUNREACH},
		"a route by no device":      {func(n *Network) error { return n.AddRoute(ipv4.Route{Prefix: prefix("10.9.0.0/16"), Iface: 9}) }, unix.ENODEV},
		"a route that is not there": {func(n *Network) error { return n.RemoveRoute(ipv4.Route{Prefix: prefix("10.9.0.0/16")}) }, unix.ESRCH},
		"an index that is chosen": {func(n *Network) error {
			err := n.Add(other, 0)
			return errors.Join(err, unless(other.Index > 3))
		}, nil},
		"a device with all it has": {func(n *Network) error {
			_, err := n.RemoveIndex(2)
			return errors.Join(err, unless(len(n.Addresses(h.a)) == 0 && len(n.Devices) == 2))
		}, nil},
	} {
		if err := tt.do(h.Net().Clone()); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestLearnMTU(t *testing.T) {
	h := newHost(t)
	mtu := func() int { hop, _ := h.Find(Flow{Dst: addr("10.0.2.7")}); return hop.PathMTU }
	h.LearnMTU(Flow{Dst: addr("192.0.2.1")}, 1000)
	h.LearnMTU(Flow{Dst: addr("10.0.2.255"), Broadcast: true}, 1000)
	if h.PathMTUs() != 0 || mtu() != 1500 {
		t.Errorf("%d paths, MTU %d", h.PathMTUs(), mtu())
	}
	before := h.Generations.Of(addr("10.0.2.7")).Load()
	h.LearnMTU(Flow{Dst: addr("10.0.2.7")}, 1000)
	if h.PathMTUs() != 1 || mtu() != 1000 || h.Generations.Of(addr("10.0.2.7")).Load() == before {
		t.Errorf("%d paths, MTU %d", h.PathMTUs(), mtu())
	}
	h.ForgetMTUs(ipv4.Route{Prefix: prefix("10.0.3.0/24"), Iface: 2})
	h.ForgetMTUs(ipv4.Route{Prefix: prefix("10.0.2.0/24"), Iface: 3})
	if h.PathMTUs() != 1 {
		t.Error("a path of another route is forgotten")
	}
	if h.ForgetMTUs(ipv4.Route{Prefix: prefix("10.0.2.0/24")}); h.PathMTUs() != 0 {
		t.Error("the path of a route is not forgotten")
	}
	if e := h.LostDevice(2); e != unix.ENETUNREACH {
		t.Errorf("a device that is there: %v", e)
	}
	if h.la.info.State = link.Gone; h.LostDevice(2) != unix.ENODEV || h.LostDevice(9) != unix.ENETUNREACH {
		t.Error("a device that has gone is there")
	}
}
