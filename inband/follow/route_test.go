package follow

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A routeCase is a query that is compared with what ip(8) and an in-band socket say.
type routeCase struct {
	name  string
	setup string // lines for ip(8)
	q     Query
	dev   string // by which it goes, "" for the error
	via   string
	src   string
	mtu   int // of the answer: 0 for the device's
	errno unix.Errno
	kind  Kind // 0: Unicast
}

func ip4(s string) [4]byte { return netip.MustParseAddr(s).As4() }

// routeCases are run in the order they are in, in one namespace; far is 10.9.0.0/16 and
// below.
var routeCases = []routeCase{
	{name: "no route", q: Query{Dst: ip4("10.9.0.1")}, errno: unix.ENETUNREACH},
	{name: "on the link", q: Query{Dst: ip4("10.0.0.2")}, dev: "up0", src: "10.0.0.1"},
	{name: "own", q: Query{Dst: ip4("10.0.0.1")}, dev: "lo", src: "10.0.0.1", kind: Local},
	{name: "own on lo", q: Query{Dst: ip4("192.0.2.1")}, dev: "lo", src: "192.0.2.1", kind: Local},
	{name: "loopback", q: Query{Dst: ip4("127.0.0.1")}, dev: "lo", src: "127.0.0.1", kind: Local},
	{name: "broadcast", q: Query{Dst: ip4("10.0.0.255")}, dev: "up0", src: "10.0.0.1", kind: Broadcast},
	{name: "limited broadcast without route", q: Query{Dst: ip4("255.255.255.255")}, errno: unix.ENETUNREACH},
	{name: "limited broadcast by device", q: Query{Dst: ip4("255.255.255.255"), Device: 1}, dev: "up1", src: "10.1.0.1", kind: Broadcast},
	{name: "group without route", q: Query{Dst: ip4("239.1.1.1")}, errno: unix.ENETUNREACH},
	{name: "group by device", q: Query{Dst: ip4("239.1.1.1"), Device: 1}, dev: "up1", src: "10.1.0.1", kind: Multicast},
	{name: "group from", q: Query{Dst: ip4("239.1.1.1"), Src: ip4("10.1.0.1")}, dev: "up1", src: "10.1.0.1", kind: Multicast},
	{name: "device without route", q: Query{Dst: ip4("10.9.0.1"), Device: 1}, dev: "up1", src: "10.1.0.1"},
	{name: "no device", q: Query{Dst: ip4("10.9.0.1"), Device: 77}, errno: unix.ENODEV},
	{name: "source not ours", q: Query{Dst: ip4("10.0.0.2"), Src: ip4("10.8.8.8")}, errno: unix.ENETUNREACH},
	{name: "source of another device", q: Query{Dst: ip4("10.0.0.2"), Src: ip4("10.1.0.1")}, dev: "up0", src: "10.1.0.1"},
	{name: "source on lo", q: Query{Dst: ip4("10.0.0.2"), Src: ip4("192.0.2.1")}, dev: "up0", src: "192.0.2.1"},
	{name: "default", setup: "route add default via 10.0.0.2", q: Query{Dst: ip4("10.9.0.1")}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1"},
	{name: "default by the other device", q: Query{Dst: ip4("10.9.0.1"), Device: 1}, dev: "up1", src: "10.1.0.1"},
	{name: "group by default", q: Query{Dst: ip4("239.1.1.1")}, dev: "up0", src: "10.0.0.1", kind: Multicast},
	{name: "preferred source", setup: "route add 10.9.1.0/24 via 10.0.0.2 src 10.0.0.9", q: Query{Dst: ip4("10.9.1.1")}, dev: "up0", via: "10.0.0.2", src: "10.0.0.9"},
	{name: "preferred source on lo", setup: "route add 10.9.2.0/24 via 10.1.0.2 src 192.0.2.1", q: Query{Dst: ip4("10.9.2.1")}, dev: "up1", via: "10.1.0.2", src: "192.0.2.1"},
	{name: "metrics", setup: "route add 10.9.3.0/24 via 10.1.0.2 metric 10 \n route add 10.9.3.0/24 via 10.0.0.2 metric 20", q: Query{Dst: ip4("10.9.3.1")}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "MTU", setup: "route add 10.9.4.0/24 via 10.0.0.2 mtu 1300", q: Query{Dst: ip4("10.9.4.1")}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1", mtu: 1300},
	{name: "locked MTU", setup: "route add 10.9.5.0/24 via 10.0.0.2 mtu lock 1200", q: Query{Dst: ip4("10.9.5.1")}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1", mtu: 1200},
	{name: "MTU above the device's", setup: "route add 10.9.6.0/24 via 10.0.0.2 mtu 9000", q: Query{Dst: ip4("10.9.6.1")}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1", mtu: 9000},
	{name: "blackhole", setup: "route add blackhole 10.9.10.0/24", q: Query{Dst: ip4("10.9.10.1")}, errno: unix.EINVAL},
	{name: "unreachable", setup: "route add unreachable 10.9.11.0/24", q: Query{Dst: ip4("10.9.11.1")}, errno: unix.EHOSTUNREACH},
	{name: "prohibit", setup: "route add prohibit 10.9.12.0/24", q: Query{Dst: ip4("10.9.12.1")}, errno: unix.EACCES},
	{name: "throw to what comes next", setup: "rule add pref 100 table 100 \n route add throw 10.9.13.0/24 table 100 \n route add 10.9.0.0/16 via 10.1.0.2 table 100", q: Query{Dst: ip4("10.9.13.1")}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1"},
	{name: "table", q: Query{Dst: ip4("10.9.14.1")}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "rule by mark", setup: "rule del pref 100 \n rule add pref 101 fwmark 7 table 100", q: Query{Dst: ip4("10.9.14.1"), Mark: 7}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "another mark", q: Query{Dst: ip4("10.9.14.1"), Mark: 8}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1"},
	{name: "rule by TOS", setup: "rule add pref 102 tos 0x10 table 100", q: Query{Dst: ip4("10.9.14.1"), TOS: 0x10}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "TOS with ECN", q: Query{Dst: ip4("10.9.14.1"), TOS: 0x13}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "rule by source", setup: "rule add pref 103 from 10.0.0.9 table 100", q: Query{Dst: ip4("10.9.14.1"), Src: ip4("10.0.0.9")}, dev: "up1", via: "10.1.0.2", src: "10.0.0.9"},
	{name: "rule by user", setup: "rule add pref 104 uidrange 4711-4712 table 100", q: Query{Dst: ip4("10.9.14.1"), UID: 4711}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "another user", q: Query{Dst: ip4("10.9.14.1"), UID: 4713}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1"},
	{name: "rule by device", setup: "rule add pref 105 oif up1 table 100", q: Query{Dst: ip4("10.9.14.1"), Device: 1}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "rule by port", setup: "rule add pref 106 ipproto udp dport 53 table 100", q: Query{Dst: ip4("10.9.14.1"), DstPort: 53}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "rule that prohibits", setup: "rule add pref 107 fwmark 9 prohibit", q: Query{Dst: ip4("10.9.14.1"), Mark: 9}, errno: unix.EACCES},
	{name: "nexthop object", setup: "nexthop add id 1 via 10.1.0.2 dev up1 \n route add 10.9.20.0/24 nhid 1", q: Query{Dst: ip4("10.9.20.1")}, dev: "up1", via: "10.1.0.2", src: "10.1.0.1"},
	{name: "nexthop object changed", setup: "nexthop replace id 1 via 10.0.0.2 dev up0", q: Query{Dst: ip4("10.9.20.1")}, dev: "up0", via: "10.0.0.2", src: "10.0.0.1"},
	{name: "nexthop object blackhole", setup: "nexthop add id 2 blackhole \n route add 10.9.21.0/24 nhid 2", q: Query{Dst: ip4("10.9.21.1")}, errno: unix.EINVAL},
	{name: "onlink", setup: "route add 10.9.22.0/24 via 172.16.0.1 dev up1 onlink", q: Query{Dst: ip4("10.9.22.1")}, dev: "up1", via: "172.16.0.1", src: "10.1.0.1"},
	{name: "link down", setup: "link set up1 down", q: Query{Dst: ip4("10.9.20.1"), Device: 1}, errno: unix.ENETUNREACH},
	{name: "link up again", setup: "link set up1 up", q: Query{Dst: ip4("10.1.0.2")}, dev: "up1", src: "10.1.0.1"},
}

func TestRoute(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	for _, c := range routeCases {
		l.ip(c.setup)
		if c.q.Device == 1 {
			c.q.Device = l.index("up1")
		}
		if c.kind == 0 {
			c.kind = Unicast
		}
		t.Run(c.name, func(t *testing.T) { l.checkRoute(t, k, c) })
	}
}

// TestRequestLeavesECNOut looks at the message: newer kernels leave it out themselves.
func TestRequestLeavesECNOut(t *testing.T) {
	s := socket{}
	if tos := s.routeRequest(Query{TOS: 0xff})[unix.NLMSG_HDRLEN+3]; tos != 0xfc {
		t.Errorf("TOS %#x", tos)
	}
}

// TestKernelOnly has ways that no ring can go.
func TestKernelOnly(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	must(t, l.SetSysctl("net/ipv6/conf/up0/disable_ipv6", "0"))
	for name, route := range map[string]string{
		"IPv6 gateway":  "route add 10.9.1.0/24 via inet6 fe80::1 dev up0",
		"encapsulation": "route add 10.9.1.0/24 encap ip id 3 dst 10.0.0.2 dev up0",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := l.command("ip", strings.Fields(route)...); err != nil {
				t.Skip("not with this kernel: ", said(err))
			}
			q := Query{Dst: ip4("10.9.1.1")}
			if a, errno := k.Route(q); errno != 0 || !a.KernelOnly || a.Device != l.index("up0") {
				t.Errorf("%+v %v", a, errno)
			}
			l.ip("route del 10.9.1.0/24")
			if a, errno := k.Route(Query{Dst: ip4("10.0.0.2")}); errno != 0 || a.KernelOnly {
				t.Errorf("%+v %v", a, errno)
			}
		})
	}
}

// checkRoute compares an answer with what is expected, with ip(8)'s and with what becomes
// of an in-band socket.
func (l *lab) checkRoute(t *testing.T, k *Kernel, c routeCase) {
	a, errno := k.Route(c.q)
	if errno != c.errno {
		t.Fatalf("%v %v, want %v", a, errno, c.errno)
	}
	if got := l.connect(t, c.q); got.errno != errno {
		t.Errorf("%v, in-band %v", errno, got.errno)
	} else if errno == 0 {
		l.compare(t, c, a, got)
	}
}

func (l *lab) compare(t *testing.T, c routeCase, a Answer, got inbandRoute) {
	want := Answer{Kind: c.kind, Src: ip4(c.src), MTU: c.mtu, MTULocked: strings.HasPrefix(c.name, "locked"), Device: l.index(c.dev)}
	if c.via != "" {
		want.Gateway = ip4(c.via)
	}
	if a != want {
		t.Errorf("%+v, want %+v", a, want)
	}
	if a.Src != got.src {
		t.Errorf("from %v, in-band from %v", a.Src, got.src)
	}
	d, _ := l.Device(c.dev)
	const ipMaxMTU = 65535 // which the kernel's IP makes of lo's 65536
	if mtu := a.MTU; mtu != got.mtu && (mtu != 0 || min(d.MTU, ipMaxMTU) != got.mtu) {
		t.Errorf("MTU %d (the device's %d), in-band %d", mtu, d.MTU, got.mtu)
	}
	if dev, via := l.routeGet(t, c.q); dev != c.dev || via != c.via {
		t.Errorf("ip route get: %s via %q", dev, via)
	}
}

// An inbandRoute is what becomes of a connected in-band socket.
type inbandRoute struct {
	src   [4]byte
	mtu   int // IP_MTU
	errno unix.Errno
}

// connect connects an in-band socket as a query says.
func (l *lab) connect(t *testing.T, q Query) (r inbandRoute) {
	t.Helper()
	must(t, l.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := prepare(fd, q); err != nil {
			return err
		}
		port := int(q.DstPort)
		if port == 0 {
			port = 9
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: q.Dst, Port: port})
		if err != nil {
			r.errno = err.(unix.Errno)
			return nil
		}
		local, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		r.src = local.(*unix.SockaddrInet4).Addr
		r.mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
		return err
	}))
	return r
}

// prepare gives a socket what a query says.
func prepare(fd int, q Query) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_BROADCAST, 1}, {unix.IPPROTO_IP, unix.IP_FREEBIND, 1},
		{unix.SOL_SOCKET, unix.SO_MARK, int(q.Mark)}, {unix.IPPROTO_IP, unix.IP_TOS, int(q.TOS)},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	if q.Device != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(q.Device)); err != nil {
			return err
		}
	}
	if q.UID != 0 {
		if err := unix.Fchown(fd, int(q.UID), -1); err != nil {
			return err
		}
	}
	if q.Src != [4]byte{} || q.SrcPort != 0 {
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: q.Src, Port: int(q.SrcPort)})
	}
	return nil
}

// routeGet asks ip(8).
func (l *lab) routeGet(t *testing.T, q Query) (dev, via string) {
	t.Helper()
	args := []string{"-json", "route", "get", netip.AddrFrom4(q.Dst).String()}
	add := func(name, value string) { args = append(args, name, value) }
	if q.Src != [4]byte{} {
		add("from", netip.AddrFrom4(q.Src).String())
	}
	if q.Device != 0 {
		for _, d := range []string{"up0", "up1"} {
			if l.index(d) == q.Device {
				add("oif", d)
			}
		}
	}
	add("mark", strconv.Itoa(int(q.Mark)))
	add("tos", fmt.Sprintf("%#x", q.TOS&^3))
	add("uid", strconv.Itoa(int(q.UID)))
	if q.DstPort != 0 {
		args = slices.Concat(args, []string{"ipproto", "udp", "dport", strconv.Itoa(int(q.DstPort))})
	}
	out, err := l.command("ip", args...)
	if err != nil {
		t.Fatalf("ip %s: %s", strings.Join(args, " "), said(err))
	}
	var answers []struct{ Dev, Gateway string }
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != 1 {
		t.Fatalf("%s: %v", out, err)
	}
	return answers[0].Dev, answers[0].Gateway
}
