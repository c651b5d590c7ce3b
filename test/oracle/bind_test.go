package oracle

import (
	"fmt"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/udp"
)

// bindCases are of the effects of options that say where a socket is: groups,
// addresses that are not the host's, devices, ranges of ports.
func bindCases() []Case {
	return append(append(groupCases(), foreignCases()...), placeCases()...)
}

// AttachReusePort attaches a program to the socket's group.
func (k *Sock) AttachReusePort(name string, program ...bpf.Instruction) {
	k.err("attach reuseport("+name+")", func() error {
		raw, err := bpf.Assemble(program)
		if err != nil {
			return err
		}
		return k.s.AttachReusePort(raw)
	})
}

// Programs of groups.
var (
	chooseByFirst = []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.RetA{}}
	chooseByLen   = []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}, bpf.RetA{}}
	chooseByCPU   = []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtCPUID}, bpf.RetA{}}
)

func always(n uint32) []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: n}} }

// members opens n sockets of a group at the far end.
func members(r *Run, n int) (g []*Sock) {
	for i := range n {
		g = append(g, member(r, fmt.Sprintf("m%d", i), r.Far(7002)))
	}
	return g
}

func member(r *Run, name string, at sockapi.Sockaddr) *Sock {
	k := r.FarUDP(name)
	k.quietly(func() {
		k.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		k.Bind(at)
	})
	return k
}

// tell sends payloads from a to the group and writes down who got each.
func tell(r *Run, a *Sock, g []*Sock, payloads ...string) {
	for _, p := range payloads {
		a.s.Sendto([]byte(p), 0, r.Far(7002))
		r.Sync()
		r.Logf("%q is for %s", p, holders(g))
	}
}

// holders returns the names of the sockets that have a datagram, and takes it.
func holders(g []*Sock) string {
	var names []string
	for _, k := range g {
		if k.closed {
			continue
		}
		if _, err := k.s.Recv(nil, unix.MSG_DONTWAIT); err == nil {
			names = append(names, k.Name)
		}
	}
	return strings.Join(names, ", ")
}

func groupCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "group/" + name, Run: run})
	}
	add("a program chooses", func(r *Run) {
		a, g := r.UDP("a"), members(r, 3)
		g[1].AttachReusePort("first byte", chooseByFirst...)
		tell(r, a, g, "\x00", "\x01", "\x02", "\x00x", "\x02yy")
	})
	add("the program sees the payload", func(r *Run) {
		a, g := r.UDP("a"), members(r, 4)
		g[0].AttachReusePort("length", chooseByLen...)
		tell(r, a, g, "", "x", "xx", "xxx")
	})
	add("a program that looks behind the end", func(r *Run) {
		a, g := r.UDP("a"), members(r, 3)
		g[0].AttachReusePort("byte 5", bpf.LoadAbsolute{Off: 5, Size: 1}, bpf.RetConstant{Val: 2})
		tell(r, a, g, "", "12345", "123456")
	})
	add("the program looks at the IP header and beside", func(r *Run) {
		a, g := r.UDP("a"), members(r, 4)
		const network, beside = 0xfff00000, 0xfffff000 // SKF_NET_OFF, SKF_AD_OFF
		for _, p := range []struct {
			name string
			off  uint32
			size int
			mask uint32
		}{{"protocol", network + 9, 1, 1}, {"TTL", network + 8, 1, 3}, {"destination port", network + 22, 2, 3},
			{"EtherType", beside, 2, 3}, {"packet type", beside + 4, 1, 3}} {
			g[0].AttachReusePort(p.name, bpf.LoadAbsolute{Off: p.off, Size: p.size},
				bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: p.mask}, bpf.RetA{})
			tell(r, a, g, p.name)
		}
	})
	add("a number that nobody has", func(r *Run) {
		a, g := r.UDP("a"), members(r, 3)
		for _, n := range []uint32{3, 4, 1 << 31, 1<<32 - 1} {
			g[0].AttachReusePort("constant", always(n)...)
			a.s.Sendto([]byte("x"), 0, r.Far(7002))
			r.Sync()
			got := holders(g)
			r.Logf("one has it: %t", len(got) == 2)
			a.s.Sendto([]byte("x"), 0, r.Far(7002))
			r.Sync()
			r.Logf("the same again: %t", holders(g) == got)
		}
	})
	add("another program", func(r *Run) {
		a, g := r.UDP("a"), members(r, 3)
		for _, n := range []uint32{2, 1, 0} {
			g[n].AttachReusePort(fmt.Sprint(n), always(n)...)
			tell(r, a, g, "x")
		}
	})
	for leaver := range 4 {
		add(fmt.Sprintf("member %d of 4 leaves", leaver), func(r *Run) {
			a, g := r.UDP("a"), members(r, 4)
			g[0].AttachReusePort("first byte", chooseByFirst...)
			g[leaver].Close()
			tell(r, a, g, "\x00", "\x01", "\x02")
			g = append(g, member(r, "m4", r.Far(7002)))
			tell(r, a, g, "\x00", "\x01", "\x02", "\x03")
		})
		add(fmt.Sprintf("member %d of 4 is connected", leaver), func(r *Run) {
			a, g := r.UDP("a"), members(r, 4)
			a.Bind(r.Near(7001))
			g[0].AttachReusePort("first byte", chooseByFirst...)
			g[leaver].Connect(r.Near(7009))
			tell(r, a, g, "\x00", "\x01", "\x02")
			g = append(g, member(r, "m4", r.Far(7002)))
			tell(r, a, g, "\x03")
		})
	}
	add("who joins one that is connected", func(r *Run) {
		a := r.UDP("a")
		g := members(r, 1)
		g[0].Connect(r.Near(7009))
		g = append(g, member(r, "m1", r.Far(7002)))
		tell(r, a, g, "x")
		g[1].AttachReusePort("first byte", chooseByFirst...)
		tell(r, a, g, "\x00", "\x01")
	})
	add("a connected member's peer", func(r *Run) {
		a, g := r.UDP("a"), members(r, 3)
		a.Bind(r.Near(7001))
		g[1].Connect(r.Near(7001))
		g[0].AttachReusePort("0", always(0)...)
		tell(r, a, g, "x")
	})
	add("detached", func(r *Run) {
		a, g := r.UDP("a"), members(r, 3)
		g[0].Set(unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
		g[0].AttachReusePort("2", always(2)...)
		g[1].Set(unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
		g[2].Set(unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 1)
		a.s.Sendto([]byte("x"), 0, r.Far(7002))
		r.Sync()
		r.Logf("one has it: %t", len(holders(g)) == 2)
	})
	add("attached before bind", func(r *Run) {
		a, k := r.UDP("a"), r.FarUDP("m0")
		k.AttachReusePort("0", always(0)...)
		k.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		k.AttachReusePort("1", always(1)...)
		k.Bind(r.Far(7002))
		g := []*Sock{k, member(r, "m1", r.Far(7002))}
		tell(r, a, g, "x")
		late := r.FarUDP("late")
		late.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		late.AttachReusePort("0", always(0)...)
		late.Bind(r.Far(7002))
	})
	add("joined by SO_REUSEADDR with a program", func(r *Run) {
		a := r.UDP("a")
		var g []*Sock
		for i := range 3 {
			k := r.FarUDP(fmt.Sprintf("m%d", i))
			k.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			k.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			k.AttachReusePort(fmt.Sprint(i), always(uint32(i))...)
			k.Bind(r.Far(7002))
			g = append(g, k)
			tell(r, a, g, "x")
		}
	})
	add("bound without SO_REUSEPORT", func(r *Run) {
		k := r.FarUDP("m0")
		k.Bind(r.Far(7002))
		k.AttachReusePort("0", always(0)...)
		k.Set(unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
		k.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		k.AttachReusePort("0", always(0)...)
		k.Set(unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
		g := []*Sock{k, member(r, "m1", r.Far(7002))}
		k.AttachReusePort("0", always(0)...)
		tell(r, r.UDP("a"), g, "x")
	})
	add("SO_REUSEPORT turned off", func(r *Run) {
		a, g := r.UDP("a"), members(r, 3)
		g[0].AttachReusePort("0", always(0)...)
		g[2].Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 0)
		tell(r, a, g, "x")
		g[0].Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 0)
		g[1].Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 0)
		tell(r, a, g, "x")
	})
	add("of all addresses", func(r *Run) {
		a := r.UDP("a")
		g := []*Sock{member(r, "m0", sockapi.Inet4([4]byte{}, 7002)), member(r, "m1", sockapi.Inet4([4]byte{}, 7002)),
			member(r, "m2", r.Far(7002))}
		g[0].AttachReusePort("1", always(1)...)
		g[2].AttachReusePort("0", always(0)...)
		tell(r, a, g, "x")
		g[2].Close()
		tell(r, a, g, "x")
	})
	add("a locked filter", func(r *Run) {
		g := members(r, 2)
		g[0].Set(unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1)
		g[0].AttachReusePort("0", always(0)...)
		g[0].SetBytes(unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, make([]byte, 16))
		g[1].AttachReusePort("1", always(1)...)
		g[0].Set(unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	})
	add("programs that are none", func(r *Run) {
		g := members(r, 1)
		g[0].err("attach nothing", func() error { return g[0].s.AttachReusePort(nil) })
		g[0].err("attach no return", func() error {
			return g[0].s.AttachReusePort([]bpf.RawInstruction{{Op: 0x20}})
		})
		g[0].err("attach nonsense", func() error {
			return g[0].s.AttachReusePort([]bpf.RawInstruction{{Op: 0xffff}})
		})
		g[0].err("attach 4097 instructions", func() error {
			return g[0].s.AttachReusePort(make([]bpf.RawInstruction, 4097))
		})
	})
	add("of ping sockets", func(r *Run) {
		k := r.Ping("p")
		k.AttachReusePort("0", always(0)...)
		k.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		k.Bind(r.Near(71))
		k.AttachReusePort("0", always(0)...)
	})
	add("by CPU", func(r *Run) {
		a, g := r.UDP("a"), members(r, 64)
		g[0].AttachReusePort("CPU", chooseByCPU...)
		a.s.Sendto([]byte("x"), 0, r.Far(7002))
		r.Sync()
		r.Logf("one has it: %t", holders(g) != "")
	})
	return append(cases, cpuCases()...)
}

// cpuCases are of SO_INCOMING_CPU.
func cpuCases() (cases []Case) {
	// Whatever CPU a datagram comes in on, it is for who prefers that, of all.
	prefer := func(r *Run, g []*Sock) {
		for i, k := range g {
			k.Set(unix.SOL_SOCKET, unix.SO_INCOMING_CPU, i-1)
		}
	}
	send := func(r *Run, a *Sock, g []*Sock) {
		for range 5 {
			a.s.Sendto([]byte("x"), 0, r.Far(7002))
			r.Sync()
			got := holders(g)
			r.Logf("who prefers a CPU that there is has it: %t", got != "" && got != "m0" && got != "m999")
		}
	}
	// One that prefers none, one for each CPU that there may be, and one for a
	// CPU that there is not.
	const cpus = 64
	cases = append(cases, Case{Name: "cpu/in a group", Run: func(r *Run) {
		a, g := r.UDP("a"), members(r, cpus+1)
		prefer(r, g)
		k := member(r, "m999", r.Far(7002))
		k.Set(unix.SOL_SOCKET, unix.SO_INCOMING_CPU, 999)
		send(r, a, append(g, k))
	}})
	cases = append(cases, Case{Name: "cpu/by SO_REUSEADDR", Run: func(r *Run) {
		a := r.UDP("a")
		var g []*Sock
		for i := range cpus + 1 {
			k := r.FarUDP(fmt.Sprintf("m%d", i))
			k.quietly(func() {
				k.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				k.Bind(r.Far(7002))
			})
			g = append(g, k)
		}
		prefer(r, g)
		send(r, a, g)
	}})
	cases = append(cases, Case{Name: "cpu/of a connected socket", Run: func(r *Run) {
		a, b := r.Pair()
		b.GetInt(unix.SOL_SOCKET, unix.SO_INCOMING_CPU)
		a.Send([]byte("x"), 0)
		r.Sync()
		v, err := b.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_INCOMING_CPU)
		r.Logf("a CPU: %t %v", v >= 0, err)
	}})
	return append(cases, Case{Name: "cpu/of one that is not", Run: func(r *Run) {
		a, b := r.UDP("a"), r.FarUDP("b")
		b.Bind(r.Far(7002))
		a.Sendto([]byte("x"), 0, r.Far(7002))
		r.Sync()
		b.GetInt(unix.SOL_SOCKET, unix.SO_INCOMING_CPU)
		b.Set(unix.SOL_SOCKET, unix.SO_INCOMING_CPU, 5)
		a.Sendto([]byte("x"), 0, r.Far(7002))
		r.Sync()
		b.GetInt(unix.SOL_SOCKET, unix.SO_INCOMING_CPU)
	}})
}

// foreignCases are of addresses that are not the host's.
func foreignCases() (cases []Case) {
	options := []struct {
		name string
		set  func(k *Sock)
	}{
		{"without", func(*Sock) {}},
		{"IP_FREEBIND", func(k *Sock) { k.Set(unix.SOL_IP, unix.IP_FREEBIND, 1) }},
		{"IP_TRANSPARENT", func(k *Sock) { k.Set(unix.SOL_IP, unix.IP_TRANSPARENT, 1) }},
	}
	foreign := map[string][4]byte{"of the subnet": {10, 9, 0, 77}, "from elsewhere": {192, 0, 2, 1}, "the peer's": {10, 9, 0, 2},
		"of loopback": {127, 9, 9, 9}, "a group": {224, 0, 0, 1}, "a broadcast": {10, 9, 0, 255}, "limited": {255, 255, 255, 255},
		"of the zero network": {0, 1, 2, 3}, "class E": {240, 1, 2, 3}}
	for _, o := range options {
		for what, ip := range foreign {
			cases = append(cases, Case{Name: fmt.Sprintf("foreign/%s/%s", o.name, what), Run: func(r *Run) {
				a, b := r.UDP("a"), r.FarUDP("b")
				a.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
				o.set(a)
				a.Bind(sockapi.Inet4(ip, 7001))
				a.Names()
				b.Bind(r.Far(7002))
				a.Sendto([]byte("x"), 0, r.Far(7002))
				a.Sendto([]byte("y"), 0, sockapi.Inet4([4]byte{255, 255, 255, 255}, 7002))
				a.Sendto([]byte("z"), 0, sockapi.Inet4([4]byte{224, 0, 0, 1}, 7002))
				r.Sync()
				b.Recvfrom(10, unix.MSG_DONTWAIT)
				b.Recvfrom(10, unix.MSG_DONTWAIT)
				a.Connect(r.Far(7002))
				a.Names()
				a.Send([]byte("connected"), 0)
				r.Sync()
				b.Recvfrom(10, unix.MSG_DONTWAIT)
				a.Get(unix.SOL_IP, unix.IP_MTU, 4)
				a.Connect(sockapi.Sockaddr{})
				a.Names()
				a.Error()
			}})
		}
		cases = append(cases, Case{Name: "foreign/" + o.name + "/turned off again", Run: func(r *Run) {
			a, b := r.UDP("a"), r.FarUDP("b")
			o.set(a)
			b.Bind(r.Far(7002))
			a.Bind(sockapi.Inet4([4]byte{10, 9, 0, 77}, 7001))
			a.Set(unix.SOL_IP, unix.IP_FREEBIND, 0)
			a.Set(unix.SOL_IP, unix.IP_TRANSPARENT, 0)
			a.Sendto([]byte("x"), 0, r.Far(7002))
			r.Sync()
			b.Recvfrom(10, unix.MSG_DONTWAIT)
		}})
		cases = append(cases, Case{Name: "foreign/" + o.name + "/ping", Run: func(r *Run) {
			a := r.Ping("a")
			o.set(a)
			a.Bind(sockapi.Inet4([4]byte{10, 9, 0, 77}, 71))
			a.Names()
			a.Bind(sockapi.Inet4([4]byte{10, 9, 0, 255}, 71))
			a.Names()
		}})
		// What comes for an address that is not the host's is nobody's, whoever
		// is bound to it.
		cases = append(cases, Case{Name: "foreign/" + o.name + "/received", Tops: []Topology{Wire}, Run: func(r *Run) {
			a := r.UDP("a")
			o.set(a)
			a.Bind(sockapi.Inet4([4]byte{10, 9, 0, 77}, 7001))
			n := r.UDP("n")
			o.set(n)
			n.Bind(sockapi.Inet4([4]byte{}, 7001))
			p := r.packet("p", Far, unix.SOCK_DGRAM, unix.ETH_P_IP)
			to := r.to(unix.ETH_P_IP, r.mac(Near))
			for _, dst := range [][4]byte{{10, 9, 0, 77}, {10, 9, 0, 1}} {
				_, err := p.s.Sendto(udpPacket([4]byte{10, 9, 0, 2}, dst, 7002, 7001), 0, to)
				r.Logf("sent to %v: %s", dst, errnoName(err))
			}
			r.Sync()
			a.Recvfrom(10, unix.MSG_DONTWAIT)
			n.Recvfrom(10, unix.MSG_DONTWAIT)
			n.Recvfrom(10, unix.MSG_DONTWAIT)
		}})
	}
	return cases
}

// udpPacket returns an IP packet with a datagram of one byte.
func udpPacket(src, dst [4]byte, sport, dport uint16) []byte {
	b := make([]byte, ipv4.MinHeaderLen+udp.HeaderLen+1)
	f := ipv4.Fields{TTL: 64, Protocol: ipv4.ProtocolUDP, Src: src, Dst: dst}
	f.Put(b, udp.HeaderLen+1)
	udp.Put(b[ipv4.MinHeaderLen:], src, dst, sport, dport, 1)
	return b
}

// placeCases are of devices and ranges of ports.
func placeCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "place/" + name, Run: run})
	}
	onWire := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "place/" + name, Tops: []Topology{Wire}, Run: run})
	}
	// What comes of sending to everywhere, connected and not.
	everywhere := func(r *Run, addrs [][4]byte, set func(a *Sock)) {
		b, n := r.FarUDP("b"), r.UDP("n")
		b.Bind(sockapi.Inet4([4]byte{}, 7002))
		n.Bind(sockapi.Inet4([4]byte{}, 7002))
		for _, ip := range addrs {
			a := r.UDP("a")
			a.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			set(a)
			a.Sendto([]byte("x"), 0, sockapi.Inet4(ip, 7002))
			a.Names()
			r.Sync()
			b.Recvfrom(10, unix.MSG_DONTWAIT)
			n.Recvfrom(10, unix.MSG_DONTWAIT)
			if a.Connect(sockapi.Inet4(ip, 7002)) == nil {
				a.Names()
				a.Get(unix.SOL_IP, unix.IP_MTU, 4)
				a.Send([]byte("y"), 0)
				r.Sync()
				b.Recvfrom(10, unix.MSG_DONTWAIT)
				n.Recvfrom(10, unix.MSG_DONTWAIT)
				a.Error()
				a.Connect(sockapi.Sockaddr{})
				a.GetInt(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
				a.GetInt(unix.SOL_IP, unix.IP_UNICAST_IF)
			}
			a.Error()
			a.Close()
		}
	}
	loopback := [][4]byte{{127, 0, 0, 1}, {127, 1, 2, 3}}
	for _, index := range []int{loIndex, deviceIndex, 77} {
		addrs := [][4]byte{{10, 9, 0, 1}, {10, 9, 0, 2}, {10, 9, 0, 255}, {255, 255, 255, 255}, {192, 0, 2, 1}}
		if index != deviceIndex {
			addrs = append(addrs, loopback...)
		}
		onWire(fmt.Sprintf("IP_UNICAST_IF/%d", index), func(r *Run) {
			everywhere(r, addrs, func(a *Sock) { a.Set(unix.SOL_IP, unix.IP_UNICAST_IF, index<<24) })
		})
		onWire(fmt.Sprintf("SO_BINDTOIFINDEX/%d", index), func(r *Run) {
			everywhere(r, addrs, func(a *Sock) {
				a.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
				a.Get(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, 16)
				a.Get(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, 8)
			})
		})
		for _, other := range []int{loIndex, deviceIndex} {
			add(fmt.Sprintf("IP_UNICAST_IF/%d of a socket bound to %d", other, index), func(r *Run) {
				a := r.UDP("a")
				a.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
				a.Set(unix.SOL_IP, unix.IP_UNICAST_IF, other<<24)
				a.Get(unix.SOL_IP, unix.IP_UNICAST_IF, 4)
				a.Set(unix.SOL_IP, unix.IP_UNICAST_IF, 0)
			})
		}
		add(fmt.Sprintf("received by a socket bound to %d", index), func(r *Run) {
			a, b := r.UDP("a"), r.FarUDP("b")
			b.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
			b.Bind(r.Far(7002))
			a.Connect(r.Far(7002))
			a.Send([]byte("x"), 0)
			r.Sync()
			b.Recvfrom(10, unix.MSG_DONTWAIT)
			a.Error()
			b.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 0)
			a.Send([]byte("y"), 0)
			r.Sync()
			b.Recvfrom(10, unix.MSG_DONTWAIT)
		})
		add(fmt.Sprintf("set while connected/IP_UNICAST_IF %d", index), func(r *Run) {
			a, b := r.Pair()
			a.Set(unix.SOL_IP, unix.IP_UNICAST_IF, index<<24)
			a.Send([]byte("x"), 0)
			r.Sync()
			b.Recv(10, unix.MSG_DONTWAIT)
		})
	}
	onWire("loopback by another device", func(r *Run) {
		everywhere(r, loopback, func(a *Sock) { a.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, deviceIndex) })
	})
	for _, s := range [][2]int{{40000, 40000}, {40000, 40002}, {1, 32769}, {60998, 65535}, {1, 2}, {0, 32768}, {60999, 0}} {
		add(fmt.Sprintf("IP_LOCAL_PORT_RANGE/%d to %d", s[0], s[1]), func(r *Run) {
			for i := range 5 {
				k := r.UDP(fmt.Sprintf("k%d", i))
				k.Set(unix.SOL_IP, ipLocalRange, s[1]<<16|s[0])
				switch i % 3 {
				case 0:
					k.Bind(r.Near(0))
				case 1:
					k.Connect(r.Far(7002))
				case 2:
					k.Sendto([]byte("x"), 0, r.Far(7002))
				}
				port := int(k.Addr().Port)
				r.Logf("has a port: %t; in the range: %t", port != 0, port >= s[0] && port <= s[1])
			}
			k := r.UDP("named")
			k.Set(unix.SOL_IP, ipLocalRange, s[1]<<16|s[0])
			k.Bind(r.Near(7005))
			k.Names()
			p := r.Ping("p")
			p.Set(unix.SOL_IP, ipLocalRange, s[1]<<16|s[0])
			p.Bind(r.Near(0))
			r.Logf("a ping socket has an ident: %t", p.Addr().Port != 0)
		})
	}
	add("IP_PROTOCOL is the port", func(r *Run) {
		a := r.UDP("a")
		a.Bind(r.Near(7001))
		a.GetInt(unix.SOL_IP, ipProtocol)
		p := r.Ping("p")
		p.Bind(r.Near(71))
		p.GetInt(unix.SOL_IP, ipProtocol)
	})
	add("SO_CNX_ADVICE", func(r *Run) {
		a, b := r.Pair()
		for range 2 {
			a.Send([]byte("x"), 0)
			a.Set(unix.SOL_SOCKET, unix.SO_CNX_ADVICE, 1)
		}
		r.Sync()
		b.Recv(10, unix.MSG_DONTWAIT)
		b.Recv(10, unix.MSG_DONTWAIT)
	})
	return cases
}
