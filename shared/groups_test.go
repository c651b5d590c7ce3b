package shared

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/sockapi"
)

// A hearer is a socket that is to hear what is for many.
type hearer struct {
	name string
	*sockapi.Socket
}

// device returns the index of a party's device.
func (p party) device() int {
	p.t.Helper()
	d, err := p.end.Device(p.end.Name)
	check(p.t, err)
	return d.Index
}

// hear opens a socket that hears what is sent to a port, and to the group if it is to join.
func (p party) hear(port uint16, join bool, options ...[3]int) hearer {
	p.t.Helper()
	s := p.open(netip.AddrPortFrom(netip.IPv4Unspecified(), port), append(options, pktInfo)...)
	if join {
		check(p.t, s.JoinGroup(p.device(), group))
	}
	return hearer{p.name, s}
}

// talker opens a socket that sends to many, by the party's device.
func (p party) talker(options ...[3]int) *sockapi.Socket {
	p.t.Helper()
	return p.open(netip.AddrPort{}, append(options, broadcast, [3]int{unix.SOL_IP, unix.IP_MULTICAST_IF, 0},
		[3]int{unix.SOL_IP, unix.IP_UNICAST_IF, int(htonl(uint32(p.device())))})...)
}

func htonl(n uint32) int32 { return int32(n>>24 | n>>8&0xff00 | n<<8&0xff0000 | n<<24) }

// heard fails unless each of those has received a datagram, as in-band sockets would: the
// first of them is one.
func heard(t testing.TB, what, data string, all []hearer) {
	t.Helper()
	want := ""
	for _, h := range all {
		r, err := tryReceive(h.Socket, 0)
		if err != nil || r.data != data {
			t.Errorf("%s: %s has received %.40q from %s, %v; want %.40q", what, h.name, r.data, r.from, err, data)
			continue
		}
		got := fmt.Sprintf("from %s to %s (%s) device %d", r.from, r.to, r.spec, r.device)
		if h.name == "far" { // another host
			continue
		}
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%s: %s has received %s, want %s", what, h.name, got, want)
		}
	}
}

// allSilent fails if one of them has anything. What was sent is there: the host's own when the
// call has returned, or it is looked for by a datagram behind it.
func allSilent(t testing.TB, all []hearer) {
	t.Helper()
	for _, h := range all {
		silent(t, h.name, h.Socket)
	}
}

// everywhere returns those who can hear and be heard on the host, and at the far end.
func (w *world) everywhere(other *world) []party {
	far := inBand(w.t, w.Far())
	far.name = "far"
	return append(w.parties(other), far)
}

// toMany returns where datagrams for many go.
func toMany(port uint16) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(group, port), netip.AddrPortFrom(netip.MustParseAddr("10.9.0.255"), port),
		netip.AddrPortFrom(netip.MustParseAddr("255.255.255.255"), port)}
}

// What is for many, all of them get, once, whoever sends it: an in-band socket here, this
// stack, another one, the far end; two sockets of one stack each have theirs.
func TestForMany(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.ip("route", "add", "default", "via", "10.9.0.2")
		all := w.everywhere(w.another())
		var hearers []hearer
		for _, p := range append(all[:len(all):len(all)], all[1]) {
			hearers = append(hearers, p.hear(7000, true, reuseAddr))
		}
		local := append(hearers[:3:3], hearers[4])
		for _, to := range toMany(7000) {
			for _, p := range all {
				loud, alone := p.talker(), p.talker([3]int{unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0})
				if to.Addr() == group {
					check(t, loud.SetMulticastInterface(p.device()))
					check(t, alone.SetMulticastInterface(p.device()))
				}
				for i := range 2 {
					sendTo(t, loud, text(i, 100), to)
					heard(t, p.name+" to "+to.String(), text(i, 100), hearers)
				}
				if to.Addr() != group {
					continue
				}
				sendTo(t, alone, "not looped", to)
				if p.name == "far" {
					heard(t, "far, not looped", "not looped", local)
				} else {
					heard(t, p.name+", not looped", "not looped", hearers[3:4])
				}
			}
		}
		allSilent(t, hearers)
	})
}

// A large datagram for many is fragmented on its way, and comes whole.
func TestLargeForMany(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		all := w.everywhere(w.another())
		var hearers []hearer
		for _, p := range all {
			hearers = append(hearers, p.hear(7000, true, reuseAddr))
		}
		for _, p := range all {
			s := p.talker()
			check(t, s.SetMulticastInterface(p.device()))
			sendTo(t, s, text(0, 9000), netip.AddrPortFrom(group, 7000))
			heard(t, p.name, text(0, 9000), hearers)
		}
		allSilent(t, hearers)
	})
}

// Where nobody else can have the port, the kernel is kept off what is for many too.
func TestAloneForMany(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		here, far := w.party("here"), inBand(t, w.Far())
		h := here.hear(7000, true)
		s := far.talker()
		check(t, s.SetMulticastInterface(far.device()))
		before := counters(t, w.Near())
		for _, to := range toMany(7000)[:2] {
			sendTo(t, s, "x", to)
			heard(t, to.String(), "x", []hearer{h})
		}
		allSilent(t, []hearer{h})
		want := ""
		if w.host.claims.Rung() == claim.Holder {
			want = "IpInReceives+2 UdpInErrors+2"
		}
		if g := grown(before, counters(t, w.Near()), "IpInReceives", "UdpInDatagrams", "UdpNoPorts", "UdpInErrors"); g != want {
			t.Errorf("the kernel has counted %q, want %q", g, want)
		}
	})
}

// With NoLocalMulticast what the stack sends to a group is not for the host's other members.
func TestNoLocalMulticast(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}, NoLocalMulticast: true}, func(t *testing.T, w *world) {
		all := w.everywhere(w.another())
		var hearers []hearer
		for _, p := range all {
			hearers = append(hearers, p.hear(7000, true, reuseAddr))
		}
		s := all[1].talker()
		check(t, s.SetMulticastInterface(all[1].device()))
		for i := range 2 {
			sendTo(t, s, text(i, 9), netip.AddrPortFrom(group, 7000))
			heard(t, "ours", text(i, 9), []hearer{hearers[1], hearers[3]})
		}
		allSilent(t, hearers)
	})
}

// A member that leaves does not cut off the others, and hears nothing any more.
func TestLeave(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		all := w.everywhere(w.another())
		far := all[3].talker()
		check(t, far.SetMulticastInterface(all[3].device()))
		for leaver := range 3 {
			var hearers, others []hearer
			for i, p := range all[:3] {
				// As on Linux a socket hears groups that others have joined unless it says no.
				hearers = append(hearers, p.hear(7000, true, reuseAddr, groups))
				if i != leaver {
					others = append(others, hearers[i])
				}
			}
			sendTo(t, far, "all", netip.AddrPortFrom(group, 7000))
			heard(t, "before", "all", hearers)
			check(t, hearers[leaver].LeaveGroup(all[leaver].device(), group))
			senders := []party{all[3], all[leaver]}
			for _, p := range senders {
				s := p.talker()
				check(t, s.SetMulticastInterface(p.device()))
				sendTo(t, s, "others", netip.AddrPortFrom(group, 7000))
				heard(t, all[leaver].name+" has left, from "+p.name, "others", others)
			}
			allSilent(t, hearers)
			for _, h := range hearers {
				h.Close()
			}
		}
	})
}

// Each member has its own source filter, whatever the others on the host want.
func TestSourceFilters(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		check(t, w.Far().AddAddress("far0", netip.MustParsePrefix("10.9.0.66/24")))
		all := w.parties(w.another())
		a, b := w.Far().Addr, netip.MustParseAddr("10.9.0.66")
		talk := func(from netip.Addr) {
			s := inBand(t, w.Far()).open(netip.AddrPortFrom(from, 0))
			defer s.Close()
			check(t, s.SetMulticastInterface(inBand(t, w.Far()).device()))
			sendTo(t, s, "from "+from.String(), netip.AddrPortFrom(group, 7000))
		}
		for i := range all {
			index := all[i].device()
			onlyA, notA, any := all[i].hear(7000, false, reuseAddr, groups), all[(i+1)%3].hear(7000, true, reuseAddr, groups), all[(i+2)%3].hear(7000, true, reuseAddr, groups)
			check(t, onlyA.JoinSourceGroup(index, group, a))
			check(t, notA.BlockSource(index, group, a))
			for range 2 {
				talk(a)
				heard(t, "a", "from "+a.String(), []hearer{onlyA, any})
				talk(b)
				heard(t, "b", "from "+b.String(), []hearer{notA, any})
			}
			allSilent(t, []hearer{onlyA, notA, any})
			for _, h := range []hearer{onlyA, notA, any} {
				h.Close()
			}
		}
	})
}

// A member on the host that comes later is found.
func TestMemberThatComesLater(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	other := w.another()
	for _, p := range []party{inBand(t, w.Near()), other.party("other")} {
		s := w.party("here").talker()
		check(t, s.SetMulticastInterface(p.device()))
		to := netip.AddrPortFrom(group, 7000)
		sendTo(t, s, "nobody", to)
		late := p.hear(7000, true, reuseAddr)
		w.eventually("found", func() bool {
			sendTo(t, s, "somebody", to)
			_, err := tryReceive(late.Socket, unix.MSG_DONTWAIT)
			return err == nil
		})
		late.Close()
	}
}
