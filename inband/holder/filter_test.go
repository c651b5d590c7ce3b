package holder

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

var (
	group = [4]byte{233, 252, 0, 7}
	all   = [4]byte{255, 255, 255, 255}
)

// member has a namespace join a group on a device, as some in-band program would.
func member(t *testing.T, n *netlab.Namespace, device int32) {
	t.Helper()
	u := udp(t, n, "0.0.0.0:0")
	must(t, unix.SetsockoptIPMreqn(u.FD(), unix.SOL_IP, unix.IP_ADD_MEMBERSHIP,
		&unix.IPMreqn{Multiaddr: group, Ifindex: device}))
}

// send sends a datagram to each address from a socket of a namespace.
func send(t *testing.T, n *netlab.Namespace, port uint16, to ...[4]byte) {
	t.Helper()
	u := udp(t, n, "0.0.0.0:0")
	must(t, u.SetOption(unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	for _, a := range to {
		if a == all { // for which there is no route here
			must(t, u.SetOption(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 2))
		}
		must(t, u.SendTo([]byte(netip.AddrFrom4(a).String()), addrPort(a, port)))
	}
}

// What comes by a device with a ring is the ring's, to one address, to a group and to all;
// what comes by another, and the copies of what this host sends, is kept. A Hold from before
// and one from after SetRings are alike.
func TestFilter(t *testing.T) {
	l := newLab(t)
	member(t, l.near, l.device)
	h := newHolders(t, l.near)
	before := hold(t, h, Request{})
	must(t, h.SetRings([]int32{77, l.device, 78}))
	after := hold(t, h, Request{})
	// To its own address the host sends by lo, but IP_PKTINFO, and SO_BINDTODEVICE, take it
	// for the device that has the address.
	for _, d := range []*Hold{before, after} {
		port := d.Port()
		send(t, l.far, port, nearIP, group, all)
		none(t, h)
		send(t, l.near, port, [4]byte{127, 0, 0, 1}, nearIP, group, all)
		for i, want := range []struct {
			to     [4]byte
			device int32
		}{{[4]byte{127, 0, 0, 1}, 1}, {nearIP, l.device}, {group, l.device}, {all, l.device}} {
			got := receive(t, h, 1)[0]
			if got.Destination != want.to || got.Device != want.device || got.Port != port || got.Holder != d.ID() {
				t.Errorf("datagram %d: %v", i, got)
			}
		}
		none(t, h)
	}
	must(t, h.SetRings([]int32{1}))
	send(t, l.far, before.Port(), nearIP, group, all)
	for _, want := range [][4]byte{nearIP, group, all} {
		if got := receive(t, h, 1)[0]; got.Destination != want || got.Device != l.device || got.Local != nearIP {
			t.Errorf("without a ring there: %v", got)
		}
	}
	send(t, l.near, before.Port(), [4]byte{127, 0, 0, 1})
	none(t, h)
	must(t, h.SetRings(nil))
	send(t, l.near, before.Port(), [4]byte{127, 0, 0, 1})
	receive(t, h, 1)
}

// A Hold that is bound to a device gets what comes by that one.
func TestDevice(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	d := hold(t, h, Request{Device: l.device})
	send(t, l.near, d.Port(), [4]byte{127, 0, 0, 1})
	none(t, h)
	send(t, l.far, d.Port(), nearIP)
	receive(t, h, 1)
	ok(t, d.SetDevice(1))
	send(t, l.far, d.Port(), nearIP)
	none(t, h)
	send(t, l.near, d.Port(), [4]byte{127, 0, 0, 1})
	receive(t, h, 1)
	_, e := d.Connect(Peer{Addr: nearIP, Port: 7})
	ok(t, e)
	ok(t, d.Disconnect()) // which makes it one of no device, as in-band
	send(t, l.far, d.Port(), nearIP)
	receive(t, h, 1)
}

// The longest filter is one that the kernel takes, and every index of it counts.
func TestMostRings(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	d := hold(t, h, Request{})
	for _, at := range []int{0, 500, MaxRings - 1} {
		rings := make([]int32, MaxRings)
		for i := range rings {
			rings[i] = int32(1000 + i)
		}
		must(t, h.SetRings(rings))
		send(t, n, d.Port(), [4]byte{127, 0, 0, 1})
		receive(t, h, 1)
		rings[at] = 1
		must(t, h.SetRings(rings))
		send(t, n, d.Port(), [4]byte{127, 0, 0, 1})
		none(t, h)
	}
	if err := h.SetRings(make([]int32, MaxRings+1)); !errors.Is(err, unix.E2BIG) {
		t.Errorf("one more: %v", err)
	}
}

// Of a port that others may have too, what is for one socket is kept whatever it came by;
// what is for all is the ring's. So it is from the beginning, after SetReuse, and by Share.
func TestFilterOfSharedPort(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	directed := [4]byte{10, 9, 0, 255}
	must(t, h.SetRings([]int32{77, l.device}))
	member(t, l.near, l.device)
	byReuse, later, later2 := hold(t, h, Request{ReusePort: true}), hold(t, h, Request{}), hold(t, h, Request{})
	send(t, l.far, later.Port(), nearIP)
	none(t, h)
	ok(t, later.SetReuse(true, false))
	ok(t, later.SetReuse(false, false)) // others may have bound meanwhile
	ok(t, later2.Share())
	must(t, h.SetAddresses([][4]byte{nearIP}, [][4]byte{{10, 9, 1, 255}, directed}))
	for _, d := range []*Hold{byReuse, later, later2} {
		send(t, l.far, d.Port(), nearIP, group, all, directed)
		if got := receive(t, h, 1)[0]; got.Destination != nearIP || got.Holder != d.ID() {
			t.Errorf("from the wire: %v", got)
		}
		none(t, h)
		send(t, l.near, d.Port(), nearIP, group)
		for range 2 {
			receive(t, h, 1)
		}
	}
	must(t, h.SetAddresses(nil, nil))
	send(t, l.far, byReuse.Port(), directed)
	receive(t, h, 1)
	must(t, h.SetRings(nil))
	send(t, l.far, byReuse.Port(), nearIP, group, all)
	receive(t, h, 3)
}

// The longest filters of ports that others may have too, and of sockets bound to no address,
// are ones that the kernel takes, and every address of theirs counts.
func TestMostAddresses(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	hold(t, h, Request{ReuseAddr: true})
	d := hold(t, h, Request{})
	addresses := make([][4]byte, MaxAddresses)
	for i := range addresses {
		addresses[i] = [4]byte{10, byte(i >> 8), byte(i), 255}
	}
	rings := make([]int32, MaxRings)
	rings[0] = l.device
	must(t, h.SetRings(rings))
	for _, at := range []int{0, MaxAddresses / 2, MaxAddresses - 1} {
		must(t, h.SetAddresses(addresses[:500], addresses[500:]))
		send(t, l.far, d.Port(), nearIP)
		receive(t, h, 1)
		was := addresses[at]
		addresses[at] = nearIP
		must(t, h.SetAddresses(addresses[:500], addresses[500:]))
		send(t, l.far, d.Port(), nearIP)
		none(t, h)
		addresses[at] = was
	}
	if err := h.SetAddresses(addresses, [][4]byte{all}); !errors.Is(err, unix.E2BIG) {
		t.Errorf("one more: %v", err)
	}
	send(t, l.far, d.Port(), nearIP)
	none(t, h) // the ring has all
}

// What the kernel takes for the host though the host has no such address, as by a local route,
// no ring has: a socket that is bound to no address keeps it.
func TestFilterOfOtherAddresses(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	must(t, h.SetRings([]int32{l.device}))
	must(t, h.SetAddresses([][4]byte{nearIP}, [][4]byte{{10, 9, 0, 255}}))
	member(t, l.near, l.device)
	d := hold(t, h, Request{})
	other := [4]byte{198, 51, 100, 7}
	must(t, l.near.AddLocalRoute(netip.MustParsePrefix("198.51.100.0/24")))
	must(t, l.far.AddRoute(netip.MustParsePrefix("198.51.100.0/24"), netip.AddrFrom4(nearIP)))
	send(t, l.far, d.Port(), other, nearIP, group, all, [4]byte{10, 9, 0, 255})
	if got := receive(t, h, 1)[0]; got.Destination != other || got.Device != l.device {
		t.Errorf("%v", got)
	}
	none(t, h)
	must(t, h.SetRings([]int32{1, l.device}))
	send(t, l.near, d.Port(), other) // by lo, of which the ring has all
	none(t, h)
}
