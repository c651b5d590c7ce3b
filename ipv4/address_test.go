package ipv4

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestAddressRoutes(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    Address
		want []string
	}{
		{"/24", Address{Prefix: prefix("10.0.0.1/24"), Iface: 1}, []string{
			"local 10.0.0.1/32 dev 1 src 10.0.0.1",
			"10.0.0.0/24 dev 1 src 10.0.0.1",
			"broadcast 10.0.0.255/32 dev 1 src 10.0.0.1"}},
		{"/24 with another broadcast", Address{Prefix: prefix("10.0.0.1/24"), Iface: 1, Broadcast: ip4("10.0.0.127")}, []string{
			"local 10.0.0.1/32 dev 1 src 10.0.0.1",
			"broadcast 10.0.0.127/32 dev 1 src 10.0.0.1",
			"10.0.0.0/24 dev 1 src 10.0.0.1",
			"broadcast 10.0.0.255/32 dev 1 src 10.0.0.1"}},
		{"/24 with its own broadcast", Address{Prefix: prefix("10.0.0.1/24"), Iface: 1, Broadcast: ip4("10.0.0.255")}, []string{
			"local 10.0.0.1/32 dev 1 src 10.0.0.1",
			"broadcast 10.0.0.255/32 dev 1 src 10.0.0.1",
			"10.0.0.0/24 dev 1 src 10.0.0.1"}},
		{"secondary", Address{Prefix: prefix("10.0.0.3/24"), Iface: 1, Secondary: true}, []string{
			"local 10.0.0.3/32 dev 1 src 10.0.0.3"}},
		{"/31", Address{Prefix: prefix("10.0.0.1/31"), Iface: 1}, []string{
			"local 10.0.0.1/32 dev 1 src 10.0.0.1",
			"10.0.0.0/31 dev 1 src 10.0.0.1"}},
		{"/32", Address{Prefix: prefix("10.0.0.1/32"), Iface: 1}, []string{
			"local 10.0.0.1/32 dev 1 src 10.0.0.1"}},
		{"limited broadcast brings nothing", Address{Prefix: prefix("10.0.0.1/32"), Iface: 1, Broadcast: LimitedBroadcast}, []string{
			"local 10.0.0.1/32 dev 1 src 10.0.0.1"}},
		{"loopback", Address{Prefix: prefix("127.0.0.1/8"), Iface: 9, Scope: ScopeHost}, []string{
			"local 127.0.0.1/32 dev 9 src 127.0.0.1",
			"local 127.0.0.0/8 dev 9 src 127.0.0.1", "broadcast 127.255.255.255/32 dev 9 src 127.0.0.1"}},
		{"none", Address{}, nil},
		{"IPv6", Address{Prefix: prefix("::1/128")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, r := range tt.a.Routes() {
				if err := r.check(); err != nil {
					t.Errorf("%v: %v", r, err)
				}
				got = append(got, r.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNewAddress(t *testing.T) {
	first := NewAddress(prefix("10.0.0.1/24"), 1, nil)
	there := []Address{first}
	equal(t, "first", first, Address{Prefix: prefix("10.0.0.1/24"), Iface: 1})
	equal(t, "same subnet", NewAddress(prefix("10.0.0.2/24"), 1, there).Secondary, true)
	equal(t, "other mask", NewAddress(prefix("10.0.0.2/25"), 1, there).Secondary, false)
	equal(t, "other subnet", NewAddress(prefix("10.0.1.2/24"), 1, there).Secondary, false)
	equal(t, "other interface", NewAddress(prefix("10.0.0.2/24"), 2, there).Secondary, false)
	equal(t, "loopback", NewAddress(netip.PrefixFrom(netip.AddrFrom4(Addr{127, 0, 0, 1}), 8), 1, nil).Scope, ScopeHost)
	equal(t, "link-local", NewAddress(prefix("169.254.3.4/16"), 1, nil).Scope, ScopeLink)
}

func TestSelectSource(t *testing.T) {
	addrs := []Address{
		{Prefix: prefix("127.0.0.1/8"), Iface: 9, Scope: ScopeHost},
		{Prefix: prefix("169.254.1.1/16"), Iface: 1, Scope: ScopeLink},
		{Prefix: prefix("10.0.0.1/24"), Iface: 1},
		{Prefix: prefix("10.0.0.3/24"), Iface: 1, Secondary: true},
		{Prefix: prefix("10.0.1.1/24"), Iface: 1},
		{Prefix: prefix("10.2.0.1/16"), Iface: 2},
		{Prefix: prefix("169.254.2.2/16"), Iface: 4, Scope: ScopeLink},
	}
	for _, tt := range []struct {
		name, dst, gateway string
		iface              int
		want               string
	}{
		{"subnet", "10.0.0.77", "", 1, "10.0.0.1"},
		{"second subnet", "10.0.1.77", "", 1, "10.0.1.1"},
		{"gateway's subnet", "8.8.8.8", "10.0.1.254", 1, "10.0.1.1"},
		{"gateway of no subnet", "8.8.8.8", "10.9.9.9", 1, "10.0.0.1"},
		{"link-local peer", "169.254.9.9", "", 1, "169.254.1.1"},
		{"link-local does not cross a gateway", "8.8.8.8", "169.254.7.7", 1, "10.0.0.1"},
		{"on the link, no subnet: the first that reaches the link", "8.8.8.8", "", 1, "169.254.1.1"},
		{"broadcast", "255.255.255.255", "", 2, "10.2.0.1"},
		{"group of the link", "224.0.0.22", "", 4, "169.254.2.2"},
		{"far group: another interface's", "239.1.1.1", "", 4, "10.0.0.1"},
		{"interface without addresses", "8.8.8.8", "", 3, "10.0.0.1"},
		{"no interface given", "10.2.3.4", "", 0, "10.2.0.1"},
		{"no interface given, none matches", "8.8.8.8", "", 0, "10.0.0.1"},
		{"loopback", "127.0.0.5", "", 9, "127.0.0.1"},
		{"host addresses do not leave", "8.8.8.8", "1.1.1.1", 9, "10.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var gateway Addr
			if tt.gateway != "" {
				gateway = ip4(tt.gateway)
			}
			got, ok := SelectSource(addrs, ip4(tt.dst), gateway, tt.iface)
			equal(t, "found", ok, true)
			equal(t, "source", got, ip4(tt.want))
		})
	}
	if got, ok := SelectSource(addrs[:1], far, near, 9); ok {
		t.Errorf("127.0.0.1 leaves the host: %v", got)
	}
	if _, ok := SelectSource(nil, far, near, 1); ok {
		t.Error("an address out of nothing")
	}
	equal(t, "allocations", testing.AllocsPerRun(100, func() { SelectSource(addrs, far, Addr{}, 1) }), 0)
}
