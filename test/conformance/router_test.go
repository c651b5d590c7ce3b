package conformance

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// narrow is the MTU behind the router in bytes.
const narrow = 1300

// A routed world has a router of the kernel's between us and a server:
//
//	our stack --- 10.9.0.0/24 --- far (router) --- 10.10.0.0/24, MTU narrow --- server
//	 10.9.0.1                 10.9.0.2   10.10.0.1                     10.10.0.2
type routed struct {
	*world
	wan    *lab.Endpoint // the router's other device, in the router's namespace
	server *lab.Endpoint
}

func newRouted(t *testing.T) *routed {
	w := newWorld(t, setup{})
	ns, err := netlab.NewNamespace()
	check(t, err)
	t.Cleanup(func() { check(t, ns.Close()) })
	r := &routed{world: w,
		wan:    &lab.Endpoint{Namespace: w.far.Namespace, Name: "wan0", Addr: netip.MustParseAddr("10.10.0.1")},
		server: &lab.Endpoint{Namespace: ns, Name: "srv0", Addr: netip.MustParseAddr("10.10.0.2")},
	}
	check(t, w.far.AddVeth(netlab.Veth{Name: r.wan.Name, PeerName: r.server.Name, Peer: ns, MTU: narrow}))
	for _, e := range []*lab.Endpoint{r.wan, r.server} {
		check(t, e.AddAddress(e.Name, e.Prefix()))
		check(t, e.SetUp(e.Name))
	}
	check(t, w.far.SetSysctl("net/ipv4/ip_forward", "1"))
	check(t, ns.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), r.wan.Addr))
	w.addDefaultRoute()
	return r
}

func defaultRoute(gateway netip.Addr) ipv4.Route {
	return ipv4.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: gateway.As4()}
}

func TestGateway(t *testing.T) {
	r := newRouted(t)
	k, peer := r.udp(7), r.server.UDP(t, 7)
	for i, n := range []int{0, 100, narrow - 28, narrow - 27, 8000} {
		b := pattern(n, uint32(i))
		k.SetMTUDiscover(unix.IP_PMTUDISC_DONT) // the router cuts what is too long
		r.send(k, b, r.server.AddrPort(7))
		got, from := recvInBand(t, peer)
		wantBytes(t, got, b)
		check(t, peer.SendTo(b, from))
		got, info := r.recv(k)
		wantBytes(t, got, b)
		if info.From != r.server.Addr.As4() || info.TTL != 63 {
			t.Errorf("from %v with TTL %d, want %v with 63", info.From, info.TTL, r.server.Addr)
		}
	}
	if _, ok := r.neighbour(r.server.Addr); ok {
		t.Error("the server is in our neighbour table, a router away")
	}
	if n, ok := r.neighbour(r.far.Addr); !ok || n.MAC != r.far.MAC {
		t.Errorf("the gateway's entry is %+v", n)
	}
	wantErr(t, r.stack.Solicit(r.server.Addr, lab.Patience, 0), unix.EMULTIHOP)
	check(t, r.stack.Solicit(r.server.Addr, lab.Patience, stack.SolicitMayRoute))
}

func TestPingThroughRouter(t *testing.T) {
	r := newRouted(t)
	k := r.ping()
	k.SetMTUDiscover(unix.IP_PMTUDISC_DONT)
	for i, n := range []int{56, 5000, maxPayload} {
		data := pattern(n, uint32(i))
		r.send(k, icmp.AppendEcho(nil, icmp.Echo, 0, uint16(i), data), r.server.AddrPort(0))
		got, _ := r.recv(k)
		wantBytes(t, got[icmp.HeaderLen:], data)
	}
	s := rawSocket(t, r.server, unix.IPPROTO_ICMP)
	s.send(icmp.AppendEcho(nil, icmp.Echo, 5, 5, pattern(5000, 5)), r.near.Addr)
	wantBytes(t, s.recvICMP(icmp.EchoReply)[icmp.HeaderLen:], pattern(5000, 5))
}

// The default: a datagram too long for the path is lost, the router says why,
// and those that follow are cut to fit.
func TestPathMTUWant(t *testing.T) {
	r := newRouted(t)
	k, peer, wire := r.udp(7), r.server.UDP(t, 7), r.far.Packet(t)
	check(t, peer.SetReadTimeout(20*time.Millisecond))
	b, buf, tries := pattern(1472, 1), make([]byte, 2000), 0
	await(t, "a datagram that fits the path", func() bool {
		tries++
		r.send(k, b, r.server.AddrPort(7))
		n, err := peer.Recv(buf, 0)
		return err == nil && n == len(b)
	})
	wantBytes(t, buf[:1472], b)
	if tries == 1 || r.stat("IcmpInDestUnreachs") == 0 {
		t.Errorf("%d tries, %d errors: the path was not too narrow", tries, r.stat("IcmpInDestUnreachs"))
	}
	first := wire.Want(t, udpFromPort(7))
	h, _, _ := ipv4.Parse(first[14:])
	if !h.DontFragment() || h.TotalLen() != 1500 {
		t.Errorf("the first datagram has DF %v, length %d", h.DontFragment(), h.TotalLen())
	}
	if e := k.Errors().Take(); e != 0 {
		t.Errorf("an unconnected socket got %v", e)
	}
	// Another host on our own network is not concerned.
	c := r.udp(0)
	check(t, c.Connect(r.kernels(9)))
	if mtu, err := c.PathMTU(); mtu != 1500 || err != nil {
		t.Errorf("path MTU to the router itself is %d, %v", mtu, err)
	}
}

// IP_PMTUDISC_DO leaves the cutting to the application, and tells it.
func TestPathMTUDo(t *testing.T) {
	r := newRouted(t)
	k, peer := r.udp(7), r.server.UDP(t, 7)
	k.SetMTUDiscover(unix.IP_PMTUDISC_DO)
	check(t, k.Connect(r.server.AddrPort(7)))
	wantErr(t, k.Send(make([]byte, 1473), 0, stack.NoDeadline), unix.EMSGSIZE) // the device's MTU
	if mtu, err := k.PathMTU(); mtu != 1500 || err != nil {
		t.Errorf("path MTU is %d, %v before anything was learnt", mtu, err)
	}
	check(t, k.Send(make([]byte, 1472), 0, stack.NoDeadline))
	wantErr(t, r.awaitError(k), unix.EMSGSIZE)
	if mtu, err := k.PathMTU(); mtu != narrow || err != nil {
		t.Errorf("path MTU is %d, %v, want %d", mtu, err, narrow)
	}
	wantErr(t, k.Send(make([]byte, narrow-27), 0, stack.NoDeadline), unix.EMSGSIZE)
	check(t, k.Send(pattern(narrow-28, 3), 0, stack.NoDeadline))
	got, _ := recvInBand(t, peer)
	wantBytes(t, got, pattern(narrow-28, 3))
	// IP_PMTUDISC_PROBE asks the path again, whatever is known.
	k.SetMTUDiscover(unix.IP_PMTUDISC_PROBE)
	errors := r.stat("IcmpInDestUnreachs")
	check(t, k.Send(make([]byte, 1472), 0, stack.NoDeadline))
	await(t, "another error", func() bool { return r.stat("IcmpInDestUnreachs") > errors })
}

// Who forges a fragmentation needed needs a datagram of ours to quote, and even
// then gets no lower than 552 bytes.
func TestPathMTUForged(t *testing.T) {
	r := newRouted(t)
	k, peer, h := r.udp(7), r.server.UDP(t, 7), r.hand()
	check(t, k.Connect(r.server.AddrPort(7)))
	check(t, k.Send(pattern(1000, 1), 0, stack.NoDeadline))
	recvInBand(t, peer)
	genuine := h.wire.Want(t, udpFromPort(7))[14:]
	forge := func(mtu int, quote []byte) {
		h.send(h.fields(ipv4.ProtocolICMP), icmp.AppendError(nil, icmp.DestinationUnreachable,
			icmp.CodeFragmentation, icmp.FragmentationRest(mtu), quote))
		r.echoHere()
	}
	wantMTU := func(want int) {
		t.Helper()
		if mtu, err := k.PathMTU(); mtu != want || err != nil {
			t.Errorf("path MTU is %d, %v, want %d", mtu, err, want)
		}
	}
	other := append([]byte(nil), genuine...)
	other[20] ^= 1 // the source port
	forge(700, other)
	wantMTU(1500)
	forge(1400, genuine) // as in Linux the length of what it quotes is no bound: see TestErrors of package wire
	wantMTU(1400)
	forge(68, genuine)
	wantMTU(552)
	if e := k.Errors().Take(); e != unix.EMSGSIZE {
		t.Errorf("a connected socket is told %v", e)
	}
}

// echoHere waits until what was sent to us before has been dealt with.
func (r *routed) echoHere() {
	r.t.Helper()
	marker := r.udp(9)
	defer marker.Close()
	u := r.far.UDP(r.t, 0)
	check(r.t, u.SendTo([]byte("x"), r.ours(9)))
	r.recv(marker)
}

// What a router says of datagrams that it cannot pass on reaches the sockets
// that want to know.
func TestRouterErrors(t *testing.T) {
	r := newRouted(t)
	check(t, r.far.SetSysctl("net/ipv4/neigh/"+r.wan.Name+"/retrans_time_ms", "20"))
	check(t, r.far.SetSysctl("net/ipv4/icmp_ratemask", "0"))
	check(t, r.server.SetSysctl("net/ipv4/icmp_ratemask", "0"))
	for name, c := range map[string]struct {
		ttl  int
		to   string
		want unix.Errno
	}{
		"time to live is over": {1, "10.10.0.2:7", unix.EHOSTUNREACH},
		"no such network":      {64, "10.11.0.1:7", unix.ENETUNREACH},
		"no such host":         {64, "10.10.0.99:7", unix.EHOSTUNREACH},
		"no such port":         {64, "10.10.0.2:9", unix.ECONNREFUSED},
	} {
		t.Run(name, func(t *testing.T) {
			keen, deaf := r.udp(0), r.udp(0)
			keen.Errors().SetRecvErr(true)
			for _, k := range []*stack.UDPSocket{deaf, keen} {
				k.SetTTL(c.ttl)
				r.send(k, []byte("x"), netip.MustParseAddrPort(c.to))
			}
			wantErr(t, r.awaitError(keen), c.want)
			if e := deaf.Errors().Take(); e != 0 {
				t.Errorf("the socket without IP_RECVERR got %v", e)
			}
		})
	}
}

// Routes are ours to add and to take away.
func TestRoutesAtRunTime(t *testing.T) {
	r := newRouted(t)
	k, peer := r.udp(7), r.server.UDP(t, 7)
	check(t, k.Connect(r.server.AddrPort(7)))
	check(t, k.Send([]byte("by the default route"), 0, stack.NoDeadline))
	recvInBand(t, peer)
	wantErr(t, r.stack.AddRoute(defaultRoute(r.far.Addr)), unix.EEXIST)
	var there ipv4.Route
	for _, route := range r.stack.Routes() {
		if route.Prefix.Bits() == 0 {
			there = route
		}
	}
	check(t, r.stack.RemoveRoute(there))
	wantErr(t, r.stack.RemoveRoute(there), unix.ESRCH)
	wantErr(t, k.Send([]byte("x"), 0, stack.NoDeadline), unix.ENETUNREACH)
	check(t, r.stack.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("10.10.0.0/24"),
		Gateway: r.far.Addr.As4(), MTU: 600}))
	check(t, k.Send(pattern(1200, 1), 0, stack.NoDeadline)) // cut to the route's MTU
	got, _ := recvInBand(t, peer)
	wantBytes(t, got, pattern(1200, 1))
	if mtu, err := k.PathMTU(); mtu != 600 || err != nil {
		t.Errorf("path MTU is %d, %v, want the route's 600", mtu, err)
	}
}
