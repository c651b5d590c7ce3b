package gonet

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/sockapi"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// socketsOf returns how many sockets a host has.
func socketsOf(n *Net) int { return len(n.host.(*sockapi.API).Stack().Sockets()) }

// TestControl has the function set an option, or refuse: then nothing is left.
func TestControl(t *testing.T) {
	n := lone(t)
	refused := errors.New("refused")
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	var result error
	var told []string
	control := func(network, address string, s *sockapi.Socket) error {
		told = append(told, network+" "+address)
		return errors.Join(s.SetTTL(7), result)
	}
	controlContext := func(ctx context.Context, network, address string, s *sockapi.Socket) error {
		if ctx.Value(key{}) != "value" {
			t.Error("another context")
		}
		return control(network, address, s)
	}
	l := ListenConfig{Net: n, Control: control}
	calls := []func() (net.PacketConn, error){
		func() (net.PacketConn, error) { return l.ListenPacket(ctx, "udp", "127.0.0.1:7") },
		func() (net.PacketConn, error) { return l.ListenPacket(ctx, "udp4", "239.1.2.3:7") },
		func() (net.PacketConn, error) { return l.ListenPacket(ctx, "ip4:99", "127.0.0.1") },
		func() (net.PacketConn, error) {
			return asPacketConn((&Dialer{Net: n, Control: control}).DialContext(ctx, "udp", "127.0.0.1:9"))
		},
		func() (net.PacketConn, error) {
			return asPacketConn((&Dialer{Net: n, ControlContext: controlContext}).DialContext(ctx, "ip4:99", "127.0.0.1"))
		},
		func() (net.PacketConn, error) {
			return (&Dialer{Net: n, Control: control, ControlContext: controlContext}).dialUDP(ctx, "udp4", nil, &net.UDPAddr{Port: 9})
		},
	}
	want := []string{"udp4 127.0.0.1:7", "udp4 0.0.0.0:7", "ip4 127.0.0.1", "udp4 127.0.0.1:9", "ip4 127.0.0.1", "udp4 :9"}
	for i, call := range calls {
		told, result = nil, nil
		c, err := call()
		check(t, err)
		if ttl, err := NewPacketConn(c.(Conn)).TTL(); ttl != 7 || err != nil || len(told) != 1 || told[0] != want[i] {
			t.Errorf("TTL %d, %v; told %q, want %q once", ttl, err, told, want[i])
		}
		check(t, c.Close())
		result = refused
		if _, err := call(); !errors.Is(err, refused) || socketsOf(n) != 0 {
			t.Errorf("call %d: %v; %d sockets are left", i, err, socketsOf(n))
		}
	}
}

// asPacketConn returns what Dial has returned, which can be both.
func asPacketConn(c net.Conn, err error) (net.PacketConn, error) {
	if err != nil {
		return nil, err
	}
	return c.(net.PacketConn), nil
}

// TestFailuresLeaveNothing has each step of opening a connection fail.
func TestFailuresLeaveNothing(t *testing.T) {
	n := lone(t)
	lo, elsewhere := net.IPv4(127, 0, 0, 1), net.IPv4(192, 0, 2, 1)
	for name, call := range map[string]func() error{
		"bind":         func() error { _, err := n.ListenUDP("udp", &net.UDPAddr{IP: elsewhere}); return err },
		"bind to dial": func() error { _, err := n.DialUDP("udp", &net.UDPAddr{IP: elsewhere}, localhost); return err },
		"connect":      func() error { _, err := n.DialUDP("udp", nil, &net.UDPAddr{IP: elsewhere, Port: 9}); return err },
		"IP bind":      func() error { _, err := n.ListenIP("ip4:99", &net.IPAddr{IP: elsewhere}); return err },
		"IP bind to dial": func() error {
			_, err := n.DialIP("ip4:99", &net.IPAddr{IP: elsewhere}, &net.IPAddr{IP: lo})
			return err
		},
		"IP connect": func() error { _, err := n.DialIP("ip4:99", nil, &net.IPAddr{IP: elsewhere}); return err },
		"ICMP bind":  func() error { _, err := n.ListenICMP("udp4", elsewhere.String()); return err },
		"group": func() error {
			_, err := n.ListenMulticastUDP("udp", &net.Interface{Index: 99}, &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3), Port: 9})
			return err
		},
	} {
		if err := call(); err == nil || socketsOf(n) != 0 {
			t.Errorf("%s: %v; %d sockets are left", name, err, socketsOf(n))
		}
	}
}

// TestIPv6IsRefused as on a host without it; the unspecified address is that of IPv4.
func TestIPv6IsRefused(t *testing.T) {
	n := lone(t)
	for _, call := range []func() error{
		func() error { _, err := n.ListenPacket("udp", "[::1]:9"); return err },
		func() error { _, err := n.ListenPacket("udp6", ":9"); return err },
		func() error { _, err := n.ListenPacket("ip6:99", ""); return err },
		func() error { _, err := n.ListenPacket("ip:99", "::1"); return err },
		func() error { _, err := n.Dial("udp", "[::1]:9"); return err },
		func() error { _, err := n.Dial("udp6", ":9"); return err },
		func() error { _, err := n.Dial("ip:99", "::1"); return err },
		func() error { _, err := n.DialUDP("udp", &net.UDPAddr{IP: net.IPv6loopback}, localhost); return err },
	} {
		if err := call(); !errors.Is(err, unix.EAFNOSUPPORT) {
			t.Error(err)
		}
	}
	for _, tt := range [][3]string{{"udp", "[::]:9", "0.0.0.0:9"}, {"ip:99", "::", "0.0.0.0"}} {
		c, err := n.ListenPacket(tt[0], tt[1])
		check(t, err)
		if c.LocalAddr().String() != tt[2] {
			t.Error(c.LocalAddr())
		}
		check(t, c.Close())
		d, err := n.Dial(tt[0], tt[1])
		check(t, err)
		check(t, d.Close())
	}
	if _, err := n.ListenPacket("udp4", "[::]:9"); err == nil {
		t.Error("udp4 takes an address of IPv6")
	}
}

// TestNoHost: what belongs to no host opens nothing.
func TestNoHost(t *testing.T) {
	for _, n := range []*Net{nil, New(nil), new(Net)} {
		if _, err := (&ListenConfig{Net: n}).listenUDP("udp4", localhost); !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
		if _, err := (&ListenConfig{Net: n}).ListenPacket(t.Context(), "udp4", ":9"); !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
		if _, err := (&Dialer{Net: n}).Dial("ip4:99", "127.0.0.1"); !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	}
	st := lone(t)
	check(t, st.host.(*sockapi.API).Stack().Close())
	for _, call := range []func() error{
		func() error { _, err := st.Dial("udp", "127.0.0.1:9"); return err },
		func() error {
			_, err := st.ListenMulticastUDP("udp", loopback, &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3)})
			return err
		},
		func() error { _, err := st.ListenICMP("udp4", ""); return err },
		func() error { _, err := st.Dial("ip4:99", "127.0.0.1"); return err },
		func() error { _, err := st.ListenPacket("ip4:99", "127.0.0.1"); return err },
	} {
		if err := call(); !errors.Is(err, unix.ENETDOWN) {
			t.Error(err)
		}
	}
}

// TestZeroIPConn calls methods of a connection that nobody has opened.
func TestZeroIPConn(t *testing.T) {
	c, b := new(IPConn), make([]byte, 10)
	_, _, err := c.ReadFrom(b)
	_, _, err1 := c.ReadFromIP(b)
	_, _, _, _, err2 := c.ReadMsgIP(b, nil)
	_, err3 := c.WriteTo(b, &net.IPAddr{})
	_, err4 := c.WriteToIP(b, nil)
	_, _, err5 := c.WriteMsgIP(b, nil, nil)
	_, err6 := c.ReadBatch(make([]ipv4.Message, 1), 0)
	_, err7 := c.WriteBatch(make([]ipv4.Message, 1), 0)
	for i, err := range []error{err, err1, err2, err3, err4, err5, err6, err7} {
		if err != unix.EINVAL {
			t.Errorf("call %d: %v", i, err)
		}
	}
	u := new(UDPConn)
	_, err = u.ReadBatch(make([]ipv4.Message, 1), 0)
	_, err1 = u.WriteBatch(make([]ipv4.Message, 1), 0)
	if err != unix.EINVAL || err1 != unix.EINVAL {
		t.Error(err, err1)
	}
}

// TestDialerTime: Timeout and Deadline end a search, whichever is first, and a dial that comes
// too late.
func TestDialerTime(t *testing.T) {
	n := lone(t)
	for _, d := range []Dialer{{Deadline: past}, {Timeout: time.Hour, Deadline: past}, {Deadline: time.Now().Add(time.Hour), Timeout: -1}} {
		d.Net = n
		_, err := d.Dial("udp", "127.0.0.1:9")
		if e, ok := err.(net.Error); !ok || !e.Timeout() || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	d := Dialer{Net: n, Timeout: time.Hour, Deadline: time.Now().Add(time.Hour)}
	c, err := d.Dial("udp", "127.0.0.1:9")
	check(t, err)
	check(t, c.Close())
}

// TestResolverOfNet asks the resolver for names, and for nothing else; it stops with the context.
func TestResolverOfNet(t *testing.T) {
	n := lone(t)
	var asked atomic.Int32
	n.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	c, err := n.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	check(t, c.Close())
	if asked.Load() != 0 {
		t.Error("it is asked for an address")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := (&Dialer{Net: n}).DialContext(ctx, "udp", "nowhere.example:9"); err == nil || asked.Load() == 0 {
		t.Errorf("%v; asked %d times", err, asked.Load())
	}
}
