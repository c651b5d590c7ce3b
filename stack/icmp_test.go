package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

func TestEchoIsAnswered(t *testing.T) {
	for _, n := range []int{0, 1, 56, 1472, 1473, 8000, 65507} {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			req := icmp.AppendEcho(nil, icmp.Echo, 0x1234, 5, payload(n))
			for at := 0; at < len(req); at += 1480 {
				end := min(at+1480, len(req))
				w.far.Send(ip(ipv4.Fields{ID: 3, TOS: 0x10, Protocol: 1, FragmentOffset: at, MoreFragments: end < len(req)}, req[at:end]))
			}
			w.settle()
			var got []byte
			for _, f := range w.sentIP() {
				h, p, c := ipv4.Parse(f.data[output.IPOffset:])
				if c != ipv4.CauseNone || h.FragmentOffset() != len(got) || h.Src() != near4 || h.Dst() != far4 || h.TOS() != 0x10 {
					t.Fatalf("%d bytes: bad reply packet %x", n, f.data[:34])
				}
				got = append(got, p...)
			}
			m, c := icmp.Parse(got)
			if c != icmp.CauseNone || m.Type() != icmp.EchoReply || m.Ident() != 0x1234 || m.Seq() != 5 || !bytes.Equal(m.Data(), payload(n)) {
				t.Fatalf("echo of %d bytes: %d bytes came back (%v)", n, len(got), c)
			}
			w.grew("IcmpInEchos", 1)
			w.grew("IcmpOutEchoReps", 1)
		})
	}
}

func TestTimestampIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		req := icmp.AppendEcho(nil, icmp.Timestamp, 7, 9, []byte{0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 0})
		w.feed(icmpFrom(req))
		_, p := w.one()
		m, _ := icmp.Parse(p)
		ms := time.Now().UTC().Sub(time.Now().UTC().Truncate(24 * time.Hour)).Milliseconds()
		d := m.Data()
		if m.Type() != icmp.TimestampReply || m.Ident() != 7 || m.Seq() != 9 || !bytes.Equal(d[:4], []byte{0, 0, 0, 42}) {
			t.Fatalf("reply %x", p)
		}
		for _, at := range []int{4, 8} {
			if v := int64(binary.BigEndian.Uint32(d[at:])); v < ms-5 || v > ms+5 {
				t.Errorf("time %d, want %d ms since midnight", v, ms)
			}
		}
	})
}

func TestBroadcastEchoIsNotAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		for _, dst := range []ipv4.Addr{{10, 9, 0, 255}, {255, 255, 255, 255}, {224, 0, 0, 1}} {
			for _, typ := range []uint8{icmp.Echo, icmp.Timestamp} {
				w.feed(ip(ipv4.Fields{Protocol: 1, Dst: dst}, icmp.AppendEcho(nil, typ, 1, 1, make([]byte, 12))))
			}
		}
		w.silent()
	})
}

func TestUnreachables(t *testing.T) {
	port := datagram(far4, near4, 7, 99, payload(1000))
	toAll := func(dst ipv4.Addr) []byte { return ip(ipv4.Fields{Dst: dst}, datagram(far4, dst, 7, 99, []byte("x"))) }
	bcast := udpFrom(7, 99, "x")
	copy(bcast, ether.Broadcast[:])
	for _, c := range []struct {
		name  string
		frame []byte
		code  int // -1: no error
	}{
		{"port", ip(ipv4.Fields{}, port), icmp.CodePort},
		{"protocol", ip(ipv4.Fields{Protocol: 132}, port), icmp.CodeProtocol},
		{"port, broadcast", toAll(ipv4.Addr{10, 9, 0, 255}), -1},
		{"port, limited broadcast", toAll(ipv4.Addr{255, 255, 255, 255}), -1},
		{"port, multicast", toAll(ipv4.Addr{224, 0, 0, 1}), -1},
		{"port, broadcast frame", bcast, -1},
		{"protocol, later fragment", ip(ipv4.Fields{Protocol: 132, FragmentOffset: 800}, port[800:]), -1},
		{"about an error", icmpError(icmp.DestinationUnreachable, 3, 0, ip(ipv4.Fields{}, port)[14:]), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				w.feed(c.frame)
				if c.code < 0 {
					w.silent()
					return
				}
				h, p := w.one()
				m, cause := icmp.Parse(p)
				if cause != icmp.CauseNone || m.Type() != icmp.DestinationUnreachable || int(m.Code()) != c.code || m.Rest() != 0 {
					t.Fatalf("message %x", p[:8])
				}
				if q := m.Data(); len(q) != icmp.MaxQuote || !bytes.HasPrefix(c.frame[output.IPOffset:], q) {
					t.Errorf("quotes %d bytes", len(q))
				}
				if h.TOS() != 0xc0 || h.Dst() != far4 || h.Src() != near4 || h.TTL() != 64 {
					t.Errorf("header %x", []byte(h))
				}
				w.grew("IcmpOutDestUnreachs", 1)
			})
		})
	}
}

func TestErrorsAreRateLimited(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		time.Sleep(10 * time.Second)
		w.mark()
		for range 20 {
			w.feed(udpFrom(7, 99, "x"))
		}
		if n := len(w.sentIP()); n != 6 {
			t.Errorf("%d errors to one host at once, want 6", n)
		}
		w.grew("IcmpOutRateLimitHost", 14)
		time.Sleep(time.Second)
		w.feed(udpFrom(7, 99, "x"), udpFrom(7, 99, "x"))
		if n := len(w.sentIP()); n != 1 {
			t.Errorf("%d errors a second later, want 1", n)
		}
		w.feed(icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, 1, nil)))
		if n := len(w.sentIP()); n != 1 {
			t.Errorf("%d echo replies, want 1: they are not limited", n)
		}
	})
}

// TestErrorsToSockets has sockets send, and gives them errors about it.
func TestErrorsToSockets(t *testing.T) {
	type how struct{ connected, recvErr bool }
	all := map[string]how{
		"connected": {true, false}, "connected, IP_RECVERR": {true, true},
		"unconnected": {false, false}, "unconnected, IP_RECVERR": {false, true},
	}
	for _, c := range []struct {
		name      string
		typ, code uint8
		want      unix.Errno
		hard      bool // else only with IP_RECVERR
	}{
		{"port", 3, 3, unix.ECONNREFUSED, true},
		{"protocol", 3, 2, unix.ENOPROTOOPT, true},
		{"host", 3, 1, unix.EHOSTUNREACH, false},
		{"net", 3, 0, unix.ENETUNREACH, false},
		{"filtered", 3, 13, unix.EHOSTUNREACH, true},
		{"TTL", 11, 0, unix.EHOSTUNREACH, false},
		{"parameter", 12, 0, unix.EPROTO, true},
		{"reassembly", 11, 1, 0, false},
		{"source quench", 4, 0, 0, false},
		{"code that does not exist", 3, 99, 0, false},
	} {
		for kind, h := range all {
			t.Run(c.name+" to "+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *wire) {
					w.resolved()
					k := w.socket("10.9.0.1:9", "")
					k.Errors().SetRecvErr(h.recvErr)
					to := netip.MustParseAddrPort("10.9.0.2:7")
					if h.connected {
						if err := k.Connect(to); err != nil {
							t.Fatal(err)
						}
					}
					if err := k.SendTo([]byte("x"), 0, NoDeadline, to); err != nil {
						t.Fatal(err)
					}
					sent := w.sentIP()[0].data
					w.feed(icmpError(c.typ, c.code, 0, sent[output.IPOffset:]))
					want := c.want
					if !h.recvErr && !(h.connected && c.hard) {
						want = 0
					}
					if e := k.Errors().Take(); e != want {
						t.Errorf("SO_ERROR: %v, want %v", e, want)
					}
				})
			})
		}
	}
}

// TestForgedErrors gives a connected socket errors about what it did not send.
func TestForgedErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		forge func(quoted []byte) []byte
	}{
		{"another destination", func(q []byte) []byte { return with(q, 16, 10, 9, 0, 3) }},
		{"another destination port", func(q []byte) []byte { return with(q, 22, 0, 8) }},
		{"another source port", func(q []byte) []byte { return with(q, 20, 9, 9) }},
		{"another source", func(q []byte) []byte { return with(q, 12, 10, 9, 0, 7) }},
		{"source broadcast", func(q []byte) []byte { return with(q, 12, 255, 255, 255, 255) }},
		{"another protocol", func(q []byte) []byte { return with(q, 9, 6) }},
		{"ping", func(q []byte) []byte { return with(q, 9, 1) }},
		{"no port quoted", func(q []byte) []byte { return q[:20] }},
		{"7 bytes quoted", func(q []byte) []byte { return q[:27] }},
		{"header length 60", func(q []byte) []byte { return with(q, 0, 0x4f) }},
	} {
		for _, code := range []uint8{icmp.CodePort, icmp.CodeFragmentation} {
			t.Run(c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *wire) {
					w.resolved()
					k := w.socket("10.9.0.1:9", "10.9.0.2:7")
					k.Errors().SetRecvErr(true)
					w.send(k, payload(1400))
					q := w.sentIP()[0].data[output.IPOffset:]
					w.feed(icmpError(icmp.DestinationUnreachable, code, 600, c.forge(q)[:min(len(c.forge(q)), 548)]))
					if e := k.Errors().Take(); e != 0 {
						t.Errorf("SO_ERROR: %v", e)
					}
					if mtu, _ := k.PathMTU(); mtu != 1500 {
						t.Errorf("path MTU %d", mtu)
					}
					w.grew("OutbandDropICMPUnvalidated", 1)
				})
			})
		}
	}
}

func TestPathMTUDiscovery(t *testing.T) {
	needed := func(w *wire, mtu int) {
		t := w.t
		t.Helper()
		f := w.sentIP()
		if len(f) == 0 {
			t.Fatal("nothing was sent")
		}
		q := f[len(f)-1].data[output.IPOffset:]
		if q[6]&0x40 == 0 {
			t.Fatal("the datagram may be fragmented")
		}
		w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, icmp.FragmentationRest(mtu), q))
	}
	t.Run("genuine", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			w.send(k, payload(1472))
			needed(w, 1000)
			if err := k.Send(payload(1472), 0, NoDeadline); err != unix.EMSGSIZE {
				t.Fatalf("the next Send: %v, want the pending EMSGSIZE", err)
			}
			w.send(k, payload(1472))
			got := w.sentIP()
			if len(got) != 2 || len(got[0].data) > 1014 {
				t.Fatalf("%d frames, the first of %d bytes; want two fragments of up to 1000", len(got), len(got[0].data))
			}
			if mtu, _ := k.PathMTU(); mtu != 1000 {
				t.Errorf("IP_MTU %d, want 1000", mtu)
			}
			other := w.socket("", "10.9.0.3:7")
			if mtu, _ := other.PathMTU(); mtu != 1500 {
				t.Errorf("IP_MTU to another host %d", mtu)
			}
			time.Sleep(11 * time.Minute)
			if mtu, _ := k.PathMTU(); mtu != 1500 {
				t.Errorf("IP_MTU 11 minutes later %d, want it forgotten", mtu)
			}
		})
	})
	t.Run("old router", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			w.send(k, payload(1472))
			needed(w, 0)
			if mtu, _ := k.PathMTU(); mtu != 552 {
				t.Errorf("IP_MTU %d, want the floor", mtu)
			}
		})
	})
	t.Run("below the floor", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			w.send(k, payload(1472))
			needed(w, 68)
			if mtu, _ := k.PathMTU(); mtu != 552 {
				t.Errorf("IP_MTU %d, want the floor", mtu)
			}
		})
	})
	// Quotes come with the lengths of GSO packets, and in other byte orders: as in
	// Linux what a quote says of its length is no bound.
	t.Run("larger than what was sent", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			w.send(k, payload(100))
			needed(w, 600)
			if mtu, _ := k.PathMTU(); mtu != 600 {
				t.Errorf("IP_MTU %d, want 600", mtu)
			}
		})
	})
	t.Run("IP_PMTUDISC_DO", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			k.SetMTUDiscover(unix.IP_PMTUDISC_DO)
			w.send(k, payload(1472))
			needed(w, 1000)
			k.Errors().Take()
			for _, c := range []struct {
				n    int
				want error
			}{{973, unix.EMSGSIZE}, {972, nil}, {1472, unix.EMSGSIZE}} {
				if err := k.Send(payload(c.n), 0, NoDeadline); err != c.want {
					t.Errorf("Send of %d bytes: %v, want %v", c.n, err, c.want)
				}
			}
		})
	})
	t.Run("IP_PMTUDISC_PROBE", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			w.send(k, payload(1472))
			needed(w, 1000)
			k.Errors().Take()
			k.SetMTUDiscover(unix.IP_PMTUDISC_PROBE)
			w.send(k, payload(1472))
			if h, p := w.one(); len(p) != 1480 || !h.DontFragment() {
				t.Errorf("%d bytes, DF %v; want all of it with DF", len(p), h.DontFragment())
			}
		})
	})
	t.Run("IP_PMTUDISC_DONT", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			k.SetMTUDiscover(unix.IP_PMTUDISC_DONT)
			w.send(k, payload(1472))
			if h, _ := w.one(); h.DontFragment() {
				t.Error("DF is set")
			}
		})
	})
}

func TestUnconnectedServerLearnsPathMTUs(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		const peers = 40
		var q [][]byte
		for i := range peers {
			a := netip.AddrFrom4(ipv4.Addr{10, 9, 0, byte(10 + i)})
			if err := w.ifc.SetNeighbour(a, farMAC, 0x80); err != nil {
				t.Fatal(err)
			}
			if err := k.SendTo(payload(1472), 0, NoDeadline, netip.AddrPortFrom(a, 7)); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range w.sentIP() {
			q = append(q, f.data[output.IPOffset:])
		}
		for _, q := range q {
			w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, 1000, q))
		}
		learnt := 0
		for i := range peers {
			c := w.socket("", netip.AddrPortFrom(netip.AddrFrom4(ipv4.Addr{10, 9, 0, byte(10 + i)}), 7).String())
			if mtu, _ := c.PathMTU(); mtu == 1000 {
				learnt++
			}
		}
		if learnt != peers {
			t.Errorf("the path MTU of %d of %d peers was learnt", learnt, peers)
		}
	})
}

func TestPingSocket(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k, err := w.s.NewPingSocket()
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Bind(netip.MustParseAddrPort("10.9.0.1:77")); err != nil {
			t.Fatal(err)
		}
		to := netip.MustParseAddrPort("10.9.0.2:0")
		req := icmp.AppendEcho(nil, icmp.Echo, 0, 3, []byte("ping"))
		if err := k.SendTo(req, 0, NoDeadline, to); err != nil {
			t.Fatal(err)
		}
		_, p := w.one()
		if m, c := icmp.Parse(p); c != icmp.CauseNone || m.Ident() != 77 || m.Seq() != 3 || string(m.Data()) != "ping" {
			t.Fatalf("sent %x", p)
		}
		reply := icmp.AppendEcho(nil, icmp.EchoReply, 77, 3, []byte("ping"))
		w.feed(icmpFrom(icmp.AppendEcho(nil, icmp.EchoReply, 78, 3, []byte("ping"))), icmpFrom(reply))
		w.got(k, string(reply))
		w.empty(k)
		for name, b := range map[string][]byte{"reply": reply, "too short": req[:7], "code": with(req, 1, 1)} {
			if err := k.SendTo(b, 0, NoDeadline, to); err != unix.EINVAL {
				t.Errorf("%s: %v, want EINVAL", name, err)
			}
		}
		w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodeHost, 0, ip(ipv4.Fields{Src: near4, Dst: far4, Protocol: 1}, p)[output.IPOffset:]))
		if e := k.Errors().Take(); e != 0 {
			t.Errorf("SO_ERROR %v without IP_RECVERR", e)
		}
		k.Close()
	})
}

// TestSelfPing pings an address of the stack's own: both ways are local.
func TestSelfPing(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		for _, dst := range []string{"127.0.0.1:0", "10.9.0.1:0"} {
			k, err := w.s.NewPingSocket()
			if err != nil {
				t.Fatal(err)
			}
			req := icmp.AppendEcho(nil, icmp.Echo, 0, 3, payload(5000))
			if err := k.SendTo(req, 0, NoDeadline, netip.MustParseAddrPort(dst)); err != nil {
				t.Fatal(err)
			}
			s, err := try(k)
			if err != nil || s[0] != icmp.EchoReply || s[8:] != string(payload(5000)) {
				t.Fatalf("%s: %d bytes, %v", dst, len(s), err)
			}
			k.Close()
		}
		if n := len(w.sentIP()); n != 0 {
			t.Errorf("%d packets left", n)
		}
	})
}

// TestErrorsToSeveral addresses errors and replies to a broadcast and to a group: they
// mean nothing (RFC 1122, 3.2.2). Requests have no answer but are in order.
func TestErrorsToSeveral(t *testing.T) {
	for _, dst := range []ipv4.Addr{{10, 9, 0, 255}, {255, 255, 255, 255}, {224, 0, 0, 1}} {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("10.9.0.1:9", "10.9.0.2:7")
			ping, err := w.s.NewPingSocket()
			check(t, err)
			check(t, ping.Bind(netip.MustParseAddrPort("0.0.0.0:77")))
			w.send(k, payload(1400))
			quoted := w.sentIP()[0].data[output.IPOffset:]
			for _, m := range [][]byte{
				icmp.AppendError(nil, icmp.DestinationUnreachable, icmp.CodePort, 0, quoted),
				icmp.AppendError(nil, icmp.DestinationUnreachable, icmp.CodeFragmentation, icmp.FragmentationRest(600), quoted),
				icmp.AppendEcho(nil, icmp.EchoReply, 77, 1, []byte("x")),
			} {
				w.feed(ip(ipv4.Fields{Src: far4, Dst: dst, Protocol: ipv4.ProtocolICMP}, m))
			}
			if e := k.Errors().Take(); e != 0 {
				t.Errorf("to %v: the socket is told %v", dst, e)
			}
			if mtu, _ := k.PathMTU(); mtu != 1500 {
				t.Errorf("to %v: path MTU %d", dst, mtu)
			}
			w.empty(ping)
			w.grew("IcmpInErrors", 3)
		})
	}
}
