package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// Memberships through all that can happen to a device, and what the device is told.

// says waits until all of these lines of IGMP have come over the wire.
func says(t testing.TB, wire *lab.Packet, src [4]byte, lines ...string) {
	t.Helper()
	var all []string
	for end := time.Now().Add(lab.Patience); len(lines) > 0; {
		h, ok := wire.NextIGMP(t, time.Until(end))
		if !ok {
			t.Fatalf("nobody says %q from %v, but %q", lines, src, all)
		}
		said := h.Lines()
		all = append(all, fmt.Sprint(h.Src, said))
		if h.Src == src {
			lines = slices.DeleteFunc(lines, func(l string) bool { return slices.Contains(said, l) })
		}
	}
}

// Memberships are reported anew when the link comes back, and work then.
func TestMembershipsWhenDeviceComesBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		gone  func(w *world)
		state link.State
		back  func(w *world) (heard *lab.Packet)
	}{
		{"down", func(w *world) { check(w.t, w.near.SetDown(w.near.Name)) }, link.Down, func(w *world) *lab.Packet {
			p := w.far.Packet(w.t)
			check(w.t, w.near.SetUp(w.near.Name))
			return p
		}},
		{"no carrier", func(w *world) { check(w.t, w.far.SetDown(w.far.Name)) }, link.NoCarrier, func(w *world) *lab.Packet {
			p := w.far.Packet(w.t)
			check(w.t, w.far.SetUp(w.far.Name))
			return p
		}},
		{"made again", deletePair, link.Gone, func(w *world) *lab.Packet {
			check(w.t, w.near.AddVeth(netlab.Veth{Name: w.near.Name, PeerName: w.far.Name, Peer: w.far.Namespace,
				MAC: w.near.MAC, PeerMAC: w.far.MAC}))
			check(w.t, w.far.AddAddress(w.far.Name, w.far.Prefix()))
			check(w.t, w.far.SetUp(w.far.Name))
			p := w.far.Packet(w.t)
			check(w.t, w.near.SetUp(w.near.Name))
			return p
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, setup{})
			k, own := w.member(7, groupA), w.near.Addr.As4()
			r := w.reader(k)
			source := w.udp(8)
			check(t, source.Multicast().JoinSource(stack.GroupRequest{Group: groupB, Interface: w.ifc.Index()}, w.far.Addr.As4()))
			c.gone(w)
			w.state(c.state)
			late := w.udp(9) // joins while there is no link, or, without a device, as soon as there is
			join := stack.GroupRequest{Group: [4]byte{239, 9, 1, 3}, Interface: w.ifc.Index()}
			err := late.Multicast().JoinGroup(join)
			if c.state == link.Gone {
				if err != unix.ENODEV {
					t.Errorf("joined on a device that is gone: %v", err)
				}
			} else {
				check(t, err)
			}
			wire := c.back(w)
			w.state(link.Up)
			if c.state == link.Gone {
				check(t, late.Multicast().JoinGroup(join))
			}
			says(t, wire, own, "TO_EX 239.9.1.1 {}", "ALLOW 239.9.1.2 {10.9.0.2}", "TO_EX 239.9.1.3 {}")
			wantGroups(t, w.near, groupA, groupB, [4]byte{239, 9, 1, 3})
			peer := kernelMember(t, w.far, 0)
			await(t, "a datagram to the group", func() bool {
				check(t, peer.SendTo([]byte("in"), at(groupA, 7)))
				select {
				case got := <-r.got:
					return got == "in"
				case <-time.After(20 * time.Millisecond):
					return false
				}
			})
		})
	}
}

// A new address reports all memberships anew, from itself.
func TestMembershipsWhenAddressChanges(t *testing.T) {
	w := newWorld(t, setup{noAddress: true})
	wire := w.far.Packet(t)
	w.member(7, groupA)
	says(t, wire, [4]byte{}, "TO_EX 239.9.1.1 {}") // RFC 3376, section 4.2.13
	check(t, w.ifc.AddAddress(w.near.Prefix()))
	says(t, wire, w.near.Addr.As4(), "TO_EX 239.9.1.1 {}")
	other := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, 44}), lab.Bits)
	check(t, w.ifc.AddAddress(other))
	check(t, w.ifc.RemoveAddress(w.near.Prefix()))
	says(t, wire, other.Addr().As4(), "TO_EX 239.9.1.1 {}")
}

// A socket that closes leaves its groups; a stack that closes, and an interface that
// is removed, leave all.
func TestLeavesAtClose(t *testing.T) {
	w := newWorld(t, setup{})
	own := w.near.Addr.As4()
	k, other, source := w.member(7, groupA), w.member(8, groupA), w.udp(9)
	check(t, source.Multicast().JoinSource(stack.GroupRequest{Group: groupB, Interface: w.ifc.Index()}, w.far.Addr.As4()))
	wire := w.far.Packet(t)
	check(t, k.Close())
	if h, ok := wire.NextIGMP(t, 50*time.Millisecond); ok && slices.ContainsFunc(h.Lines(), func(l string) bool { return strings.HasPrefix(l, "TO_IN") }) {
		t.Errorf("the group was left with a member: %q", h.Lines())
	}
	check(t, other.Close())
	says(t, wire, own, "TO_IN 239.9.1.1 {}")
	w.member(7, groupA)
	says(t, wire, own, "TO_EX 239.9.1.1 {}")
	check(t, w.stack.Close())
	end := [][]string{}
	for h, ok := wire.NextIGMP(t, lab.Patience); ok; h, ok = wire.NextIGMP(t, 50*time.Millisecond) {
		end = append(end, h.Lines())
	}
	if len(end) == 0 || !slices.Equal(end[len(end)-1], []string{"TO_IN 239.9.1.1 {}", "BLOCK 239.9.1.2 {10.9.0.2}"}) {
		t.Errorf("the last words are %q", end)
	}
	wantGroups(t, w.near)
}

func TestLeavesAtRemoveLink(t *testing.T) {
	w := newWorld(t, setup{})
	k, wire := w.member(7, groupA), w.far.Packet(t)
	check(t, w.stack.RemoveLink(w.ifc.Index()))
	says(t, wire, w.near.Addr.As4(), "TO_IN 239.9.1.1 {}")
	wantGroups(t, w.near)
	check(t, k.Close())
}

// A filterOf is what a device lets through, as ip(8) shows it.
type filterOf struct {
	Promiscuity int `json:"promiscuity"`
	AllMulti    int `json:"allmulti"`
	groups      map[string]int
}

func deviceFilter(t testing.TB, e *lab.Endpoint, dev string) filterOf {
	t.Helper()
	lab.NeedProgram(t, "ip")
	var links []filterOf
	check(t, json.Unmarshal(lab.Output(t, e.Namespace, "ip", "-d", "-j", "link", "show", "dev", dev), &links))
	f := links[0]
	f.groups = map[string]int{}
	var devices []struct {
		Maddr []struct {
			Link  string `json:"link"`
			Users int    `json:"users"`
		} `json:"maddr"`
	}
	check(t, json.Unmarshal(lab.Output(t, e.Namespace, "ip", "-j", "maddr", "show", "dev", dev), &devices))
	for _, d := range devices {
		for _, m := range d.Maddr {
			if m.Link != "" {
				f.groups[m.Link] = max(m.Users, 1)
			}
		}
	}
	return f
}

// wantGroups fails the test unless the device's filter is open for these groups, and
// no others of 239.0.0.0/8.
func wantGroups(t testing.TB, e *lab.Endpoint, groups ...[4]byte) {
	t.Helper()
	wantGroupsOn(t, e, e.Name, groups...)
}

func wantGroupsOn(t testing.TB, e *lab.Endpoint, dev string, groups ...[4]byte) {
	t.Helper()
	f := deviceFilter(t, e, dev)
	if f.Promiscuity != 0 || f.AllMulti != 0 {
		t.Errorf("%s: promiscuity %d, allmulti %d", dev, f.Promiscuity, f.AllMulti)
	}
	want := map[string]bool{}
	for _, g := range groups {
		mac := ipv4.Addr(g).MulticastMAC()
		want[net.HardwareAddr(mac[:]).String()] = true
	}
	for mac := range want {
		if f.groups[mac] == 0 {
			t.Errorf("%s is not open for %s: %v", dev, mac, f.groups)
		}
	}
	for mac := range f.groups {
		if !want[mac] && !strings.HasPrefix(mac, "01:00:5e:00:00:") && strings.HasPrefix(mac, "01:00:5e") {
			t.Errorf("%s is open for %s", dev, mac)
		}
	}
}

// The device's filter is open for the groups that are joined, as long as they are.
func TestDeviceFilter(t *testing.T) {
	lab.NeedProgram(t, "ip")
	l := lab.New(t, lab.Config{})
	for _, kind := range []string{"veth", "macvlan", "bridge"} {
		t.Run(kind, func(t *testing.T) {
			dev, e := "dev-"+kind, l.Near()
			switch kind {
			case "veth":
				dev = e.Name
			case "macvlan":
				lab.Output(t, e.Namespace, "ip", "link", "add", dev, "link", e.Name, "type", kind, "mode", "bridge")
			default:
				lab.Output(t, e.Namespace, "ip", "link", "add", dev, "type", kind)
			}
			lab.Output(t, e.Namespace, "ip", "link", "set", dev, "up")
			var ring *tpacket.Link
			e.In(t, func() (err error) {
				ring, err = tpacket.Open(dev, tpacket.Options{})
				return err
			})
			st, err := stack.New(stack.Config{})
			check(t, err)
			defer st.Close()
			ifc, err := st.AddLink(ring, stack.InterfaceConfig{})
			check(t, err)
			check(t, ifc.AddAddress(e.Prefix()))
			var ks []*stack.UDPSocket
			for range 2 {
				k, err := st.NewUDPSocket()
				check(t, err)
				ks = append(ks, k)
			}
			on := func(g [4]byte) stack.GroupRequest { return stack.GroupRequest{Group: g, Interface: ifc.Index()} }
			wantGroupsOn(t, e, dev)
			check(t, ks[0].Multicast().JoinGroup(on(groupA)))
			check(t, ks[1].Multicast().JoinGroup(on(groupA)))
			check(t, ks[1].Multicast().JoinSource(on(groupB), [4]byte{10, 9, 0, 2}))
			wantGroupsOn(t, e, dev, groupA, groupB)
			check(t, ks[1].Close())
			wantGroupsOn(t, e, dev, groupA)
			check(t, ks[0].Multicast().LeaveGroup(on(groupA)))
			wantGroupsOn(t, e, dev)
			check(t, ks[0].Multicast().JoinGroup(on(groupB)))
			wantGroupsOn(t, e, dev, groupB)
			check(t, st.Close())
			wantGroupsOn(t, e, dev)
		})
	}
}

// Two groups with one hardware address are told apart in software.
func TestGroupsOfOneHardwareAddress(t *testing.T) {
	w := newWorld(t, setup{})
	twin := [4]byte{239, 137, 1, 1} // 01:00:5e:09:01:01, as groupA
	if ipv4.Addr(twin).MulticastMAC() != ipv4.Addr(groupA).MulticastMAC() {
		t.Fatal("not of one hardware address")
	}
	k, peer := w.member(7, groupA), kernelMember(t, w.far, 0)
	other := w.member(8, twin)
	k.Multicast().SetAll(false)
	other.Multicast().SetAll(false)
	for _, g := range [][4]byte{twin, groupA} {
		for _, port := range []uint16{7, 8} {
			check(t, peer.SendTo(fmt.Append(nil, g), at(g, port)))
		}
	}
	want := func(k *stack.UDPSocket, group [4]byte) {
		t.Helper()
		if b, _ := w.recv(k); string(b) != fmt.Sprint(group) {
			t.Errorf("got what is to %s, want %v", b, group)
		}
	}
	want(k, groupA)
	want(other, twin)
	check(t, other.Close())
	wantGroups(t, w.near, groupA)
}
