package gonet

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// soon is when a test gives up.
func soon() time.Time { return time.Now().Add(20 * time.Second) }

func TestErrorsAfterDeadline(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c := l.listen(w)
		l.writesTo(c, []byte("is there"), c.LocalAddr().(*net.UDPAddr))
		check(t, c.SetDeadline(past))
		l.reads(c, 10)
		l.writesTo(c, []byte("x"), c.LocalAddr().(*net.UDPAddr))
		d := l.dialTo(w, c.LocalAddr())
		check(t, d.SetDeadline(past))
		l.reads(d, 10)
		l.writes(d, []byte("x"))
		check(t, d.SetWriteDeadline(time.Time{}))
		l.writes(d, []byte("x"))
		n, err := d.Read(nil)
		l.add("Read of nothing: %d %s", n, describe(err))
	})
}

func TestErrorsAfterClose(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c := l.listen(w)
		d := l.dialTo(w, c.LocalAddr())
		to := c.LocalAddr().(*net.UDPAddr)
		for _, c := range []udpMethods{c, d} {
			l.add("Close: %s", describe(c.Close()))
			l.add("and again: %s", describe(c.Close()))
			l.reads(c, 10)
			l.reads(c, 0)
			l.writesTo(c, []byte("x"), to)
			l.writes(c, []byte("x"))
			l.sets(c)
			l.add("%v %v", c.LocalAddr(), c.RemoteAddr())
		}
	})
}

// TestErrorsOfNone calls methods of a connection that nobody has opened.
func TestErrorsOfNone(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c := w.none
		l.reads(c, 10)
		l.writesTo(c, []byte("x"), localhost)
		l.writes(c, []byte("x"))
		l.sets(c)
		l.add("%v %v %s", c.LocalAddr(), c.RemoteAddr(), describe(c.Close()))
	})
}

func TestErrorsOfWrites(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c := l.listen(w)
		d := l.dialTo(w, c.LocalAddr())
		l.writesTo(d, []byte("to another one"), c.LocalAddr().(*net.UDPAddr)) // ErrWriteToConnected
		l.writes(c, []byte("to nobody"))
		for _, to := range []*net.UDPAddr{nil, {}, {Port: 9}, {IP: net.IPv6loopback, Port: 9}, {IP: net.IPv4(127, 0, 0, 1).To16(), Port: 9},
			{IP: net.IP{1, 2, 3}, Port: 9}, {IP: net.IPv4(127, 0, 0, 1)}} {
			l.add("to %v", to)
			l.writesTo(c, []byte("x"), to)
		}
		long := make([]byte, 65508)
		l.writesTo(c, long, c.LocalAddr().(*net.UDPAddr))
		l.writes(d, long)
		for _, to := range []net.Addr{nil, &net.TCPAddr{}, (*net.UDPAddr)(nil)} {
			n, err := c.WriteTo([]byte("x"), to)
			l.add("WriteTo %T: %d %s", to, n, describe(err))
		}
		for _, port := range []int{-1, 65536} {
			n, err := c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			l.add("port %d: %d %s", port, n, describe(err))
		}
		n, oobn, err := c.WriteMsgUDP([]byte("x"), []byte("no control message."), c.LocalAddr().(*net.UDPAddr))
		l.add("bad control message: %d %d %s", n, oobn, describe(err))
		n, err = c.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(netip.MustParseAddr("::1"), 9))
		l.add("IPv6: %d %s", n, describe(err))
	})
}

// TestErrorsOfPeer has nobody be there: the peer's host says so.
func TestErrorsOfPeer(t *testing.T) {
	theSame(t, func(l *log, w world) {
		gone := l.listen(w)
		check(t, gone.Close())
		d := l.dialTo(w, gone.LocalAddr())
		check(t, d.SetReadDeadline(soon()))
		b := make([]byte, 10)
		for range 2 {
			n, err := d.Write([]byte("x"))
			l.add("Write: %d %s", n, describe(err))
			n, err = d.Read(b)
			l.add("Read: %d %s", n, describe(err))
		}
		d.Write([]byte("x"))
		n, _, err := d.ReadFrom(b)
		l.add("ReadFrom: %d %s", n, describe(err))
		d.Write([]byte("x"))
		_, _, _, ap, err := d.ReadMsgUDPAddrPort(b, nil)
		l.add("ReadMsgUDPAddrPort: %v %s", ap, describe(err))

		c := l.listen(w) // who has no peer hears nothing
		n, err = c.WriteTo([]byte("x"), gone.LocalAddr())
		l.add("WriteTo: %d %s", n, describe(err))
		n, err = c.WriteTo([]byte("x"), gone.LocalAddr())
		l.add("WriteTo: %d %s", n, describe(err))
	})
}

func TestErrorsOfListen(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c := l.listen(w)
		taken := c.LocalAddr().(*net.UDPAddr)
		for _, tt := range []struct {
			network string
			laddr   *net.UDPAddr
		}{{"udp4", taken}, {"tcp", taken}, {"", nil}, {"udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9}},
			{"udp4", &net.UDPAddr{IP: net.IPv6loopback, Port: 9}}, {"udp4", &net.UDPAddr{IP: net.IPv6unspecified}},
			{"udp4", &net.UDPAddr{Port: 65536}}, {"udp4", nil}, {"udp4", &net.UDPAddr{}}, {"udp", localhost},
			{"udp4", &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3)}}, {"udp4", &net.UDPAddr{IP: net.IP{1, 2, 3}}}} {
			c, err := w.listenUDP(tt.network, tt.laddr)
			l.add("%s %v: %s", tt.network, tt.laddr, describe(err))
			if err == nil {
				l.add("%T %s %v, an IP of %d bytes", c.LocalAddr(), c.LocalAddr(), c.RemoteAddr(), len(c.LocalAddr().(*net.UDPAddr).IP))
				check(t, c.Close())
			}
		}
		for _, group := range []*net.UDPAddr{nil, {}, localhost, {IP: net.IPv4(239, 1, 2, 3), Port: 9}} {
			if group != nil && group.IP.IsMulticast() {
				continue // the host may have no route to groups
			}
			_, err := w.listenGroup("udp4", nil, group)
			l.add("group %v: %s", group, describe(err))
		}
		_, err := w.listenGroup("tcp", nil, localhost)
		l.add("group of tcp: %s", describe(err))
	})
}

func TestErrorsOfAddresses(t *testing.T) {
	theSame(t, func(l *log, w world) {
		for _, tt := range [][2]string{{"udp4", "127.0.0.1:0"}, {"udp", "127.0.0.1:0"}, {"udp4", ":0"}, {"udp4", ""},
			{"udp4", "localhost:0"}, {"udp4", "[::ffff:127.0.0.1]:0"}, {"udp4", "127.0.0.1"}, {"udp4", "1:2:3"},
			{"udp4", "[::1]:0"}, {"udp4", "127.0.0.1:nosuchservice"}, {"udp4", "127.0.0.1:65536"}, {"udp4", "127.0.0.1:-1"},
			{"udp6", "127.0.0.1:0"}, {"udp5", "127.0.0.1:0"}, {"udp4", "192.0.2.1:9"}, {"udp4", "127.0.0.1:"}} {
			c, err := w.listenPacket(tt[0], tt[1])
			l.add("ListenPacket %s: %s", tt, describe(err))
			if err == nil {
				l.add("%v", c.LocalAddr())
				check(t, c.Close())
			}
		}
		for _, tt := range []struct {
			network, address string
			local            net.Addr
		}{{"udp4", "127.0.0.1:9", nil}, {"udp", "127.0.0.1:9", localhost}, {"udp4", "", nil}, {"udp4", "127.0.0.1", nil},
			{"udp4", ":9", nil}, {"udp4", "127.0.0.1:9", &net.TCPAddr{}}, {"nothing", "127.0.0.1:9", nil},
			{"udp4", "127.0.0.1:9", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)}}, {"udp4", "127.0.0.1:domain", nil},
			{"udp4", "[::1]:9", nil}, {"udp4", "0.0.0.0:9", nil}, {"udp4", "127.0.0.1:0", nil}} {
			c, err := w.dial(t.Context(), tt.network, tt.address, tt.local)
			l.add("Dial %s %s from %v: %s", tt.network, tt.address, tt.local, describe(err))
			if err == nil {
				l.add("%T %v %T %v, the former with an IP of %d bytes", c.LocalAddr(), c.LocalAddr(), c.RemoteAddr(), c.RemoteAddr(), len(c.LocalAddr().(*net.UDPAddr).IP))
				check(t, c.Close())
			}
		}
		for _, raddr := range []*net.UDPAddr{nil, {Port: 9}, {IP: net.IPv6loopback, Port: 9}} {
			_, err := w.dialUDP("udp4", nil, raddr)
			l.add("DialUDP %v: %s", raddr, describe(err))
			_, err = w.dialUDP("tcp", localhost, raddr)
			l.add("DialUDP of tcp %v: %s", raddr, describe(err))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.dial(ctx, "udp4", "127.0.0.1:9", nil)
		l.add("canceled: %s", describe(err))
		ctx, cancel = context.WithDeadline(t.Context(), past)
		defer cancel()
		_, err = w.dial(ctx, "udp4", "127.0.0.1:9", nil)
		l.add("too late: %s", describe(err))
	})
}

// TestDatagramsAreCut reads with too little room, and datagrams without a payload.
func TestDatagramsAreCut(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c := l.listen(w)
		d := l.dialTo(w, c.LocalAddr())
		check(t, c.SetReadDeadline(soon()))
		for _, tt := range []struct{ size, room int }{{5, 10}, {5, 5}, {5, 4}, {0, 10}} {
			for range readMethods {
				n, err := d.Write(make([]byte, tt.size))
				l.add("Write: %d %s", n, describe(err))
			}
			l.reads(c, tt.room)
		}
		for _, b := range []string{"first", "second"} {
			d.Write([]byte(b))
		}
		n, err := c.Read(nil)
		l.add("Read of nothing: %d %s", n, describe(err))
		n, _, err = c.ReadFrom(nil)
		l.add("ReadFrom of nothing: %d %s", n, describe(err))
		b := make([]byte, 10)
		n, err = c.Read(b)
		l.add("then: %q %s", b[:n], describe(err))
		l.writesTo(c, nil, d.LocalAddr().(*net.UDPAddr))
		l.writes(d, nil)
	})
}
