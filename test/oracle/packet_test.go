package oracle

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// localExperimental is an EtherType that nobody has (IEEE 802, 9.2.3).
const localExperimental = 0x88b5

// packet opens a packet socket at an end, for an EtherType in host order.
func (r *Run) packet(name string, end Host, typ int, ethertype uint16) *Sock {
	return r.Open(name, end, unix.AF_PACKET, typ, sockapi.HTONS(ethertype))
}

// to returns the address of an EtherType by the interface that joins the ends.
func (r *Run) to(ethertype uint16, mac [6]byte) sockapi.Sockaddr {
	return sockapi.LinkLayer(r.Index(), ethertype, mac)
}

// mac returns an end's hardware address.
func (r *Run) mac(end Host) [6]byte {
	if r.Index() == loIndex {
		return [6]byte{}
	}
	return [6]byte{2, 0, 10, 9, 0, byte(end) + 1}
}

var everybody = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// linkAddress writes a sockaddr_ll down.
func linkAddress(a sockapi.Sockaddr) string {
	return fmt.Sprintf("family %d if %d proto %#x hatype %d pkttype %d halen %d addr %x",
		a.Family, a.IfIndex, a.Extra, a.Hatype, a.Pkttype, a.Halen, a.MAC())
}

// frame writes a frame down, but for what a host chooses itself.
func frame(b []byte, cooked bool) string {
	head := ""
	if !cooked {
		if len(b) < 14 {
			return show(b)
		}
		head, b = fmt.Sprintf("%x ", b[:14]), b[14:]
	}
	if len(b) >= 28 && b[0] == 0x45 {
		return head + datagram(b)
	}
	return head + show(b)
}

// RecvFrame receives a frame, with its address and auxiliary data.
func (k *Sock) RecvFrame(cooked bool, flags int) {
	k.do(fmt.Sprintf("recv frame(%s)", flagNames(flags)), func() string { return k.frame(cooked, flags) })
}

func (k *Sock) frame(cooked bool, flags int) string {
	m := message(256, 1<<16)
	n, err := k.s.Recvmsg(&m, flags)
	if err != nil {
		return errnoName(err)
	}
	return fmt.Sprintf("%d %s from %s, %s%s", n, frame(m.Iov[0][:n], cooked), linkAddress(m.Name), flagNames(m.Flags),
		auxdata(m.Control[:m.ControlLen]))
}

// auxdata writes the auxiliary data down, but for the state of the checksum.
func auxdata(control []byte) string {
	c, _, ok := sockapi.NextCmsg(control)
	if !ok || c.Type != unix.PACKET_AUXDATA || len(c.Data) != 20 {
		return fmt.Sprintf(" %x", control)
	}
	u := func(i int) int { return int(binary.NativeEndian.Uint32(c.Data[i:])) }
	h := func(i int) int { return int(binary.NativeEndian.Uint16(c.Data[i:])) }
	return fmt.Sprintf(" status %#x len %d snap %d mac %d net %d tci %d tpid %#x", u(0)&^0x88, u(4), u(8), h(12), h(14), h(16), h(18))
}

// DrainFrames receives all that is there, and writes down what has the text in
// it: a host has its own reasons to send.
func (k *Sock) DrainFrames(cooked bool, about string) {
	for range 64 {
		var got string
		before := len(k.r.lines)
		k.do("frame", func() string { got = k.frame(cooked, unix.MSG_DONTWAIT); return got })
		if got != "EAGAIN" && got != "" && !strings.Contains(got, about) && strings.Contains(got, " from ") {
			k.r.lines = k.r.lines[:before]
			continue
		}
		if !strings.Contains(got, " from ") {
			return
		}
	}
}

func packetCases() []Case {
	return []Case{
		{Name: "packet/names", Run: packetNames},
		{Name: "packet/send refused", Run: packetRefused},
		{Name: "packet/receive flags", Tops: []Topology{Loopback}, Run: func(r *Run) {
			a, b := r.packet("a", Near, unix.SOCK_RAW, 0), r.packet("b", Near, unix.SOCK_RAW, localExperimental)
			p := append(make([]byte, 12), "\x88\xb5frame"...)
			a.Sendto(p, 0, r.to(localExperimental, everybody))
			r.SyncAnswers()
			for _, f := range []int{unix.MSG_OOB, unix.MSG_WAITALL, unix.MSG_NOSIGNAL, unix.MSG_MORE, unix.MSG_CMSG_CLOEXEC, unix.MSG_ERRQUEUE,
				unix.MSG_WAITFORONE, unix.MSG_PEEK, unix.MSG_PEEK | unix.MSG_TRUNC} {
				b.Recv(5, f|unix.MSG_DONTWAIT)
			}
			b.do("FIONREAD", func() string {
				n, err := b.s.IoctlInt(sockapi.FIONREAD)
				return fmt.Sprint(n, errnoName(err))
			})
			b.Recvmsg(0, unix.MSG_DONTWAIT, 3, 4)
			a.Sendto(p, 0, r.to(localExperimental, everybody))
			r.SyncAnswers()
			b.Recvmmsg(2, 100, unix.MSG_WAITFORONE, -1)
		}},
		{Name: "packet/frames", Run: func(r *Run) {
			a := r.packet("a", Near, unix.SOCK_RAW, 0)
			for _, typ := range []int{unix.SOCK_RAW, unix.SOCK_DGRAM} {
				b, c := r.packet("b", Far, typ, localExperimental), r.packet("c", Far, typ, localExperimental)
				all, ip, none := r.packet("all", Far, typ, unix.ETH_P_ALL), r.packet("ip", Far, typ, unix.ETH_P_IP), r.packet("none", Far, typ, 0)
				for _, k := range []*Sock{b, all, none} {
					k.Set(unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
				}
				dst, src := r.mac(Far), r.mac(Near)
				for _, d := range [][6]byte{dst, everybody, {1, 0, 0x5e, 0, 0, 1}, {2, 3, 4, 5, 6, 7}} {
					p := append(append(append([]byte(nil), d[:]...), src[:]...), "\x88\xb5experiment"...)
					a.Sendto(p, 0, r.to(localExperimental, [6]byte{}))
				}
				r.SyncAnswers()
				for _, k := range []*Sock{b, c, all, ip, none} {
					k.DrainFrames(typ == unix.SOCK_DGRAM, "experiment")
				}
			}
		}},
		{Name: "packet/802.3", Run: func(r *Run) {
			a, b := r.packet("a", Near, unix.SOCK_RAW, 0), r.packet("b", Far, unix.SOCK_RAW, unix.ETH_P_802_2)
			novell, all := r.packet("novell", Far, unix.SOCK_RAW, unix.ETH_P_802_3), r.packet("all", Far, unix.SOCK_DGRAM, unix.ETH_P_ALL)
			for _, s := range []string{"\x00\x08experiment", "\x00\x08\xff\xffexperiment", "\x05\xffexperiment", "\x06\x00experiment"} {
				p := append(append(append([]byte(nil), everybody[:]...), 2, 0, 0, 0, 0, 9), s...)
				a.Sendto(p, 0, r.to(0, everybody))
			}
			r.SyncAnswers()
			b.DrainFrames(false, "experiment")
			novell.DrainFrames(false, "experiment")
			all.DrainFrames(true, "experiment")
		}},
		{Name: "packet/SOCK_DGRAM sends", Run: func(r *Run) {
			b, c := r.packet("b", Far, unix.SOCK_RAW, unix.ETH_P_ALL), r.packet("c", Far, unix.SOCK_DGRAM, localExperimental)
			a := r.packet("a", Near, unix.SOCK_DGRAM, 0)
			a.Sendto([]byte("experiment one"), 0, r.to(localExperimental, r.mac(Far)))
			a.Sendto([]byte("experiment two"), 0, r.to(unix.ETH_P_802_2, everybody))
			a.Bind(r.to(localExperimental, [6]byte{}))
			a.Sendto([]byte("experiment three"), 0, r.to(0, everybody))
			a.Send([]byte("experiment four"), 0)
			a.Sendmsg([][]byte{[]byte("experi"), []byte("ment five")}, nil, 0, r.to(localExperimental, everybody))
			r.SyncAnswers()
			b.DrainFrames(false, "experiment")
			a.Sendmmsg(0, r.to(localExperimental, everybody), []byte("experiment 6"), []byte("experiment 7"))
			r.SyncAnswers()
			c.DrainFrames(true, "experiment")
		}},
		{Name: "packet/sniff", Run: func(r *Run) {
			u, k := r.UDP("u"), r.Open("k", Far, unix.AF_INET, unix.SOCK_DGRAM, 0)
			u.Bind(r.Near(1000))
			k.Bind(r.Far(1001))
			u.Sendto([]byte("before"), 0, r.Far(1001))
			k.Recvfrom(100, 0)
			near, nearIP := r.packet("near", Near, unix.SOCK_RAW, unix.ETH_P_ALL), r.packet("nearIP", Near, unix.SOCK_DGRAM, unix.ETH_P_IP)
			deaf := r.packet("deaf", Near, unix.SOCK_RAW, unix.ETH_P_ALL)
			deaf.SetBytes(unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, Int(1))
			far := r.packet("far", Far, unix.SOCK_DGRAM, unix.ETH_P_ALL)
			bound := r.packet("bound", Near, unix.SOCK_RAW, 0)
			bound.Bind(sockapi.LinkLayer(3-r.Index(), unix.ETH_P_ALL, [6]byte{}))
			u.Sendto([]byte("question"), 0, r.Far(1001))
			k.Recvfrom(100, 0)
			k.Sendto([]byte("answer"), 0, r.Near(1000))
			u.Recvfrom(100, 0)
			near.DrainFrames(false, "proto 17")
			nearIP.DrainFrames(true, "proto 17")
			deaf.DrainFrames(false, "proto 17")
			far.DrainFrames(true, "proto 17")
			bound.DrainFrames(false, "proto 17")
		}},
		{Name: "packet/not its own", Run: func(r *Run) {
			a, b := r.packet("a", Near, unix.SOCK_RAW, unix.ETH_P_ALL), r.packet("b", Near, unix.SOCK_RAW, unix.ETH_P_ALL)
			p := append(append([]byte(nil), make([]byte, 12)...), "\x88\xb5experiment"...)
			a.Sendto(p, 0, r.to(localExperimental, everybody))
			a.Sendto(p, 0, r.to(0x1234, everybody))
			a.Sendto(p, 0, r.to(0, everybody))
			a.Sendto(p, 0, r.to(unix.ETH_P_ALL, everybody))
			r.SyncAnswers()
			a.DrainFrames(false, "experiment")
			b.DrainFrames(false, "experiment")
		}},
		{Name: "packet/bound again", Run: func(r *Run) {
			a, b := r.packet("a", Near, unix.SOCK_DGRAM, 0), r.packet("b", Far, unix.SOCK_DGRAM, 0)
			send := func(s string) {
				a.Sendto([]byte(s), 0, r.to(localExperimental, everybody))
				r.SyncAnswers()
				b.DrainFrames(true, "experiment")
			}
			send("experiment 1")
			b.Bind(r.to(localExperimental, [6]byte{}))
			send("experiment 2")
			b.Bind(r.to(0, [6]byte{}))
			send("experiment 3")
			b.Bind(r.to(localExperimental+1, [6]byte{}))
			send("experiment 4")
			b.Bind(sockapi.LinkLayer(0, unix.ETH_P_ALL, [6]byte{}))
			send("experiment 5")
			b.Bind(sockapi.LinkLayer(3-r.Index(), localExperimental, [6]byte{}))
			send("experiment 6")
		}},
		{Name: "packet/answers from sockets", Tops: []Topology{Wire}, Run: func(r *Run) {
			// A UDP datagram by hand is a UDP datagram.
			k := r.Open("k", Far, unix.AF_INET, unix.SOCK_DGRAM, 0)
			k.Bind(r.Far(1001))
			a := r.packet("a", Near, unix.SOCK_DGRAM, 0)
			p := header(17, r.Near(0).IP4(), r.Far(0).IP4(), "\x03\xe8\x03\xe9\x00\x0d\x00\x00hello")
			p[3] = byte(len(p))
			sum := uint32(0)
			for i := 0; i < 20; i += 2 {
				sum += uint32(binary.BigEndian.Uint16(p[i:]))
			}
			binary.BigEndian.PutUint16(p[10:], ^uint16(sum&0xffff+sum>>16))
			a.Sendto(p, 0, r.to(unix.ETH_P_IP, r.mac(Far)))
			k.Recvfrom(100, 0)
		}},
		{Name: "packet/options", Tops: []Topology{Loopback}, Run: packetOptionsCase},
		{Name: "packet/memberships", Run: memberships},
		{Name: "packet/statistics", Run: func(r *Run) {
			a, b := r.packet("a", Near, unix.SOCK_DGRAM, 0), r.packet("b", Far, unix.SOCK_DGRAM, localExperimental)
			b.Get(unix.SOL_PACKET, unix.PACKET_STATISTICS, 8)
			b.Set(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
			for range 3 {
				a.Sendto([]byte("experiment"), 0, r.to(localExperimental, everybody))
			}
			r.SyncAnswers()
			b.Get(unix.SOL_PACKET, unix.PACKET_STATISTICS, 8)
			b.Get(unix.SOL_PACKET, unix.PACKET_STATISTICS, 8)
			b.Get(unix.SOL_PACKET, unix.PACKET_STATISTICS, 28)
			b.Set(unix.SOL_SOCKET, unix.SO_RCVBUF, 0)
			for range 20 {
				a.Sendto([]byte("experiment"), 0, r.to(localExperimental, everybody))
			}
			r.SyncAnswers()
			b.do("statistics", func() string {
				v := make([]byte, 8)
				_, err := b.s.Getsockopt(unix.SOL_PACKET, unix.PACKET_STATISTICS, v)
				return fmt.Sprint(errnoName(err), binary.NativeEndian.Uint32(v), binary.NativeEndian.Uint32(v[4:]) > 0)
			})
			b.Get(unix.SOL_PACKET, unix.PACKET_STATISTICS, 4)
		}},
	}
}

func packetNames(r *Run) {
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_RDM, unix.SOCK_SEQPACKET} {
		r.packet("x", Near, typ, unix.ETH_P_ALL)
	}
	a := r.packet("a", Near, unix.SOCK_RAW, unix.ETH_P_ARP)
	name := func() {
		a.do("getsockname()", func() string {
			n, err := a.s.Getsockname()
			return errnoName(err) + " " + linkAddress(n)
		})
	}
	name()
	a.do("getpeername()", func() string { _, err := a.s.Getpeername(); return errnoName(err) })
	a.Bind(r.to(unix.ETH_P_IP, [6]byte{}))
	name()
	a.Bind(r.to(0, [6]byte{9}))
	name()
	a.Bind(sockapi.LinkLayer(77, unix.ETH_P_IP, [6]byte{}))
	name()
	a.Bind(sockapi.LinkLayer(-1, unix.ETH_P_IP, [6]byte{}))
	a.Bind(sockapi.LinkLayer(0, localExperimental, [6]byte{}))
	name()
	a.Bind(r.Near(1))
	a.Bind(sockapi.Unix("x"))
	a.Bind(sockapi.Sockaddr{})
	a.Connect(r.to(unix.ETH_P_IP, [6]byte{}))
	a.Connect(r.Far(1))
	a.Connect(sockapi.Sockaddr{})
	a.Shutdown(unix.SHUT_RD)
	a.Shutdown(77)
	a.Listen(1)
	a.Accept(0)
	a.Error()
	a.Close()
	a.Bind(r.to(0, [6]byte{}))
	name()
	a.Shutdown(unix.SHUT_RD)
	a.Connect(r.Far(1))
}

func packetRefused(r *Run) {
	raw, cooked := r.packet("raw", Near, unix.SOCK_RAW, 0), r.packet("cooked", Near, unix.SOCK_DGRAM, 0)
	for _, a := range []*Sock{raw, cooked} {
		a.Send(Data(60), 0)
		a.Sendto(Data(60), 0, sockapi.LinkLayer(77, 0, [6]byte{}))
		a.Sendto(Data(60), 0, r.Far(1))
		a.Sendto(Data(60), 0, sockapi.Unix("a name that is not short"))
		a.Bind(r.to(localExperimental, [6]byte{}))
		mtu := 1500
		if r.Index() == loIndex {
			mtu = 65536
		}
		for _, n := range []int{0, 1, 13, 14, 15, mtu, mtu + 1, mtu + 4, mtu + 5, mtu + 14, mtu + 15, mtu + 18, mtu + 19} {
			a.Sendto(make([]byte, n), 0, r.to(localExperimental, everybody))
		}
		a.Sendto(make([]byte, 100), unix.MSG_OOB, r.to(localExperimental, everybody))
		a.Send(make([]byte, 100), 0)
		a.Sendmsg([][]byte{make([]byte, 60)}, CmsgInt(unix.SOL_IP, unix.IP_TTL, 3), 0, r.to(localExperimental, everybody))
		a.Sendmsg([][]byte{make([]byte, 60)}, CmsgInt(unix.SOL_SOCKET, 999, 3), 0, r.to(localExperimental, everybody))
	}
}

func packetOptionsCase(r *Run) {
	u := r.UDP("u")
	for _, k := range []*Sock{r.packet("a", Near, unix.SOCK_RAW, 0), u} {
		for _, o := range []int{unix.PACKET_AUXDATA, unix.PACKET_ORIGDEV, unix.PACKET_IGNORE_OUTGOING, unix.PACKET_STATISTICS,
			unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_DROP_MEMBERSHIP, 4, 99} {
			for _, n := range []int{0, 2, 4, 8} {
				k.Get(unix.SOL_PACKET, o, n)
			}
			for _, v := range []int{1, 0, 2, -1} {
				k.Set(unix.SOL_PACKET, o, v)
				k.Get(unix.SOL_PACKET, o, 4)
			}
			for _, n := range []int{0, 2, 8} {
				k.SetBytes(unix.SOL_PACKET, o, make([]byte, n))
			}
		}
	}
}

func memberships(r *Run) {
	a := r.packet("a", Near, unix.SOCK_RAW, 0)
	mreq := func(index, typ, alen int, addr ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(index))
		b = binary.NativeEndian.AppendUint16(b, uint16(typ))
		b = binary.NativeEndian.AppendUint16(b, uint16(alen))
		return append(append(b, addr...), make([]byte, 8-len(addr))...)
	}
	group := []byte{1, 0, 0x5e, 1, 2, 3}
	for _, o := range []int{unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_DROP_MEMBERSHIP} {
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_MULTICAST, 6, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_MULTICAST, 6, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_MULTICAST, 5, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_MULTICAST, 7, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_MULTICAST, 9, group...))
		a.SetBytes(unix.SOL_PACKET, o, append(mreq(r.Index(), unix.PACKET_MR_MULTICAST, 9, group...), 0, 0))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_MULTICAST, 6, group...)[:15])
		a.SetBytes(unix.SOL_PACKET, o, mreq(77, unix.PACKET_MR_MULTICAST, 6, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(0, unix.PACKET_MR_MULTICAST, 6, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), 9, 6, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_UNICAST, 5, group...))
		a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), unix.PACKET_MR_UNICAST, 6, 2, 9, 9, 9, 9, 9))
		for _, typ := range []int{unix.PACKET_MR_PROMISC, unix.PACKET_MR_ALLMULTI} {
			for range 2 {
				a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), typ, 0))
			}
			a.SetBytes(unix.SOL_PACKET, o, mreq(77, typ, 0))
			a.SetBytes(unix.SOL_PACKET, o, mreq(r.Index(), typ, 9))
		}
	}
}
