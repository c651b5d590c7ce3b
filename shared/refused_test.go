package shared

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// queued takes an entry of a socket's error queue and writes it down; "" if there is none
// within a while.
func queued(t testing.TB, s *sockapi.Socket) string {
	t.Helper()
	if !failing(t, s) {
		return "nothing"
	}
	b, control := make([]byte, 2000), make([]byte, 256)
	m := sockapi.Msghdr{Iov: [][]byte{b}, Control: control}
	n, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE)
	if err != nil {
		return err.Error()
	}
	for rest := control[:m.ControlLen]; ; {
		c, next, ok := sockapi.NextCmsg(rest)
		if !ok {
			return "no IP_RECVERR"
		}
		if rest = next; c.Level != unix.SOL_IP || c.Type != unix.IP_RECVERR {
			continue
		}
		return fmt.Sprintf("%v origin %d type %d code %d info %d from %v, to %s, %.10q", unix.Errno(binary.NativeEndian.Uint32(c.Data)),
			c.Data[4], c.Data[5], c.Data[6], binary.NativeEndian.Uint32(c.Data[8:]), c.Data[20:24], m.Name.AddrPort(), b[:n])
	}
}

// failing waits until a socket has an error, and reports whether it has.
func failing(t testing.TB, s *sockapi.Socket) bool {
	t.Helper()
	if s.OutOfBand() {
		n, err := s.API().Poll([]sockapi.PollFd{{Socket: s}}, soon)
		check(t, err)
		return n == 1
	}
	fd, err := s.PollFD()
	check(t, err)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, int(soon.Milliseconds()))
	check(t, err)
	return n == 1
}

// refused sends to a port that nobody has, and returns what the socket is told of that.
func refused(p party, to netip.AddrPort, connected, queue bool) (log string) {
	var options [][3]int
	if queue {
		options = append(options, recvErr)
	}
	s := p.open(netip.AddrPort{}, options...)
	defer s.Close()
	name := to
	if connected {
		check(p.t, s.Connect(sockapi.InetAddrPort(to)))
		name = netip.AddrPort{}
	}
	for range 2 {
		ask(p.t, s, name)
		switch {
		case queue:
			log += queued(p.t, s) + "\n"
		case connected:
			r, err := tryReceive(s, 0)
			log += fmt.Sprintf("received %q, %v\n", r.data, err)
		}
	}
	if r, err := tryReceive(s, unix.MSG_DONTWAIT); err == nil {
		log += fmt.Sprintf("and %q", r.data)
	}
	return log
}

// ask sends a question. In-band the error of the last one is queued before it is the
// socket's, and so may be told by the next call, which then has sent nothing.
func ask(t testing.TB, s *sockapi.Socket, to netip.AddrPort) {
	t.Helper()
	m := sockapi.Msghdr{Iov: [][]byte{[]byte("question")}}
	if to.IsValid() {
		m.Name = sockapi.InetAddrPort(to)
	}
	_, err := s.Sendmsg(&m, 0)
	if err == unix.ECONNREFUSED {
		_, err = s.Sendmsg(&m, 0)
	}
	check(t, err)
}

// refusedAsInBand compares what sockets are told of a closed port with what in-band ones are.
func refusedAsInBand(t *testing.T, all []party, to string) {
	t.Helper()
	for _, connected := range []bool{true, false} {
		for _, queue := range []bool{false, true} {
			want := ""
			for i, p := range all {
				got := refused(p, netip.MustParseAddrPort(to), connected, queue)
				if i == 0 {
					want = got
				}
				if got != want {
					t.Errorf("%s to %s, connected %t, queue %t:\n%swant\n%s", p.name, to, connected, queue, got, want)
				}
			}
		}
	}
}

// A port that nobody has is refused: on this host, at any of its addresses, and at the far
// end.
func TestRefused(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.ip("address", "add", onLo+"/32", "dev", "lo")
		w.Far().SetSysctl("net/ipv4/icmp_msgs_burst", "1000")
		check(t, w.Far().SetSysctl("net/ipv4/icmp_ratelimit", "0"))
		before := counters(t, w.Near())
		all := w.parties(w.another())
		for _, to := range append(localAddresses, "10.9.0.2") {
			refusedAsInBand(t, all, to+":9")
		}
		if g := grown(before, counters(t, w.Near()), "IcmpInErrors", "IpInAddrErrors"); g != "" {
			t.Errorf("the kernel has counted %s", g)
		}
	})
}

// The kernel, and only it, answers for a port here that nobody has: once.
func TestRefuses(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.socket("0.0.0.0:7")
		wire := w.Far().Packet(t)
		before := counters(t, w.Near())
		s := inBand(t, w.Far()).open(netip.AddrPort{})
		check(t, s.Connect(sockapi.InetAddrPort(addrPort(w.Near(), 8))))
		sendTo(t, s, "question", netip.AddrPort{})
		if r, err := tryReceive(s, 0); err != unix.ECONNREFUSED {
			t.Errorf("received %q, %v", r.data, err)
		}
		if g := grown(before, counters(t, w.Near()), "UdpNoPorts", "IcmpOutDestUnreachs"); g != "UdpNoPorts+1 IcmpOutDestUnreachs+1" {
			t.Errorf("the kernel has counted %s", g)
		}
		isICMP := func(f []byte) bool { return f[12] == 8 && f[13] == 0 && f[23] == 1 }
		wire.Want(t, isICMP)
		if wire.Next(t, 20*time.Millisecond, isICMP) != nil {
			t.Error("there are several ICMP errors on the wire")
		}
	})
}

// beyond is the address of a host behind the far end, over a link with an MTU of 1300.
const beyond = "192.0.2.2"

// routed makes the far end a router to a host behind it.
func (w *world) routed() *lab.Endpoint {
	w.t.Helper()
	n, err := netlab.NewNamespace()
	check(w.t, err)
	w.t.Cleanup(func() { n.Close() })
	far := w.Far()
	check(w.t, far.AddVeth(netlab.Veth{Name: "narrow0", PeerName: "beyond0", Peer: n, MTU: 1300}))
	check(w.t, far.AddAddress("narrow0", netip.MustParsePrefix("192.0.2.1/24")))
	check(w.t, n.AddAddress("beyond0", netip.MustParsePrefix(beyond+"/24")))
	check(w.t, far.SetUp("narrow0"))
	check(w.t, n.SetUp("beyond0"))
	check(w.t, far.SetSysctl("net/ipv4/ip_forward", "1"))
	check(w.t, n.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.0.2.1")))
	w.ip("route", "add", "192.0.2.0/24", "via", "10.9.0.2")
	return &lab.Endpoint{Namespace: n, Name: "beyond0", Addr: netip.MustParseAddr(beyond)}
}

// A router says that a datagram is too long: the socket has the error, the stack another
// path MTU, and the kernel too, which others on the host go by.
func TestFragmentationNeeded(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		behind := inBand(t, w.routed())
		server := behind.open(netip.MustParseAddrPort("0.0.0.0:9"))
		to := sockapi.InetAddrPort(netip.MustParseAddrPort(beyond + ":9"))
		s := w.party("here").open(netip.AddrPort{}, recvErr, [3]int{unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO})
		check(t, s.Connect(to))
		mtu := func(s *sockapi.Socket) int {
			n, err := s.GetsockoptInt(unix.SOL_IP, unix.IP_MTU)
			check(t, err)
			return n
		}
		w.eventually("a route", func() bool { return mtu(s) == 1500 })
		sendTo(t, s, text(0, 1400), netip.AddrPort{})
		want := fmt.Sprintf("%v origin 2 type 3 code 4 info 1300 from [10 9 0 2], to %s:9, %.10q", unix.EMSGSIZE, beyond, text(0, 1400))
		if got := queued(t, s); got != want {
			t.Errorf("queued %s\nwant %s", got, want)
		}
		other := inBand(t, w.Near()).open(netip.AddrPort{})
		check(t, other.Connect(to))
		if ours, kernels := mtu(s), mtu(other); ours != 1300 || kernels != 1300 {
			t.Errorf("path MTUs: %d, the kernel's %d", ours, kernels)
		}
		if _, err := s.Send(make([]byte, 1400), 0); err != unix.EMSGSIZE {
			t.Errorf("the next one: %v", err)
		}
		sendTo(t, s, text(1, 1200), netip.AddrPort{})
		if got := receive(t, server); got.data != text(1, 1200) {
			t.Errorf("arrived: %.10q", got.data)
		}
		// Fragmented, as others are on the path.
		wants := w.party("here").open(netip.AddrPort{}, [3]int{unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_WANT})
		sendTo(t, wants, text(2, 4000), netip.MustParseAddrPort(beyond+":9"))
		if got := receive(t, server); got.data != text(2, 4000) {
			t.Errorf("arrived: %.10q", got.data)
		}
	})
}

// A router says that the time to live was exceeded, as it says to in-band sockets.
func TestTimeExceeded(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.routed()
		want := ""
		for _, p := range []party{inBand(t, w.Near()), w.party("here")} {
			s := p.open(netip.AddrPort{}, recvErr, [3]int{unix.SOL_IP, unix.IP_TTL, 1})
			sendTo(t, s, "question", netip.MustParseAddrPort(beyond+":9"))
			got := queued(t, s)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s: %s, want %s", p.name, got, want)
			}
		}
	})
}
