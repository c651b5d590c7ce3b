package claim

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/internal/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// verdictClaims are claims of each kind, by port.
func verdictClaims(lb *lab) []Claim {
	return []Claim{
		{Port: 1000, Shared: true},
		{Port: 1001},
		{Port: 1002, Local: hostAddr},
		{Port: 1003, Local: hostAddr, Peer: peerAddr, PeerPort: 5000},
		{Port: 1004, Local: group, Shared: true},
		{Port: 1005, Local: group},
		{Port: 1006, Device: lb.index, Shared: true},
		{Port: 1007, Device: lb.index + 1000},
		{Port: 1008, Local: broadcast, Shared: true},
		{Port: 1009, Local: broadcast},
		{Port: 1010, Local: hostAddr, Device: lb.index},
		{Port: 1011, Local: hostAddr, Peer: peerAddr, PeerPort: 5000, Device: lb.index},
		{Port: 1012, Local: elsewhere},
		{Port: 1013, Device: lb.index},
		{Port: 1014, Local: hostAddr, Shared: true},
		{Port: 1015, Local: hostAddr, Peer: peerAddr, PeerPort: 5000, Shared: true},
		{Port: 1016, Local: hostAddr, Device: lb.index, Shared: true},
		{Port: 1017, Local: hostAddr}, // at a port that others may have too
		{Port: 1017, Local: otherAddr, Shared: true},
		{Port: 1018},
		{Port: 1018, Local: group, Shared: true},
	}
}

// A verdictCase is a datagram and what becomes of it.
type verdictCase struct {
	name   string
	frame  frame
	ring   bool // the ring takes it
	hidden bool // the kernel does not see it
	device bool // it is of a claim that nf_tables leaves to the holder
}

func verdictCases() []verdictCase {
	to := func(a [4]byte, port uint16) frame { return frame{to: a, dport: port, sport: 5000} }
	with := func(f frame, change func(*frame)) frame { change(&f); return f }
	return []verdictCase{
		{"wildcard, shared", to(hostAddr, 1000), false, false, false},
		{"wildcard, shared, another address", to(otherAddr, 1000), false, false, false},
		{"wildcard, forwarded", to(elsewhere, 1000), false, false, false},
		{"wildcard, group", to(group, 1000), true, false, false},
		{"wildcard, broadcast", to(broadcast, 1000), true, false, false},
		{"wildcard, limited broadcast", to(limited, 1000), true, false, false},
		{"alone", to(hostAddr, 1001), true, true, false},
		{"alone, another address", to(otherAddr, 1001), true, true, false},
		{"alone, forwarded", to(elsewhere, 1001), false, false, false},
		{"alone, group", to(group, 1001), true, true, false},
		{"alone, broadcast", to(broadcast, 1001), true, true, false},
		{"alone, limited broadcast", to(limited, 1001), true, true, false},
		{"specific", to(hostAddr, 1002), true, true, false},
		{"specific, another address", to(otherAddr, 1002), false, false, false},
		{"specific, broadcast", to(broadcast, 1002), false, false, false},
		{"connected", to(hostAddr, 1003), true, true, false},
		{"connected, another port", with(to(hostAddr, 1003), func(f *frame) { f.sport = 5001 }), false, false, false},
		{"connected, another peer", with(to(hostAddr, 1003), func(f *frame) { f.from = [4]byte{10, 9, 0, 3} }), false, false, false},
		{"connected, another address", to(otherAddr, 1003), false, false, false},
		{"group", to(group, 1004), true, false, false},
		{"group, another", to([4]byte{239, 1, 1, 2}, 1004), false, false, false},
		{"group, unicast", to(hostAddr, 1004), false, false, false},
		{"group alone", to(group, 1005), true, true, false},
		{"device, shared", to(hostAddr, 1006), false, false, true},
		{"device, group", to(group, 1006), true, false, true},
		{"device, forwarded", to(elsewhere, 1006), false, false, true},
		{"another device", to(hostAddr, 1007), false, false, true},
		{"bound to broadcast", to(broadcast, 1008), true, false, false},
		{"bound to broadcast alone", to(broadcast, 1009), true, true, false},
		{"device, specific", to(hostAddr, 1010), true, true, true},
		{"device, specific, another address", to(otherAddr, 1010), false, false, true},
		{"device, connected", to(hostAddr, 1011), true, true, true},
		{"device, connected, another peer", with(to(hostAddr, 1011), func(f *frame) { f.sport = 1 }), false, false, true},
		{"specific, of no address", to(elsewhere, 1012), true, true, false},
		{"specific, shared", to(hostAddr, 1014), false, false, false},
		{"connected, shared", to(hostAddr, 1015), false, false, false},
		{"device, specific, shared", to(hostAddr, 1016), false, false, true},
		{"specific at a shared port", to(hostAddr, 1017), false, false, false},
		{"another specific at a shared port", to(otherAddr, 1017), false, false, false},
		{"wildcard at a shared port", to(hostAddr, 1018), false, false, false},
		{"wildcard at a shared port, group", to(group, 1018), true, false, false},
		{"wildcard at a shared port, broadcast", to(broadcast, 1018), true, false, false},
		{"device alone", to(hostAddr, 1013), true, true, true},
		{"device alone, group", to(group, 1013), true, true, true},
		{"not claimed", to(hostAddr, 999), false, false, false},
		{"port 0", to(hostAddr, 0), false, false, false},
		{"bytes swapped", to(hostAddr, 1001>>8|1001&0xff<<8), false, false, false},
		{"options", with(to(hostAddr, 1001), func(f *frame) { f.options = []byte{1, 1, 1, 0} }), true, true, false},
		{"all options", with(to(hostAddr, 1001), func(f *frame) { f.options = make([]byte, 40) }), true, true, false},
		{"options, not claimed", with(to(hostAddr, 999), func(f *frame) { f.options = []byte{0, 0, 3, 233} }), false, false, false},
		{"headers not linear", with(to(hostAddr, 1001), func(f *frame) { f.payload = make([]byte, 6000) }), true, true, false},
		{"headers not linear, not claimed", with(to(hostAddr, 999), func(f *frame) { f.payload = make([]byte, 6000) }), false, false, false},
		{"TCP", with(to(hostAddr, 0), func(f *frame) { f.protocol, f.payload = unix.IPPROTO_TCP, udpHeader(5000, 1000, 12) }), false, false, false},
		{"don't fragment", with(to(hostAddr, 1001), func(f *frame) { f.fragment = 0x4000 }), true, true, false},
	}
}

// forRungs runs a test on each rung that has something at the device, with both filters.
func forRungs(t *testing.T, test func(t *testing.T, lb *lab, o Options)) {
	for _, tt := range []struct {
		name string
		o    Options
	}{
		{"tcx", Options{Force: TCX}},
		{"tcx, classic filter", Options{Force: TCX, Classic: true}},
		{"nft", Options{Force: NFT}},
		{"nft, classic filter", Options{Force: NFT, Classic: true}},
		{"holder", Options{Force: Holder}},
	} {
		t.Run(tt.name, func(t *testing.T) { test(t, newLab(t), tt.o) })
	}
}

// TestVerdicts sends datagrams of each kind past claims of each kind.
func TestVerdicts(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		for _, claim := range verdictClaims(lb) {
			add(t, c, claim)
		}
		for _, tt := range verdictCases() {
			before, stats := lb.counter("Ip InReceives"), c.Stats(lb.index)
			n, _ := r.took(lb.bytes(tt.frame))
			if taken := n > 0; taken != tt.ring && !(taken && c.filter == nil) { // which knows ports only
				t.Errorf("%s: the ring took it: %t", tt.name, taken)
			}
			want := tt.hidden && o.Force != Holder && !(tt.device && o.Force == NFT)
			if hidden := lb.counter("Ip InReceives") == before; hidden != want {
				t.Errorf("%s: hidden from the kernel: %t", tt.name, hidden)
			}
			if got := c.Stats(lb.index).Dropped - stats.Dropped; o.Force == TCX && (got == 1) != tt.hidden {
				t.Errorf("%s: counted as dropped: %d", tt.name, got)
			}
		}
		if c.maps != nil { // nothing is remembered of what is no fragment
			for _, m := range []*ebpf.Map{c.maps.taken, c.maps.dropped} {
				if keys, err := m.Keys(); len(keys) > 0 || err != nil {
					t.Errorf("remembered: %x, %v", keys, err)
				}
			}
		}
	})
}

// TestNeverClaimed has frames of a claimed port that are not for the host's IP layer.
func TestNeverClaimed(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		add(t, c, Claim{Port: 1000})
		// What a header of 16 bytes would make of the destination address.
		add(t, c, Claim{Port: uint16(hostAddr[2])<<8 | uint16(hostAddr[3])})
		f := frame{to: hostAddr, dport: 1000}
		for _, tt := range []struct {
			name   string
			change func(*frame)
			ring   int
		}{
			{"for another host", func(f *frame) { f.toMAC = [6]byte{2, 0, 0, 0, 0, 99} }, 0},
			{"of a VLAN", func(f *frame) { f.tags = [][2]uint16{{unix.ETH_P_8021Q, 5}} }, 0},
			{"of a VLAN, with a priority", func(f *frame) { f.tags = [][2]uint16{{unix.ETH_P_8021AD, 0xe005}} }, 0},
			{"of a priority", func(f *frame) { f.tags = [][2]uint16{{unix.ETH_P_8021Q, 0xe000}} }, 1},
			{"of two priorities", func(f *frame) { f.tags = [][2]uint16{{unix.ETH_P_8021Q, 0}, {unix.ETH_P_8021Q, 0}} }, 1},
			{"of IP version 5", func(f *frame) { f.headerLen = 0x55 }, 0},
			{"of a short header", func(f *frame) { f.headerLen = 0x44 }, 0},
			{"of another protocol", func(f *frame) { f.etherType, f.payload = 0x88b5, make([]byte, 50) }, 0},
		} {
			g := f
			tt.change(&g)
			if n, _ := r.took(lb.bytes(g)); n != tt.ring && !(c.filter == nil && g.headerLen != 0) {
				t.Errorf("%s: the ring took %d", tt.name, n)
			}
		}
		for n := 15; n < 42; n++ { // cut short
			if taken, _ := r.took(lb.bytes(f)[:n]); taken != 0 && n < 36 {
				t.Errorf("%d bytes: the ring took it", n)
			}
		}
		if s := c.Stats(lb.index); o.Force == TCX && s.Dropped > 4 { // those that have their ports
			t.Errorf("dropped: %+v", s)
		}
	})
}

// TestMacvlan has a device beside eth0 on the same cable: what is for it is for another
// host as eth0 sees it, and no ring on eth0 gets it.
func TestMacvlan(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		mac := [6]byte{2, 0, 0, 0, 0, 0x33}
		must(t, lb.host.Do(func() error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = "mv0", lb.index, mac[:]
			return netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
		}))
		must(t, lb.host.SetUp("mv0"))
		add(t, c, Claim{Port: 1000})
		before := lb.counter("Ip InReceives")
		if n, _ := r.took(lb.bytes(frame{toMAC: mac, to: otherAddr, dport: 1000})); n != 0 {
			t.Errorf("the ring took %d", n)
		}
		if n := lb.counter("Ip InReceives") - before; n != 1 {
			t.Errorf("the kernel has %d", n)
		}
	})
}

// TestOutgoing has the host send what it would take if it came.
func TestOutgoing(t *testing.T) {
	for _, o := range []Options{{}, {Classic: true}} {
		lb := newLab(t)
		c := lb.attached(o)
		r := lb.ring(c)
		must(t, unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 0))
		add(t, c, Claim{Port: 1000})
		sender := lb.socket(0)
		must(t, unix.SetsockoptIPMreqn(sender.FD(), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(lb.index)}))
		send := func() { must(t, sender.SendTo([]byte("x"), netip.AddrPortFrom(netip.AddrFrom4(group), 1000))) }
		send()
		if n, _ := r.came(); n != 0 {
			t.Errorf("classic %t: the ring took %d", o.Classic, n)
		}
		_, err := c.Widen(Everything)
		must(t, err)
		send()
		if n, _ := r.came(); n == 0 {
			t.Errorf("classic %t: a packet socket sees nothing", o.Classic)
		}
	}
}
