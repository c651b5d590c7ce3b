package gonet

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/sockapi"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// TestListenMulticast has two listeners of one host hear a group that another host sends to, as
// many as package net lets have one port, and what is sent to the host itself.
func TestListenMulticast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := hosts(t)
		group := &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3), Port: 5000}
		listen := func(g *net.UDPAddr) *UDPConn {
			c := must[*UDPConn](t)(far.ListenMulticastUDP("udp4", wire(t, far), g))
			t.Cleanup(func() { c.Close() })
			check(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
			return c
		}
		one, two := listen(group), listen(group)
		other := listen(&net.UDPAddr{IP: net.IPv4(239, 1, 2, 4), Port: 5000}) // hears it too, as with package net on Linux
		if got := one.LocalAddr().String(); got != "0.0.0.0:5000" {
			t.Errorf("bound to %s", got)
		}
		c := must[*UDPConn](t)(near.ListenUDP("udp", nil))
		defer c.Close()
		check(t, NewPacketConn(c).SetMulticastInterface(wire(t, near)))
		_, err := c.WriteTo([]byte("hello"), group)
		check(t, err)
		b := make([]byte, 100)
		for _, c := range []*UDPConn{one, two, other} {
			n, from, err := c.ReadFrom(b)
			if err != nil || string(b[:n]) != "hello" || from.(*net.UDPAddr).IP.String() != "10.9.0.1" {
				t.Errorf("%q from %v, %v", b[:n], from, err)
			}
		}
		_, err = one.WriteTo([]byte("from the listener"), group) // is not heard by its own host
		check(t, err)
		for _, c := range []*UDPConn{two, other} {
			check(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
			if n, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q, %v", b[:n], err)
			}
		}
	})
}

// TestSources has a connection hear one source of a group, and another all but one.
func TestSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := hosts(t)
		group := &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3), Port: 5000}
		nearAddr, stranger := &net.IPAddr{IP: net.IPv4(10, 9, 0, 1)}, &net.IPAddr{IP: net.IPv4(10, 9, 0, 7)}
		ifi := wire(t, far)
		for _, tt := range []struct {
			name  string
			join  func(p *PacketConn) error
			heard bool
		}{
			{"the source", func(p *PacketConn) error { return p.JoinSourceSpecificGroup(ifi, group, nearAddr) }, true},
			{"another source", func(p *PacketConn) error { return p.JoinSourceSpecificGroup(ifi, group, stranger) }, false},
			{"all but it", func(p *PacketConn) error {
				return errors.Join(p.JoinGroup(ifi, group), p.ExcludeSourceSpecificGroup(ifi, group, nearAddr))
			}, false},
			{"all but another", func(p *PacketConn) error {
				return errors.Join(p.JoinGroup(ifi, group), p.ExcludeSourceSpecificGroup(ifi, group, stranger))
			}, true},
			{"none any more", func(p *PacketConn) error {
				return errors.Join(p.JoinGroup(ifi, group), p.LeaveGroup(ifi, group))
			}, false},
		} {
			c := must[*UDPConn](t)(far.ListenUDP("udp4", &net.UDPAddr{Port: 5000}))
			p := NewPacketConn(c)
			check(t, tt.join(p))
			check(t, p.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true))
			d := must[*UDPConn](t)(near.DialUDP("udp4", &net.UDPAddr{IP: nearAddr.IP}, group))
			_, err := d.Write([]byte("x"))
			check(t, err)
			check(t, p.SetReadDeadline(time.Now().Add(time.Minute)))
			_, cm, _, err := p.ReadFrom(make([]byte, 10))
			if heard := err == nil; heard != tt.heard {
				t.Errorf("%s: heard %v, %v", tt.name, heard, err)
			} else if heard && (!cm.Dst.Equal(group.IP) || cm.IfIndex != ifi.Index) {
				t.Errorf("%s: %v", tt.name, cm)
			}
			check(t, c.Close())
			check(t, d.Close())
		}
	})
}

// TestSegmentsAndECN sends and receives the control messages that QUIC uses: UDP_SEGMENT cuts
// one write into datagrams, and each comes with the mark of congestion that was sent.
func TestSegmentsAndECN(t *testing.T) {
	a, b := pair(t)
	check(t, b.s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVTOS, 1))
	check(t, b.SetReadDeadline(soon()))
	const ect0 = 2
	oob := sockapi.AppendCmsg(nil, unix.SOL_UDP, unix.UDP_SEGMENT, []byte{4, 0})
	oob = sockapi.AppendCmsgInt(oob, unix.SOL_IP, unix.IP_TOS, ect0)
	n, oobn, err := a.WriteMsgUDP([]byte("abcdefghij"), oob, nil)
	if err != nil || n != 10 || oobn != len(oob) {
		t.Fatalf("%d, %d, %v", n, oobn, err)
	}
	buf, room := make([]byte, 100), make([]byte, 64)
	for _, want := range []string{"abcd", "efgh", "ij"} {
		n, oobn, _, from, err := b.ReadMsgUDP(buf, room)
		check(t, err)
		c, _, ok := sockapi.NextCmsg(room[:oobn])
		if string(buf[:n]) != want || !ok || c.Level != unix.SOL_IP || c.Type != unix.IP_TOS || c.Int()&3 != ect0 || from.Port != 4001 {
			t.Errorf("%q from %v with %+v, want %q", buf[:n], from, c, want)
		}
	}
}
