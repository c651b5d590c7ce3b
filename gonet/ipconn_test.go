package gonet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// echo returns an ICMP echo message.
func echo(typ ipv4.ICMPType, seq int) []byte {
	b, err := (&icmp.Message{Type: typ, Body: &icmp.Echo{ID: 77, Seq: seq, Data: []byte("data")}}).Marshal(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// TestPing has a host answer, as a program with package icmp of golang.org/x/net reads it.
func TestPing(t *testing.T) {
	near, _ := hosts(t)
	c, err := near.ListenPacket("ip4:icmp", "10.9.0.1")
	check(t, err)
	defer c.Close()
	check(t, c.SetReadDeadline(soon()))
	p := NewPacketConn(c.(*IPConn))
	var f ipv4.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv4.ICMPTypeEchoReply)
	check(t, p.SetICMPFilter(&f))
	if got, err := p.ICMPFilter(); err != nil || *got != f {
		t.Errorf("filter %v, %v, want %v", got, err, f)
	}
	check(t, p.SetControlMessage(ipv4.FlagTTL, true))
	far := &net.IPAddr{IP: net.IPv4(10, 9, 0, 2)}
	buf := make([]byte, 1500)
	for seq := range 4 {
		_, err := c.WriteTo(echo(ipv4.ICMPTypeEcho, seq), far)
		check(t, err)
		var n int
		var from net.Addr
		switch seq {
		case 0:
			n, from, err = c.ReadFrom(buf)
		case 1:
			var cm *ipv4.ControlMessage
			n, cm, from, err = p.ReadFrom(buf)
			if cm == nil || cm.TTL != 64 {
				t.Errorf("control message %v", cm)
			}
		case 2:
			n, _, _, from, err = c.(*IPConn).ReadMsgIP(buf, nil)
			n = stripHeader(n, buf)
		default:
			ms := []ipv4.Message{{Buffers: [][]byte{buf}}}
			if _, err = p.ReadBatch(ms, 0); err == nil {
				n, from = stripHeader(ms[0].N, buf), ms[0].Addr
			}
		}
		check(t, err)
		m, err := icmp.ParseMessage(1, buf[:n])
		check(t, err)
		if e, ok := m.Body.(*icmp.Echo); !ok || m.Type != ipv4.ICMPTypeEchoReply || e.Seq != seq || from.String() != "10.9.0.2" {
			t.Errorf("%v %+v from %v", m.Type, m.Body, from)
		}
	}
}

// ipMethods are the methods of *net.IPConn that an IPConn has too.
type ipMethods interface {
	net.Conn
	net.PacketConn
	ReadFromIP(b []byte) (int, *net.IPAddr, error)
	ReadMsgIP(b, oob []byte) (n, oobn, flags int, addr *net.IPAddr, err error)
	WriteToIP(b []byte, addr *net.IPAddr) (int, error)
	WriteMsgIP(b, oob []byte, addr *net.IPAddr) (n, oobn int, err error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// TestIPConnAsNet compares with package net's, over loopback.
func TestIPConnAsNet(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("raw sockets of the kernel need root")
	}
	lo := &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}
	script := func(l *log, listen func(network string, laddr *net.IPAddr) (ipMethods, error),
		dial func(network string, laddr, raddr *net.IPAddr) (ipMethods, error)) {
		c, err := listen("ip4:99", lo)
		check(t, err)
		defer c.Close()
		d, err := dial("ip4:99", nil, lo)
		check(t, err)
		defer d.Close()
		l.add("%T %v %v, %T %v %T %v", c.LocalAddr(), c.LocalAddr(), c.RemoteAddr(), d.LocalAddr(), d.LocalAddr(), d.RemoteAddr(), d.RemoteAddr())
		check(t, c.SetReadDeadline(soon()))
		b := make([]byte, 100)
		for i := range 4 {
			n, err := d.Write([]byte("hello"))
			l.add("Write: %d %s", n, describe(err))
			switch i {
			case 0:
				n, err := c.Read(b)
				l.add("Read: %d %s", n, describe(err))
			case 1:
				n, from, err := c.ReadFrom(b)
				l.add("ReadFrom: %q %T %v %s", b[:n], from, from, describe(err))
			case 2:
				n, from, err := c.ReadFromIP(b[:22])
				l.add("ReadFromIP: %q %v %s", b[:n], from, describe(err))
			default:
				n, oobn, flags, from, err := c.ReadMsgIP(b[:22], nil)
				l.add("ReadMsgIP: %d %d %#x %v %s", n, oobn, flags, from, describe(err))
			}
		}
		for _, to := range []*net.IPAddr{nil, {IP: net.IPv6loopback}, lo} {
			for _, c := range []ipMethods{c, d} {
				n, err := c.WriteTo([]byte("x"), to)
				l.add("WriteTo %v: %d %s", to, n, describe(err))
				n, oobn, err := c.WriteMsgIP([]byte("x"), nil, to)
				l.add("WriteMsgIP %v: %d %d %s", to, n, oobn, describe(err))
			}
		}
		n, err := c.WriteTo([]byte("x"), &net.UDPAddr{})
		l.add("WriteTo another address: %d %s", n, describe(err))
		check(t, c.SetDeadline(past))
		_, _, err = c.ReadFrom(b)
		l.add("too late: %s", describe(err))
		_, err = c.WriteTo(b, lo)
		l.add("too late: %s", describe(err))
		check(t, c.Close())
		_, _, _, from, err := c.ReadMsgIP(b, nil)
		l.add("closed: %v %s", from, describe(err))
		for _, network := range []string{"ip4:icmp", "ip4:ICMP", "ip:1", "ip4", "ip4:nothing", "udp4", "ip4:-1", "ip4:99999", "ip4:"} {
			c, err := listen(network, lo)
			l.add("%s: %s", network, describe(err))
			if err == nil {
				c.Close()
			}
			_, err = dial(network, nil, nil)
			l.add("dial %s: %s", network, describe(err))
		}
		_, err = listen("ip4:99", &net.IPAddr{IP: net.IPv4(192, 0, 2, 1)})
		l.add("not ours: %s", describe(err))
		_, err = dial("ip4:99", &net.IPAddr{IP: net.IPv4(192, 0, 2, 1)}, lo)
		l.add("not ours: %s", describe(err))
	}
	theirs, ours := &log{t: t}, &log{t: t}
	script(theirs, func(network string, laddr *net.IPAddr) (ipMethods, error) { return net.ListenIP(network, laddr) },
		func(network string, laddr, raddr *net.IPAddr) (ipMethods, error) {
			return net.DialIP(network, laddr, raddr)
		})
	n := lone(t)
	script(ours, func(network string, laddr *net.IPAddr) (ipMethods, error) { return n.ListenIP(network, laddr) },
		func(network string, laddr, raddr *net.IPAddr) (ipMethods, error) {
			return n.DialIP(network, laddr, raddr)
		})
	for i := range theirs.lines {
		if theirs.lines[i] != ours.lines[i] {
			t.Errorf("package net: %s\nours:        %s", theirs.lines[i], ours.lines[i])
		}
	}
}

// TestDialIP dials by name of a network.
func TestDialIP(t *testing.T) {
	n := lone(t)
	c, err := (&Dialer{Net: n, LocalAddr: &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}}).Dial("ip4:99", "127.0.0.2")
	check(t, err)
	defer c.Close()
	if c.LocalAddr().String() != "127.0.0.1" || c.RemoteAddr().String() != "127.0.0.2" {
		t.Errorf("%v to %v", c.LocalAddr(), c.RemoteAddr())
	}
	if _, err := (&Dialer{Net: n, LocalAddr: localhost}).Dial("ip4:99", "127.0.0.2"); err == nil {
		t.Error("an address of UDP is taken")
	}
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	ip := must[*IPConn](t)((&Dialer{Net: n}).DialIP(t.Context(), "ip4:99", one, two))
	defer ip.Close()
	udp := must[*UDPConn](t)((&Dialer{Net: n}).DialUDP(t.Context(), "udp", netip.AddrPortFrom(one, 7), netip.AddrPortFrom(two, 9)))
	defer udp.Close()
	chosen := must[*UDPConn](t)((&Dialer{Net: n}).DialUDP(t.Context(), "udp", netip.AddrPort{}, netip.AddrPortFrom(two, 9)))
	defer chosen.Close()
	if got := fmt.Sprint(ip.LocalAddr(), ip.RemoteAddr(), udp.LocalAddr(), udp.RemoteAddr(), chosen.RemoteAddr()); got != "127.0.0.1 127.0.0.2 127.0.0.1:7 127.0.0.2:9 127.0.0.2:9" {
		t.Error(got)
	}
}

// TestListenICMP pings by a socket that sees echo replies only.
func TestListenICMP(t *testing.T) {
	near, _ := hosts(t)
	for network, far := range map[string]net.Addr{
		"udp4":     &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2)},
		"ip4:icmp": &net.IPAddr{IP: net.IPv4(10, 9, 0, 2)},
	} {
		c, err := near.ListenICMP(network, "10.9.0.1")
		check(t, err)
		check(t, c.SetReadDeadline(soon()))
		_, err = c.WriteTo(echo(ipv4.ICMPTypeEcho, 5), far)
		check(t, err)
		buf := make([]byte, 100)
		n, from, err := c.ReadFrom(buf)
		check(t, err)
		m, err := icmp.ParseMessage(1, buf[:n])
		check(t, err)
		if e, ok := m.Body.(*icmp.Echo); !ok || m.Type != ipv4.ICMPTypeEchoReply || e.Seq != 5 {
			t.Errorf("%s: %v %+v from %v", network, m.Type, m.Body, from)
		}
		check(t, c.Close())
	}
	for _, network := range []string{"udp6", "udp", "tcp", "ip4:nothing"} {
		if c, err := near.ListenICMP(network, "10.9.0.1"); err == nil {
			t.Errorf("%s: %T", network, c)
		}
	}
	for _, address := range []string{"10.9.0.7", "::1"} {
		if _, err := near.ListenICMP("udp4", address); err == nil {
			t.Error(address)
		}
	}
}

// TestStripHeader takes headers off that are whole, and leaves what has none.
func TestStripHeader(t *testing.T) {
	header := func(first byte, size int) []byte {
		b := make([]byte, size)
		b[0] = first
		return b
	}
	for _, tt := range []struct {
		b    []byte
		want int
	}{
		{header(0x45, 20), 0}, {header(0x45, 30), 10}, {header(0x46, 30), 6}, {header(0x4f, 60), 0},
		{header(0x46, 20), 20}, {header(0x45, 19), 19}, {header(0x44, 30), 30}, {header(0x65, 30), 30}, {nil, 0},
	} {
		if got := stripHeader(len(tt.b), tt.b); got != tt.want {
			t.Errorf("%d bytes that begin with %x: %d are left, want %d", len(tt.b), tt.b[:min(1, len(tt.b))], got, tt.want)
		}
	}
}
