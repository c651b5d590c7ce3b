package tpacket

import (
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// Limits of link/device.
const (
	maxGroups      = 65536
	filterGroups   = 512
	refilterGroups = filterGroups / 2
)

// groups returns the multicast addresses that the device lets in, and how often
// each was asked for, as `ip maddr` shows them.
func (h *host) groups() map[link.MAC]int {
	h.t.Helper()
	groups := map[link.MAC]int{}
	h.in(func() error {
		f, err := os.Open("/proc/thread-self/net/dev_mcast")
		if err != nil {
			return err
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			var index, users, global int
			var dev string
			var mac []byte
			if _, err := fmt.Sscanf(s.Text(), "%d %s %d %d %x", &index, &dev, &users, &global, &mac); err != nil {
				return err
			}
			if dev == h.dev {
				groups[link.MAC(mac)] = users
			}
		}
		return nil
	})
	return groups
}

func TestGroups(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{})
	group, other := link.MAC{1, 0, 0x5e, 1, 2, 3}, link.MAC{1, 0, 0x5e, 4, 5, 6}
	expect := func(what string, want int) {
		t.Helper()
		if n := lb.near.groups()[group]; n != want {
			t.Errorf("%s: %d users, want %d", what, n, want)
		}
	}
	expect("before", 0)
	check(t, l.JoinGroup(group))
	check(t, l.JoinGroup(group))
	check(t, l.JoinGroup(other))
	expect("joined twice", 1)
	check(t, l.LeaveGroup(group))
	expect("left once", 1)
	check(t, l.LeaveGroup(group))
	expect("left twice", 0)
	if err := l.LeaveGroup(group); err != unix.EADDRNOTAVAIL {
		t.Errorf("left three times: %v", err)
	}
	if err := l.JoinGroup(link.MAC{2}); err != unix.EINVAL {
		t.Errorf("unicast: %v", err)
	}
	if lb.near.groups()[other] != 1 {
		t.Error("the other group was left too")
	}
	// Joined and left while there is no device.
	w := watch(t, l)
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	w.state(link.Gone)
	check(t, l.JoinGroup(group))
	check(t, l.LeaveGroup(other))
	lb.join(1500)
	w.state(link.Up)
	expect("made again", 1)
	if lb.near.groups()[other] != 0 {
		t.Error("joined a group that was left")
	}
	for i := range maxGroups {
		err := l.JoinGroup(numbered(i))
		if full := i == maxGroups-1; full != (err == unix.ENOBUFS) || !full && err != nil {
			t.Fatalf("group %d: %v", i, err)
		}
	}
	check(t, l.Close())
	expect("closed", 0)
	if err := l.JoinGroup(group); err != unix.ENETDOWN {
		t.Errorf("join after Close: %v", err)
	}
	if err := l.LeaveGroup(group); err != unix.ENETDOWN {
		t.Errorf("leave after Close: %v", err)
	}
}

// numbered returns one of many groups.
func numbered(i int) link.MAC { return link.MAC{3, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)} }

// modes returns how often the device was asked to be promiscuous and to take all
// groups.
func (h *host) modes() (promiscuous, all int) {
	h.t.Helper()
	index := h.link().Attrs().Index
	h.in(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index)
		req.AddData(msg)
		msgs, err := req.Execute(unix.NETLINK_ROUTE, 0)
		if err != nil {
			return err
		}
		attrs, err := nl.ParseRouteAttr(msgs[0][unix.SizeofIfInfomsg:])
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFLA_PROMISCUITY:
				promiscuous = int(nl.NativeEndian().Uint32(a.Value))
			case unix.IFLA_ALLMULTI:
				all = int(nl.NativeEndian().Uint32(a.Value))
			}
		}
		return err
	})
	return promiscuous, all
}

// TestManyGroups joins more groups than the device filters, and leaves them.
func TestManyGroups(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{})
	expect := func(what string, filtered int, all bool) {
		t.Helper()
		n := 0
		for mac := range lb.near.groups() {
			if mac[0] == 3 {
				n++
			}
		}
		if _, allmulti := lb.near.modes(); n != filtered || allmulti != 0 != all {
			t.Errorf("%s: the device filters %d groups, want %d; takes all %d", what, n, filtered, allmulti)
		}
	}
	const many = 10000
	began := time.Now()
	for i := range filterGroups {
		check(t, l.JoinGroup(numbered(i)))
	}
	expect("at the limit", filterGroups, false)
	for i := filterGroups; i < many; i++ {
		check(t, l.JoinGroup(numbered(i)))
	}
	t.Logf("%d groups joined in %v", many, time.Since(began))
	expect("beyond it", filterGroups, true)
	check(t, l.JoinGroup(numbered(many-1)))
	check(t, l.LeaveGroup(numbered(many-1)))
	check(t, l.LeaveGroup(numbered(0)))
	expect("one left", filterGroups-1, true)

	// All of it is there again with the device.
	w := watch(t, l)
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	w.state(link.Gone)
	lb.join(1500)
	w.state(link.Up)
	expect("made again", filterGroups-1, true)

	// The last ones stay, which the device has not been told of.
	began = time.Now()
	for i := 1; i < many-refilterGroups; i++ {
		check(t, l.LeaveGroup(numbered(i)))
		if i == many-refilterGroups-2 {
			expect("one more than few", 0, true)
		}
	}
	t.Logf("left again in %v", time.Since(began))
	expect("few", refilterGroups, false)
	check(t, l.LeaveGroup(numbered(many-1)))
	expect("one fewer", refilterGroups-1, false)
	if err := l.LeaveGroup(numbered(many - 1)); err != unix.EADDRNOTAVAIL {
		t.Errorf("left once more: %v", err)
	}
	check(t, l.JoinGroup(numbered(many-1)))
	expect("joined again", refilterGroups, false)
}

// BenchmarkGroups joins and leaves 10,000 groups.
func BenchmarkGroups(b *testing.B) {
	l := newLab(b, 1500).open(Options{})
	for b.Loop() {
		for i := range 10000 {
			check(b, l.JoinGroup(numbered(i)))
		}
		for i := range 10000 {
			check(b, l.LeaveGroup(numbered(i)))
		}
	}
}

func TestModes(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{EtherTypes: []uint16{experimental}})
	expect := func(what string, promiscuous, all int) {
		t.Helper()
		if p, a := lb.near.modes(); p != promiscuous || a != all {
			t.Errorf("%s: promiscuous %d, all groups %d, want %d, %d", what, p, a, promiscuous, all)
		}
	}
	hears := func(what string, want bool) {
		t.Helper()
		fd := lb.far.raw(experimental, false)
		own := l.Info().HardwareAddr
		for _, dst := range []link.MAC{{2, 9, 9, 9, 9, 9}, own} { // the second is for the end
			_, err := unix.Write(fd, ethernet(dst, lb.far.mac(), pattern(60, 1)))
			check(t, err)
		}
		n := 1
		if want {
			n = 2
		}
		if f := receive(t, l, n); f[n-1].Type != link.Host || want && f[0].Type != link.OtherHost {
			t.Errorf("%s: frames of the types %d and %d", what, f[0].Type, f[n-1].Type)
		}
	}
	expect("before", 0, 0)
	hears("before", false)
	for range 2 {
		check(t, l.AddMode(link.Promiscuous))
	}
	check(t, l.AddMode(link.AllMulticast))
	expect("on", 1, 1)
	hears("on", true)

	w := watch(t, l)
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	w.state(link.Gone)
	check(t, l.DropMode(link.AllMulticast))
	lb.join(1500)
	w.state(link.Up)
	expect("made again", 1, 0)
	hears("made again", true)

	check(t, l.DropMode(link.Promiscuous))
	expect("dropped once", 1, 0)
	check(t, l.DropMode(link.Promiscuous))
	expect("dropped twice", 0, 0)
	hears("dropped", false)
	for _, m := range []link.Mode{link.Promiscuous, link.AllMulticast} {
		if err := l.DropMode(m); err != unix.EADDRNOTAVAIL {
			t.Errorf("mode %d dropped once more: %v", m, err)
		}
	}
	if err := l.AddMode(link.Modes); err != unix.EINVAL {
		t.Errorf("no such mode: %v", err)
	}
	if err := l.DropMode(link.Modes); err != unix.EINVAL {
		t.Errorf("no such mode dropped: %v", err)
	}
	check(t, l.Close())
	if err := l.AddMode(link.Promiscuous); err != unix.ENETDOWN {
		t.Errorf("after Close: %v", err)
	}
	if err := l.DropMode(link.Promiscuous); err != unix.ENETDOWN {
		t.Errorf("dropped after Close: %v", err)
	}
}
