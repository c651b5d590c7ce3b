package outband

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/test/lab"
)

// Join hears a group on each device, from the sources that were named, on own addresses, on the kernel's, and
// with the kernel's sockets.
func TestJoin(t *testing.T) {
	lab.CheckLeaks(t)
	group := netip.MustParseAddrPort("239.1.2.3:5000")
	for _, c := range []struct {
		name    string
		kernel  lab.Kernel
		options func(l *lab.Lab) []Option
	}{
		{"own", lab.Far, func(l *lab.Lab) []Option { return []Option{WithAddress(l.Near().Prefix())} }},
		{"shared", lab.All, func(*lab.Lab) []Option { return []Option{WithDevices("spare0")} }},
		{"in-band", lab.All, func(l *lab.Lab) []Option { return []Option{WithCapture("/nowhere/at/all"), WithFallback()} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: c.kernel})
			check(t, l.Near().AddVeth(netlab.Veth{Name: "spare0", PeerName: "spare1", Peer: l.Near().Namespace, MTU: 1500}))
			from := l.Far().BoundUDP(t, l.Far().AddrPort(6000))
			l.Near().In(t, func() error { // in-band sockets are the calling thread's
				h, err := Open(context.Background(), "near0", c.options(l)...)
				check(t, err)
				defer h.Close()
				all, err := h.Join(group)
				check(t, err)
				defer all.Close()
				other, err := h.Join(group, netip.MustParseAddr("10.9.0.99"))
				check(t, err)
				defer other.Close()
				same, err := h.Join(group, l.Far().Addr, netip.MustParseAddr("10.9.0.99"))
				check(t, err)
				defer same.Close()
				another, err := h.Join(netip.MustParseAddrPort("239.1.2.4:5000"))
				check(t, err)
				defer another.Close()
				check(t, from.SendTo([]byte("first"), group))
				check(t, from.SendTo([]byte("last"), netip.MustParseAddrPort("239.1.2.4:5000")))
				hears(t, all, "first")
				hears(t, same, "first")
				hears(t, another, "last") // what was before would have come
				hearsNothing(t, all, same, other, another)
				return nil
			})
		})
	}
}

// hears wants a datagram.
func hears(t *testing.T, c net.PacketConn, want string) {
	t.Helper()
	check(t, c.SetReadDeadline(time.Now().Add(lab.Patience)))
	b := make([]byte, 64)
	if n, _, err := c.ReadFrom(b); err != nil || string(b[:n]) != want {
		t.Errorf("%q, %v; want %q", b[:n], err, want)
	}
}

// hearsNothing wants that nothing waits, once something sent later has come.
func hearsNothing(t *testing.T, all ...net.PacketConn) {
	t.Helper()
	for i, c := range all {
		check(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		b := make([]byte, 64)
		if n, _, err := c.ReadFrom(b); err == nil {
			t.Errorf("connection %d hears %q", i, b[:n])
		}
	}
}

// What is no group, or cannot be joined, is an error of package net's shape.
func TestJoinFails(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	h, err := openAt(t, l.Near(), WithAddress(l.Near().Prefix()))
	check(t, err)
	many := make([]netip.Addr, 11) // net.ipv4.igmp_max_msf is 10
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 9, 1, byte(i + 1)})
	}
	group := netip.MustParseAddrPort("239.1.2.3:5000")
	for _, c := range []struct {
		name    string
		group   netip.AddrPort
		sources []netip.Addr
		want    error
	}{
		{"an address of a host", netip.MustParseAddrPort("10.9.0.2:5000"), nil, unix.EINVAL},
		{"a group of IPv6", netip.MustParseAddrPort("[ff02::1]:5000"), nil, unix.EINVAL},
		{"too many sources", group, many, unix.ENOBUFS},
	} {
		j, err := h.Join(c.group, c.sources...)
		var op *net.OpError
		if j != nil || !errors.As(err, &op) || op.Op != "listen" || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, j, err, c.want)
		}
	}
	check(t, h.Close())
	if _, err := h.Join(group); err == nil {
		t.Error("a closed host joins")
	}
}

// Counters and neighbours are those of the stack; of the kernel's host there are none.
func TestStatsAndNeighbours(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	h, err := openAt(t, l.Near(), WithAddress(l.Near().Prefix()))
	check(t, err)
	check(t, h.Stack().Solicit(l.Far().Addr, lab.Patience, 0))
	if n := h.Neighbours(); len(n) != 1 || netip.AddrFrom4(n[0].Addr) != l.Far().Addr || n[0].Dev != "near0" {
		t.Errorf("neighbours %+v", n)
	}
	c, err := h.Dial("udp", l.Far().AddrPort(9).String())
	check(t, err)
	_, err = c.Write([]byte("counted"))
	check(t, err)
	if n := h.Stats().Get("UdpOutDatagrams"); n != 1 {
		t.Errorf("%d datagrams out", n)
	}
	k, err := openAt(t, l.Near(), WithCapture("/nowhere/at/all"), WithFallback())
	check(t, err)
	if k.Why() == nil || len(k.Stats().Counters) != 0 || len(k.Neighbours()) != 0 {
		t.Errorf("in-band: %v, %d counters, neighbours %v", k.Why(), len(k.Stats().Counters), k.Neighbours())
	}
}
