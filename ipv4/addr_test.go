package ipv4

import (
	"net/netip"
	"testing"
)

func ip4(s string) Addr { return netip.MustParseAddr(s).As4() }

func TestAddressKinds(t *testing.T) {
	for _, tt := range []struct {
		ip   string
		kind string // m multicast, l link's multicast, o loopback, b broadcast, z zero, k link-local
	}{
		{"0.0.0.0", "z"}, {"0.0.0.1", ""}, {"0.255.255.255", ""},
		{"10.0.0.1", ""}, {"126.255.255.255", ""},
		{"127.0.0.0", "o"}, {"127.0.0.1", "o"}, {"127.255.255.255", "o"}, {"128.0.0.0", ""},
		{"169.253.255.255", ""}, {"169.254.0.0", "k"}, {"169.254.255.255", "k"}, {"169.255.0.0", ""},
		{"223.255.255.255", ""}, {"224.0.0.0", "ml"}, {"224.0.0.255", "ml"}, {"224.0.1.0", "m"},
		{"239.255.255.255", "m"}, {"240.0.0.0", ""}, {"255.255.255.254", ""}, {"255.255.255.255", "b"},
	} {
		t.Run(tt.ip, func(t *testing.T) {
			got, ip := "", ip4(tt.ip)
			for _, k := range []struct {
				is  bool
				sym string
			}{
				{ip.IsMulticast(), "m"}, {ip.IsLocalMulticast(), "l"}, {ip.IsLoopback(), "o"},
				{ip.IsLimitedBroadcast(), "b"}, {ip.IsUnspecified(), "z"}, {ip.IsLinkLocal(), "k"},
			} {
				if k.is {
					got += k.sym
				}
			}
			equal(t, "kind", got, tt.kind)
		})
	}
}

func TestIsHost(t *testing.T) {
	for _, tc := range []struct {
		ip   Addr
		want bool
	}{
		{Addr{10, 0, 0, 1}, true},
		{Addr{169, 254, 1, 1}, true},
		{Addr{223, 255, 255, 255}, true},
		{Addr{240, 0, 0, 1}, true},
		{Addr{255, 255, 255, 254}, true},
		{Addr{}, false},
		{Addr{0, 1, 2, 3}, true},
		{Addr{127, 0, 0, 1}, false},
		{Addr{224, 0, 0, 1}, false},
		{Addr{239, 255, 255, 255}, false},
		{Addr{255, 255, 255, 255}, false},
	} {
		if got := tc.ip.IsHost(); got != tc.want {
			t.Errorf("%v: %v", tc.ip, got)
		}
	}
}

func TestMulticastMAC(t *testing.T) {
	equal(t, "224.0.0.251", ip4("224.0.0.251").MulticastMAC(), [6]byte{1, 0, 0x5e, 0, 0, 251})
	equal(t, "239.255.1.2: 23 bits only", ip4("239.255.1.2").MulticastMAC(), [6]byte{1, 0, 0x5e, 0x7f, 1, 2})
}

func TestDirectedBroadcast(t *testing.T) {
	for _, tt := range []struct {
		prefix, want string
	}{
		{"10.1.2.3/24", "10.1.2.255"}, {"10.1.2.3/8", "10.255.255.255"}, {"192.168.5.9/30", "192.168.5.11"},
		{"172.16.40.1/21", "172.16.47.255"}, {"1.2.3.4/0", "255.255.255.255"},
		{"10.0.0.0/31", ""}, {"10.0.0.1/32", ""}, {"fe80::1/64", ""},
	} {
		got, ok := DirectedBroadcast(netip.MustParsePrefix(tt.prefix))
		equal(t, tt.prefix+" has one", ok, tt.want != "")
		if ok {
			equal(t, tt.prefix, netip.AddrFrom4(got).String(), tt.want)
		}
	}
	if _, ok := DirectedBroadcast(netip.Prefix{}); ok {
		t.Error("the zero prefix has a broadcast address")
	}
}

func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		ip, prefix string
		want       bool
	}{
		{"10.0.0.255", "10.0.0.1/24", true}, {"10.0.1.0", "10.0.0.1/24", false},
		{"255.1.2.3", "0.0.0.0/0", true}, {"10.0.0.1", "10.0.0.1/32", true}, {"10.0.0.0", "10.0.0.1/32", false},
		{"10.0.0.0", "10.0.0.1/31", true}, {"128.0.0.0", "0.0.0.0/1", false},
	} {
		equal(t, tt.ip+" in "+tt.prefix, within(ip4(tt.ip), netip.MustParsePrefix(tt.prefix)), tt.want)
	}
}

func TestCheckMartian(t *testing.T) {
	for _, tt := range []struct {
		name, src, dst string
		protocol       uint8
		wire, loopback Cause
	}{
		{"ordinary", "10.0.0.2", "10.0.0.1", 17, CauseNone, CauseNone},
		{"class E source", "240.1.1.1", "10.0.0.1", 17, CauseNone, CauseNone},
		{"loopback source", "127.0.0.1", "10.0.0.1", 17, CauseSourceLoopback, CauseNone},
		{"loopback destination", "10.0.0.2", "127.0.0.1", 17, CauseDestinationLoopback, CauseNone},
		{"loopback both", "127.0.0.1", "127.0.0.2", 17, CauseSourceLoopback, CauseNone},
		{"multicast source", "224.0.0.1", "10.0.0.1", 17, CauseSourceMulticast, CauseSourceMulticast},
		{"broadcast source", "255.255.255.255", "10.0.0.1", 17, CauseSourceBroadcast, CauseSourceBroadcast},
		{"zero source", "0.0.0.0", "10.0.0.1", 17, CauseSourceZero, CauseSourceZero},
		{"zero source to a group", "0.0.0.0", "239.1.1.1", 17, CauseSourceZero, CauseSourceZero},
		{"zero source to a group of the link", "0.0.0.0", "224.0.0.251", 17, CauseNone, CauseNone},
		{"DHCP", "0.0.0.0", "255.255.255.255", 17, CauseNone, CauseNone},
		{"4.2BSD broadcast", "0.0.0.0", "0.0.0.0", 17, CauseNone, CauseNone},
		{"IGMP", "0.0.0.0", "224.0.0.22", ProtocolIGMP, CauseNone, CauseNone},
		{"IGMP to a far group", "0.0.0.0", "239.1.1.1", ProtocolIGMP, CauseNone, CauseNone},
		{"IGMP to a host", "0.0.0.0", "10.0.0.1", ProtocolIGMP, CauseSourceZero, CauseSourceZero},
		{"zero destination", "10.0.0.2", "0.0.0.0", 17, CauseDestinationZero, CauseDestinationZero},
		{"zero network", "0.1.2.3", "10.0.0.1", 17, CauseNone, CauseNone},
		{"to a group", "10.0.0.2", "239.1.1.1", 17, CauseNone, CauseNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			equal(t, "wire", CheckMartian(ip4(tt.src), ip4(tt.dst), tt.protocol, false), tt.wire)
			equal(t, "loopback", CheckMartian(ip4(tt.src), ip4(tt.dst), tt.protocol, true), tt.loopback)
		})
	}
	equal(t, "CheckSource of zero", CheckSource(Addr{}, false), CauseNone)
}

func BenchmarkCheckMartian(b *testing.B) {
	for b.Loop() {
		sink += int(CheckMartian(near, far, 17, false))
	}
}
