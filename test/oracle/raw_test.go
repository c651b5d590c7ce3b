package oracle

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// experimental is an IP protocol that nobody has (RFC 3692).
const experimental = 253

// raw opens a raw socket at an end.
func (r *Run) raw(name string, end Host, proto int) *Sock {
	return r.Open(name, end, unix.AF_INET, unix.SOCK_RAW, proto)
}

// datagram writes an IP datagram down, but for what a host chooses itself.
func datagram(b []byte) string {
	if len(b) < 20 || int(b[0]&15)*4 > len(b) {
		return show(b)
	}
	hlen := int(b[0]&15) * 4
	id := "id"
	if binary.BigEndian.Uint16(b[4:]) == 0 {
		id = "no id"
	}
	sum := uint32(0)
	for i := 0; i < hlen; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	check := "checked"
	if sum != 0xffff {
		check = "bad checksum"
	}
	payload := append([]byte(nil), b[hlen:]...)
	switch {
	case b[9] == unix.IPPROTO_UDP && len(payload) >= 8:
		payload[6], payload[7] = 0, 0 // Linux leaves it to the device
	case b[9] == unix.IPPROTO_ICMP && len(payload) >= 36 && payload[0] == 3:
		copy(payload[12:14], "id") // of what it quotes, with the checksums
		copy(payload[18:20], "cs")
		copy(payload[2:4], "cs")
	}
	df := b[6]&0x40 != 0
	if df {
		id = "id" // Linux counts for connected sockets only
	}
	return fmt.Sprintf("version %d tos %#x length %d %s flags %#x ttl %d proto %d %d > %d options %x %s: %s", b[0]>>4, b[1],
		binary.BigEndian.Uint16(b[2:]), id, b[6]>>5, b[8], b[9], b[12:16], b[16:20], b[20:hlen], check, show(payload))
}

// RecvIP receives a datagram and writes its header down.
func (k *Sock) RecvIP(flags int) {
	k.do(fmt.Sprintf("recv IP(%s)", flagNames(flags)), func() string {
		p := make([]byte, 1<<16)
		n, from, err := k.s.Recvfrom(p, flags)
		if err != nil {
			return errnoName(err)
		}
		return fmt.Sprintf("%d from %s: %s", n, k.r.addr(from), datagram(p[:min(n, len(p))]))
	})
}

// DrainIP receives all that is there.
func (k *Sock) DrainIP() {
	for range 16 {
		before := len(k.r.lines)
		k.RecvIP(unix.MSG_DONTWAIT)
		if len(k.r.lines) > before && k.r.lines[before][len(k.r.lines[before])-6:] == "EAGAIN" {
			return
		}
	}
}

// queued writes down the error queue's oldest entry.
func (k *Sock) queued() {
	k.do("error queue", func() string {
		m := message(256, 2048)
		n, err := k.s.Recvmsg(&m, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return errnoName(err)
		}
		p := append([]byte(nil), m.Iov[0][:n]...)
		if n >= 20 && p[0]>>4 == 4 {
			copy(p[4:6], "id")
			copy(p[10:12], "cs")
		}
		return fmt.Sprintf("%s from %s, %s, control %s", show(p), k.r.addr(m.Name), flagNames(m.Flags), Control(k.r, m.Control[:m.ControlLen]))
	})
}

// header returns an IP header of 20 bytes and a payload.
func header(proto byte, src, dst [4]byte, payload string) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 9, proto
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	return append(b, payload...)
}

// echoRequest returns an ICMP echo request.
func echoRequest(ident, seq byte) []byte {
	b := []byte{8, 0, 0, 0, 0, ident, 0, seq, 'd', 'a', 't', 'a'}
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum&0xffff+sum>>16))
	return b
}

func rawCases() []Case {
	return []Case{
		{Name: "raw/names", Run: func(r *Run) {
			a := r.raw("a", Near, experimental)
			a.Names()
			a.Bind(r.Near(77))
			a.Names()
			a.Bind(sockapi.Inet4([4]byte{}, 5))
			a.Names()
			a.Bind(sockapi.Inet4([4]byte{192, 0, 2, 1}, 0))
			a.Bind(sockapi.Unix("x"))
			a.Bind(sockapi.InetAddrPort(r.Near(0).AddrPort()))
			a.Connect(r.Far(5))
			a.Names()
			a.Bind(r.Near(0))
			a.Connect(r.Far(0))
			a.Names()
			a.Connect(sockapi.Unix("x"))
			a.Connect(sockapi.Sockaddr{})
			a.Names()
			a.Connect(sockapi.Sockaddr{})
			a.Bind(r.Near(3))
			a.Names()
			a.Connect(r.Far(1))
			a.Names()
			a.Listen(1)
			a.Accept(0)
		}},
		{Name: "raw/disconnected receives nothing", Run: func(r *Run) {
			a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
			b.Connect(r.Near(0))
			b.Connect(sockapi.Sockaddr{})
			a.Sendto([]byte("one"), 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
			b.Connect(r.Near(0))
			a.Sendto([]byte("two"), 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
			b.Send([]byte("three"), 0)
			r.SyncAnswers()
			a.DrainIP()
		}},
		{Name: "raw/each its copy", Run: func(r *Run) {
			a := r.raw("a", Near, experimental)
			b, c := r.raw("b", Far, experimental), r.raw("c", Far, experimental)
			other := r.raw("other", Far, 254)
			bound, elsewhere := r.raw("bound", Far, experimental), r.raw("elsewhere", Far, experimental)
			bound.Bind(r.Far(9))
			elsewhere.Bind(sockapi.Inet4([4]byte{127, 0, 0, 9}, 9))
			from, stranger := r.raw("from", Far, experimental), r.raw("stranger", Far, experimental)
			from.Connect(r.Near(0))
			stranger.Connect(sockapi.Inet4([4]byte{127, 0, 0, 9}, 0))
			device := r.raw("device", Far, experimental)
			device.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(r.Device(Far)))
			away := r.raw("away", Far, experimental)
			name := "lo"
			if r.Device(Far) == "lo" {
				name = "near0"
			}
			away.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(name))
			a.Sendto(Data(100), 0, r.Far(0))
			r.SyncAnswers()
			for _, k := range []*Sock{b, c, other, bound, elsewhere, from, stranger, device, away} {
				k.DrainIP()
			}
			a.DrainIP()
		}},
		{Name: "raw/fragments", Run: func(r *Run) {
			a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
			b.Set(unix.SOL_IP, unix.IP_RECVFRAGSIZE, 1)
			a.Sendto(Data(3000), 0, r.Far(0))
			r.SyncAnswers()
			b.RecvIP(unix.MSG_DONTWAIT)
			a.Set(unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
			a.Sendto(Data(1480), 0, r.Far(0))
			a.Sendto(Data(1481), 0, r.Far(0))
			a.Sendto(Data(65515), 0, r.Far(0))
			a.Sendto(Data(65516), 0, r.Far(0))
			a.Sendto(Data(65536), 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
			b.DrainIP()
		}},
		{Name: "raw/header fields", Run: func(r *Run) {
			a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
			a.Set(unix.SOL_IP, unix.IP_TTL, 7)
			a.Set(unix.SOL_IP, unix.IP_TOS, 0x28)
			a.Sendto([]byte("x"), 0, r.Far(0))
			a.SetBytes(unix.SOL_IP, unix.IP_OPTIONS, []byte{1, 1, 1, 0})
			a.Sendto([]byte("y"), 0, r.Far(0))
			a.Sendmsg([][]byte{[]byte("z"), []byte("zz")}, CmsgInt(unix.SOL_IP, unix.IP_TTL, 3), 0, r.Far(0))
			a.Sendmsg([][]byte{[]byte("z")}, CmsgInt(unix.SOL_IP, unix.IP_TOS, 8), 0, r.Far(0))
			a.Sendto(nil, 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
		}},
		{Name: "raw/control received", Run: func(r *Run) {
			a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
			for _, o := range []int{unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_RECVORIGDSTADDR} {
				b.Set(unix.SOL_IP, o, 1)
			}
			a.Sendto([]byte("\x00\x01\x00\x02rest"), 0, r.Far(0))
			r.SyncAnswers()
			b.do("control", func() string {
				m := message(256, 256)
				_, err := b.s.Recvmsg(&m, unix.MSG_DONTWAIT)
				return errnoName(err) + Control(r, m.Control[:m.ControlLen])
			})
		}},
		{Name: "raw/receive flags", Run: func(r *Run) {
			a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
			a.Sendto(Data(100), 0, r.Far(0))
			r.SyncAnswers()
			b.RecvIP(unix.MSG_PEEK | unix.MSG_DONTWAIT)
			b.RecvIP(unix.MSG_OOB | unix.MSG_DONTWAIT)
			b.do("short", func() string {
				m := message(0, 1, 1)
				n, err := b.s.Recvmsg(&m, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
				return fmt.Sprint(n, errnoName(err), flagNames(m.Flags))
			})
			b.RecvIP(unix.MSG_DONTWAIT)
		}},
		{Name: "raw/send refused", Run: func(r *Run) {
			a := r.raw("a", Near, experimental)
			a.Send([]byte("x"), 0)
			a.Sendto([]byte("x"), unix.MSG_OOB, r.Far(0))
			a.Sendto([]byte("x"), 0, sockapi.Inet4([4]byte{255, 255, 255, 255}, 0))
			a.Sendto([]byte("x"), 0, sockapi.Inet4([4]byte{10, 9, 0, 255}, 0))
			a.Sendto([]byte("x"), 0, sockapi.Inet4([4]byte{192, 0, 2, 1}, 0))
			a.Sendto([]byte("x"), 0, sockapi.Unix("x"))
			a.Sendmsg([][]byte{[]byte("x")}, CmsgInt(unix.SOL_IP, unix.IP_TTL, 300), 0, r.Far(0))
			a.Sendmsg([][]byte{[]byte("x")}, CmsgInt(unix.SOL_UDP, unix.UDP_SEGMENT, 300), 0, r.Far(0))
			a.Shutdown(unix.SHUT_WR)
			a.Sendto([]byte("x"), 0, r.Far(0))
			a.Set(unix.SOL_IP, unix.IP_HDRINCL, 1)
			a.Sendto(header(experimental, [4]byte{}, r.Far(0).IP4(), "x"), 0, r.Far(0))
		}},
		{Name: "raw/more", Run: func(r *Run) {
			a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
			a.Sendto([]byte("to"), unix.MSG_MORE, r.Far(0))
			a.Sendto([]byte("ge"), unix.MSG_MORE, r.Far(0))
			a.Sendto([]byte("ther"), 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
		}},
		{Name: "raw/IP_HDRINCL", Run: hdrincl},
		{Name: "raw/IP_HDRINCL/length", Run: func(r *Run) {
			a, b := r.raw("a", Near, unix.IPPROTO_RAW), r.raw("b", Far, experimental)
			a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
			for _, n := range []int{0, 19} {
				a.Sendto(make([]byte, n), 0, r.Far(0))
			}
			for _, n := range []int{1500, 1501, 65535, 65536} {
				p := append(header(experimental, [4]byte{}, r.Far(0).IP4(), ""), make([]byte, n-20)...)
				a.Sendto(p, 0, r.Far(0))
				a.queued()
			}
			p := header(experimental, [4]byte{}, r.Far(0).IP4(), "")
			p[0] = 0x4f
			a.Sendto(p, 0, r.Far(0))
			p[0] = 0x40
			a.Sendto(append(p, 0), 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
		}},
		{Name: "raw/options", Tops: []Topology{Loopback}, Run: rawOptions},
		{Name: "raw/ICMP", Run: func(r *Run) {
			a, b := r.raw("a", Near, unix.IPPROTO_ICMP), r.raw("b", Far, unix.IPPROTO_ICMP)
			a.Sendto(echoRequest(1, 1), 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
			a.DrainIP()
			bad := echoRequest(1, 2)
			bad[2]++
			a.Sendto(bad, 0, r.Far(0))
			a.Sendto(bad[:7], 0, r.Far(0))
			a.Sendto([]byte{40, 0, 0, 0, 0, 0, 0, 0}, 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
			a.DrainIP()
		}},
		{Name: "raw/ICMP/ping sockets too", Run: func(r *Run) {
			a, p := r.raw("a", Near, unix.IPPROTO_ICMP), r.Ping("p")
			p.Bind(r.Near(7))
			p.Sendto(echoRequest(0, 1), 0, r.Far(0))
			r.SyncAnswers()
			p.Recvfrom(100, unix.MSG_DONTWAIT)
			a.DrainIP()
		}},
		{Name: "raw/ICMP_FILTER", Run: func(r *Run) {
			a := r.raw("a", Near, unix.IPPROTO_ICMP)
			a.SetBytes(unix.SOL_RAW, icmpFilter, Int(1<<8))
			b := r.raw("b", Near, unix.IPPROTO_ICMP)
			b.SetBytes(unix.SOL_RAW, icmpFilter, Int(^1))
			c := r.raw("c", Near, unix.IPPROTO_ICMP)
			c.SetBytes(unix.SOL_RAW, icmpFilter, Int(-1))
			a.Sendto(echoRequest(1, 1), 0, r.Far(0))
			a.Sendto([]byte{40, 0, 0xd7, 0xff, 0, 0, 0, 0}, 0, r.Far(0))
			r.SyncAnswers()
			a.DrainIP()
			b.DrainIP()
			c.DrainIP()
		}},
		{Name: "raw/UDP", Run: func(r *Run) {
			u, k := r.UDP("u"), r.Open("k", Far, unix.AF_INET, unix.SOCK_DGRAM, 0)
			u.Bind(r.Near(1000))
			k.Bind(r.Far(1001))
			w := r.raw("w", Far, unix.IPPROTO_UDP)
			w.Connect(r.Near(0))
			u.Sendto([]byte("datagram"), 0, r.Far(1001))
			w.RecvIP(0)
			k.Recvfrom(100, 0)
			w.Sendto([]byte{3, 0xe9, 3, 0xe8, 0, 9, 0, 0, '!'}, 0, r.Near(0))
			u.Recvfrom(100, 0)
		}},
		{Name: "raw/protocol unreachable", Run: func(r *Run) {
			a, i := r.raw("a", Near, experimental), r.raw("i", Near, unix.IPPROTO_ICMP)
			i.SetBytes(unix.SOL_RAW, icmpFilter, Int(^(1 << 3)))
			a.Connect(r.Far(0))
			far := r.raw("far", Far, experimental)
			a.Send([]byte("12345678"), 0)
			r.SyncAnswers()
			a.Error()
			i.DrainIP()
			far.Close()
			if r.Top.Hosts[Near] == r.Top.Hosts[Far] {
				return // a takes it itself
			}
			a.Send([]byte("12345678"), 0)
			r.SyncAnswers()
			i.DrainIP()
			a.Error()
			a.Error()
		}},
		{Name: "raw/errors", Tops: []Topology{Wire}, Run: func(r *Run) {
			for _, recverr := range []int{0, 1} {
				for _, connect := range []bool{false, true} {
					a := r.raw("a", Near, experimental)
					a.Set(unix.SOL_IP, unix.IP_RECVERR, recverr)
					if connect {
						a.Connect(r.Far(0))
					}
					a.Sendto([]byte("12345678"), 0, r.Far(99))
					r.SyncAnswers()
					a.Sendto([]byte("not told of errors"), 0, r.Far(99))
					r.SyncAnswers()
					a.RecvIP(unix.MSG_DONTWAIT)
					a.queued()
					a.queued()
					a.queued()
					a.Error()
					a.Close()
				}
			}
		}},
		{Name: "raw/errors/IP_HDRINCL", Tops: []Topology{Wire}, Run: func(r *Run) {
			a := r.raw("a", Near, experimental)
			a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
			a.Set(unix.SOL_IP, unix.IP_HDRINCL, 1)
			a.Sendto(header(experimental, [4]byte{}, r.Far(0).IP4(), "12345678"), 0, r.Far(0))
			r.SyncAnswers()
			a.Sendto(header(experimental, [4]byte{}, r.Far(0).IP4(), "12345678"), 0, r.Far(0))
			a.queued()
			a.queued()
			a.Error()
		}},
		{Name: "raw/errors/UDP", Run: func(r *Run) {
			u := r.UDP("u")
			u.Bind(r.Near(1000))
			a := r.raw("a", Near, unix.IPPROTO_UDP)
			a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
			b := r.raw("b", Near, unix.IPPROTO_UDP)
			b.Connect(r.Far(0))
			u.Sendto([]byte("closed"), 0, r.Far(1003))
			r.SyncAnswers()
			a.do("error", func() string {
				m := message(256, 256)
				n, err := a.s.Recvmsg(&m, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
				return fmt.Sprint(n, errnoName(err), r.addr(m.Name), Control(r, m.Control[:m.ControlLen]))
			})
			b.Error()
		}},
		{Name: "raw/errors/local", Run: func(r *Run) {
			a := r.raw("a", Near, experimental)
			a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
			a.Set(unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
			a.Sendto(Data(65515), 0, r.Far(99))
			a.queued()
			a.Sendto(Data(65516), 0, r.Far(99))
			a.queued()
		}},
		{Name: "raw/broadcast", Tops: []Topology{Wire}, Run: func(r *Run) {
			a, b, own := r.raw("a", Near, experimental), r.raw("b", Far, experimental), r.raw("own", Near, experimental)
			a.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			a.Sendto([]byte("all"), 0, sockapi.Inet4([4]byte{10, 9, 0, 255}, 0))
			a.Set(unix.SOL_IP, unix.IP_HDRINCL, 1)
			a.Sendto(header(experimental, [4]byte{}, [4]byte{10, 9, 0, 255}, "all"), 0, sockapi.Inet4([4]byte{10, 9, 0, 255}, 0))
			r.SyncAnswers()
			b.DrainIP()
			own.DrainIP()
		}},
		{Name: "raw/IPPROTO_RAW receives", Run: func(r *Run) {
			a, b := r.raw("a", Near, unix.IPPROTO_RAW), r.raw("b", Far, unix.IPPROTO_RAW)
			a.Sendto(header(unix.IPPROTO_RAW, [4]byte{}, r.Far(0).IP4(), "x"), 0, r.Far(0))
			r.SyncAnswers()
			b.DrainIP()
		}},
		{Name: "raw/ioctl", Tops: []Topology{Loopback}, Run: func(r *Run) {
			a := r.raw("a", Near, experimental)
			a.Sendto(Data(10), 0, r.Near(0))
			r.SyncAnswers()
			a.do("FIONREAD", func() string {
				n, err := a.s.IoctlInt(sockapi.FIONREAD)
				return fmt.Sprint(n, errnoName(err))
			})
			a.do("SIOCOUTQ", func() string {
				n, err := a.s.IoctlInt(unix.SIOCOUTQ)
				return fmt.Sprint(n, errnoName(err))
			})
		}},
	}
}

// hdrincl sends headers with this and that left out.
func hdrincl(r *Run) {
	a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
	a.Set(unix.SOL_IP, unix.IP_HDRINCL, 1)
	far := r.Far(0).IP4()
	a.Sendto(header(experimental, [4]byte{}, far, "no source"), 0, r.Far(0))
	a.Sendto(header(experimental, [4]byte{10, 9, 0, 77}, far, "another source"), 0, r.Far(0))
	p := header(experimental, [4]byte{}, far, "all fields")
	p[1], p[2], p[3], p[4], p[5], p[8], p[10], p[11] = 0x28, 0xff, 0xff, 0x12, 0x34, 3, 0xff, 0xff
	a.Sendto(p, 0, r.Far(0))
	p = header(experimental, [4]byte{}, far, "df")
	p[6] = 0x40
	a.Sendto(p, 0, r.Far(0))
	p = append([]byte{0x46}, header(experimental, [4]byte{}, far, "")[1:]...)
	a.Sendto(append(p, "\x01\x01\x01\x00options"...), 0, r.Far(0))
	p = header(254, [4]byte{}, far, "another protocol")
	a.Sendto(p, 0, r.Far(0))
	a.Sendmsg([][]byte{header(experimental, [4]byte{}, far, ""), []byte("pieces")}, nil, 0, r.Far(0))
	a.Sendto(header(experimental, [4]byte{}, far, "more"), unix.MSG_MORE, r.Far(0))
	a.SetBytes(unix.SOL_IP, unix.IP_OPTIONS, []byte{1, 1, 1, 0})
	a.Sendto(header(experimental, [4]byte{}, far, "socket's options"), 0, r.Far(0))
	r.SyncAnswers()
	b.DrainIP()
}

// rawOptions are those that raw sockets have, or have not.
func rawOptions(r *Run) {
	u := r.UDP("u")
	for _, k := range []*Sock{r.raw("icmp", Near, unix.IPPROTO_ICMP), r.raw("other", Near, experimental), r.raw("udp", Near, unix.IPPROTO_UDP), u,
		r.raw("raw", Near, unix.IPPROTO_RAW), r.Open("packet", Near, unix.AF_PACKET, unix.SOCK_RAW, 0)} {
		for _, n := range []int{0, 2, 4, 8} {
			k.SetBytes(unix.SOL_RAW, icmpFilter, []byte{1, 2, 3, 4, 5, 6, 7, 8}[:n])
			k.Get(unix.SOL_RAW, icmpFilter, n)
		}
		k.SetBytes(unix.SOL_RAW, 2, Int(1))
		k.Get(unix.SOL_RAW, 2, 4)
		for _, o := range []int{unix.IP_HDRINCL, unix.IP_NODEFRAG} {
			k.GetInt(unix.SOL_IP, o)
			for _, v := range []int{1, 7, 0} {
				k.Set(unix.SOL_IP, o, v)
				k.GetInt(unix.SOL_IP, o)
			}
			k.SetBytes(unix.SOL_IP, o, []byte{1})
			k.SetBytes(unix.SOL_IP, o, nil)
			k.Get(unix.SOL_IP, o, 1)
			k.Get(unix.SOL_IP, o, 8)
		}
		for _, o := range []int{unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_REUSEADDR, unix.SO_REUSEPORT, unix.SO_BROADCAST, unix.SO_NO_CHECK} {
			k.GetInt(unix.SOL_SOCKET, o)
			k.Set(unix.SOL_SOCKET, o, 1)
			k.GetInt(unix.SOL_SOCKET, o)
		}
		k.Set(unix.SOL_UDP, unix.UDP_CORK, 0)
		k.Get(unix.SOL_UDP, unix.UDP_CORK, 4)
		k.Set(unix.SOL_IP, unix.IP_TTL, 4)
		k.GetInt(unix.SOL_IP, unix.IP_TTL)
		k.Set(unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
		k.Get(unix.SOL_PACKET, unix.PACKET_AUXDATA, 4)
		k.Get(77, 1, 4)
	}
}
