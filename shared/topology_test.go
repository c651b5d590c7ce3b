package shared

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// echoes has an in-band client at another host ask a server of ours at an address, which
// answers, until that works, and then once more: it returns how many datagrams of each the
// holders and the kernel had to do with.
func (w *world) echoes(server *sockapi.Socket, client *sockapi.Socket, at netip.AddrPort) (held, sent uint64) {
	w.t.Helper()
	check(w.t, server.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 50*time.Millisecond))
	check(w.t, client.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 50*time.Millisecond))
	var before uint64
	i := 0
	once := func() bool {
		i++
		held, before = w.host.lo.Stats().RxFrames, w.sentInBand()
		sendTo(w.t, client, text(i, 9), at)
		r, err := w.awaited(server, text(i, 9))
		if err != nil {
			return false
		}
		if _, err := server.Sendto([]byte(r.data), 0, sockapi.InetAddrPort(r.from)); err != nil {
			w.t.Logf("answering %s: %v", r.from, err)
			return false
		}
		answer, err := w.awaited(client, r.data)
		if err == nil && answer.from != at {
			w.t.Errorf("the answer comes from %s, want %s", answer.from, at)
		}
		return err == nil
	}
	w.eventually("echo at "+at.String(), once)
	for name, s := range map[string]*sockapi.Socket{"the server": server, "the client": client} {
		if r, err := tryReceive(s, unix.MSG_DONTWAIT); err == nil && r.data == text(i, 9) {
			w.t.Errorf("%s has it twice", name)
		}
	}
	return w.host.lo.Stats().RxFrames - held, w.sentInBand() - before
}

// awaited receives until it is a certain datagram: there may be some of earlier tries.
func (w *world) awaited(s *sockapi.Socket, data string) (receipt, error) {
	for {
		if r, err := tryReceive(s, 0); err != nil || r.data == data {
			return r, err
		}
	}
}

func (w *world) sentInBand() uint64 { return w.st.Stats().Get("OutbandSentInBand") }

// server opens a socket of the stack's at a port of all addresses.
func (w *world) server(port uint16) *sockapi.Socket {
	w.t.Helper()
	return w.party("here").open(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
}

// client opens a socket at the far end.
func (w *world) client() *sockapi.Socket {
	w.t.Helper()
	return inBand(w.t, w.Far()).open(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
}

// byRing fails unless an echo has gone by the ring, both ways.
func (w *world) byRing(what string, held, sent uint64) {
	w.t.Helper()
	if held != 0 || sent != 0 {
		w.t.Errorf("%s: %d datagrams have come by the holder, and %d gone in-band; all should go by the ring", what, held, sent)
	}
}

// soonByRing waits until a device has a ring, by which an echo goes: until all that a new
// device takes is done, one may go by the holder.
func (w *world) soonByRing(device string, server, client *sockapi.Socket, at netip.AddrPort) {
	w.t.Helper()
	w.eventually("a ring on "+device, func() bool { return w.st.InterfaceByName(device) != nil })
	w.eventually("echoes by the ring on "+device, func() bool {
		held, sent := w.echoes(server, client, at)
		return held == 0 && sent == 0
	})
}

// byHolder fails unless an echo has gone by the kernel, both ways.
func (w *world) byHolder(what string, held, sent uint64) {
	w.t.Helper()
	if held != 1 || sent != 1 {
		w.t.Errorf("%s: %d datagrams have come by the holder, and %d gone in-band, want 1 and 1", what, held, sent)
	}
}

// second joins near and far by another link, 10.8.0.0/24.
func second(t testing.TB, l *lab.Lab) {
	t.Helper()
	check(t, l.Near().AddVeth(netlab.Veth{Name: "near1", PeerName: "far1", Peer: l.Far().Namespace}))
	check(t, l.Near().AddAddress("near1", netip.MustParsePrefix("10.8.0.1/24")))
	check(t, l.Far().AddAddress("far1", netip.MustParsePrefix("10.8.0.2/24")))
	check(t, l.Near().SetUp("near1"))
	check(t, l.Far().SetUp("far1"))
}

// onEachRungIn is onEachRung in a lab that prepare has changed.
func onEachRungIn(t *testing.T, c Config, prepare func(t *testing.T, l *lab.Lab), f func(t *testing.T, w *world)) {
	t.Helper()
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			lab.CheckLeaks(t)
			l := lab.New(t, lab.Config{Kernel: lab.All})
			prepare(t, l)
			c.Only = r
			f(t, worldOf(t, l, c))
		})
	}
}

// What comes by a device without a ring comes by the holder, and is answered in-band, by
// the device and from the address that the kernel chooses.
func TestDeviceWithoutRing(t *testing.T) {
	prepare := func(t *testing.T, l *lab.Lab) { second(t, l) }
	onEachRungIn(t, Config{Devices: []string{"near0"}}, prepare, func(t *testing.T, w *world) {
		s, c := w.server(7), w.client()
		held, sent := w.echoes(s, c, netip.MustParseAddrPort("10.8.0.1:7"))
		w.byHolder("by near1", held, sent)
		held, sent = w.echoes(s, c, netip.MustParseAddrPort("10.9.0.1:7"))
		w.byRing("by near0", held, sent)
		check(t, s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
		// A group and a broadcast by that device, both ways.
		check(t, s.JoinGroup(int(w.index("near1")), group))
		sender := w.sender("far1")
		for _, to := range []string{"233.252.0.7:7", "10.8.0.255:7"} {
			sendTo(t, sender, "x", netip.MustParseAddrPort(to))
			if r := receive(t, s); r.data != "x" || r.from.Addr().String() != "10.8.0.2" {
				t.Errorf("to %s: %+v", to, r)
			}
		}
		member := inBand(t, w.Far()).open(netip.MustParseAddrPort("0.0.0.0:7"))
		far1, err := w.Far().Device("far1")
		check(t, err)
		check(t, member.JoinGroup(far1.Index, group))
		check(t, s.SetMulticastInterface(int(w.index("near1"))))
		for _, to := range []string{"233.252.0.7:7", "10.8.0.255:7"} {
			sendTo(t, s, "y", netip.MustParseAddrPort(to))
			if r := receive(t, member); r.data != "y" || r.from.String() != "10.8.0.1:7" {
				t.Errorf("to %s: %+v", to, r)
			}
			if r := receive(t, s); r.data != "y" { // its own copy
				t.Errorf("to %s, looped: %+v", to, r)
			}
		}
		silent(t, "ours", s)
		check(t, s.SetMulticastLoopback(false))
		sendTo(t, s, "not looped", netip.MustParseAddrPort("233.252.0.7:7"))
		if r := receive(t, member); r.data != "not looped" {
			t.Errorf("not looped: %+v", r)
		}
		sendTo(t, sender, "next", netip.MustParseAddrPort("233.252.0.7:7"))
		if r := receive(t, s); r.data != "next" {
			t.Errorf("ours has what is not looped: %+v", r)
		}
		receive(t, member)
		w.boundWithoutRing()
	})
}

// boundWithoutRing has a socket that is bound to a device without a ring get what comes by
// it, and nothing else, and go by it whatever the routes say.
func (w *world) boundWithoutRing() {
	t := w.t
	s := w.party("here").open(netip.AddrPort{}, pktInfo)
	check(t, s.Setsockopt(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("near1")))
	check(t, s.Bind(sockapi.InetAddrPort(netip.MustParseAddrPort("0.0.0.0:9"))))
	c := w.client()
	sendTo(t, c, "by near0", netip.MustParseAddrPort("10.9.0.1:9"))
	held, sent := w.echoes(s, c, netip.MustParseAddrPort("10.8.0.1:9"))
	w.byHolder("bound to near1", held, sent)
	sendTo(t, c, "by near1", netip.MustParseAddrPort("10.8.0.1:9"))
	if r := receive(t, s); r.device != int(w.index("near1")) || r.to.String() != "10.8.0.1" {
		t.Errorf("received %+v", r)
	}
	w.ip("route", "add", "192.0.2.0/24", "via", "10.9.0.2")
	w.ip("route", "add", "192.0.2.0/24", "via", "10.8.0.2", "metric", "100")
	check(t, w.Far().AddAddress("lo", netip.MustParsePrefix(beyond+"/32")))
	behind := inBand(t, w.Far()).open(netip.MustParseAddrPort(beyond+":9"), pktInfo)
	sendTo(t, s, "by near1", netip.MustParseAddrPort(beyond+":9"))
	if r := receive(t, behind); r.from.String() != "10.8.0.1:9" {
		t.Errorf("received %+v", r)
	}
	// Frames pass by rings only: a packet socket says so.
	p, err := s.API().Socket(unix.AF_PACKET, unix.SOCK_RAW|sockapi.SOCK_OOB, sockapi.HTONS(unix.ETH_P_ALL))
	check(t, err)
	defer p.Close()
	if err := p.Bind(sockapi.LinkLayer(int(w.index("near1")), unix.ETH_P_ALL, [6]byte{})); err != unix.ENODEV {
		t.Errorf("a packet socket is bound to a device without a ring: %v", err)
	}
}

// sender opens an in-band socket at the far end that sends to many by a device.
func (w *world) sender(device string) *sockapi.Socket {
	w.t.Helper()
	d, err := w.Far().Device(device)
	check(w.t, err)
	s := inBand(w.t, w.Far()).open(netip.MustParseAddrPort("10.8.0.2:0"), broadcast)
	check(w.t, s.SetMulticastInterface(d.Index))
	return s
}

// index returns the index of a device at the near end.
func (w *world) index(name string) int32 {
	w.t.Helper()
	d, err := w.Near().Device(name)
	check(w.t, err)
	return int32(d.Index)
}

// lo as the only device: all else goes by the kernel.
func TestLoOnly(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"lo"}}, func(t *testing.T, w *world) {
		s := w.server(7)
		held, sent := w.echoes(s, w.client(), addrPort(w.Near(), 7))
		w.byHolder("by near0", held, sent)
		k := talk{to: "10.9.0.1", size: 60000, segments: 1}
		all := []party{{t, "in-band", w.Near(), nil}, w.party("here")}
		want := k.play(all[0], all[0], 2000)
		for i, p := range []party{all[0], all[1], all[1]} {
			if got := k.play(p, all[i%2], 2000); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
}

// The host's address is on a bridge, of which the device is a port.
func TestBridge(t *testing.T) {
	bridged := func(t *testing.T, l *lab.Lab) {
		n := l.Near()
		check(t, n.RemoveAddress("near0", n.Prefix()))
		check(t, n.AddBridge("br0"))
		check(t, n.AddPort("br0", "near0"))
		check(t, n.AddAddress("br0", n.Prefix()))
		check(t, n.SetUp("br0"))
	}
	for _, devices := range [][]string{{"br0"}, nil} {
		onEachRungIn(t, Config{Devices: devices}, bridged, func(t *testing.T, w *world) {
			s := w.server(7)
			before := counters(t, w.Near())
			held, sent := w.echoes(s, w.client(), addrPort(w.Near(), 7))
			w.byRing("by br0", held, sent)
			if g := grown(before, counters(t, w.Near()), "UdpNoPorts", "IcmpOutDestUnreachs"); g != "" {
				t.Errorf("the kernel has counted %s", g)
			}
		})
	}
	t.Run("port", func(t *testing.T) {
		l := lab.New(t, lab.Config{Kernel: lab.All})
		bridged(t, l)
		l.Near().In(t, func() error {
			h, err := Open(Config{Devices: []string{"near0"}})
			if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "use br0") {
				t.Errorf("error %v", err)
			}
			if err == nil {
				h.Close()
			}
			return nil
		})
	})
}

// A device with a ring becomes a bridge's port: the address goes to the bridge, which is
// followed if no devices are named.
func TestBecomesPort(t *testing.T) {
	onEachRung(t, Config{}, func(t *testing.T, w *world) {
		s, c, n := w.server(7), w.client(), w.Near()
		held, sent := w.echoes(s, c, addrPort(n, 7))
		w.byRing("by near0", held, sent)
		check(t, n.AddBridge("br0"))
		check(t, n.RemoveAddress("near0", n.Prefix()))
		check(t, n.AddPort("br0", "near0"))
		check(t, n.AddAddress("br0", n.Prefix()))
		check(t, n.SetUp("br0"))
		w.soonByRing("br0", s, c, addrPort(n, 7))
	})
}

// A macvlan beside the device, with an address of its own.
func TestMacvlan(t *testing.T) {
	prepare := func(t *testing.T, l *lab.Lab) {
		runIn(t, l.Near().Namespace, "ip", "link", "add", "link", "near0", "name", "mac0", "type", "macvlan", "mode", "bridge")
		check(t, l.Near().AddAddress("mac0", netip.MustParsePrefix("10.9.0.50/24")))
		check(t, l.Near().SetUp("mac0"))
		// Each answers for its own address, so that it is known what comes by which.
		for _, name := range []string{"near0", "mac0"} {
			check(t, l.Near().SetSysctl("net/ipv4/conf/"+name+"/arp_ignore", "1"))
		}
	}
	for _, devices := range [][]string{{"near0", "mac0"}, {"mac0"}, {"near0"}} {
		t.Run(strings.Join(devices, " "), func(t *testing.T) {
			onEachRungIn(t, Config{Devices: devices}, prepare, func(t *testing.T, w *world) {
				for device, at := range map[string]string{"near0": "10.9.0.1:7", "mac0": "10.9.0.50:7"} {
					s := w.party("here").open(netip.MustParseAddrPort(at))
					held, _ := w.echoes(s, w.client(), netip.MustParseAddrPort(at))
					if ring := strings.Contains(strings.Join(devices, " "), device); ring != (held == 0) {
						t.Errorf("by %s: %d datagrams have come by the holder", device, held)
					}
				}
			})
		})
	}
}

// With no devices named, all that have an address get a ring, also those that get one later.
func TestNoDevicesNamed(t *testing.T) {
	onEachRung(t, Config{}, func(t *testing.T, w *world) {
		s, c := w.server(7), w.client()
		held, sent := w.echoes(s, c, addrPort(w.Near(), 7))
		w.byRing("by near0", held, sent)
		if w.st.InterfaceByName("near1") != nil {
			t.Fatal("near1 is there")
		}
		second(t, w.Lab)
		w.soonByRing("near1", s, c, netip.MustParseAddrPort("10.8.0.1:7"))
	})
}

// An address moves to another device: a socket that is bound to it stays, and hears again.
func TestAddressMoves(t *testing.T) {
	prepare := func(t *testing.T, l *lab.Lab) { second(t, l) }
	onEachRungIn(t, Config{Devices: []string{"near0", "near1"}}, prepare, func(t *testing.T, w *world) {
		w.ip("address", "add", "198.51.100.1/24", "dev", "near0")
		runIn(t, w.Far().Namespace, "ip", "route", "add", "198.51.100.1/32", "dev", "far0")
		w.ip("route", "add", "10.0.0.0/8", "dev", "near0") // back, from far's address there
		at := netip.MustParseAddrPort("198.51.100.1:7")
		s := w.party("here")
		var bound *sockapi.Socket
		w.eventually("the address", func() (ok bool) {
			var err error
			bound, err = s.tryOpen(at)
			return err == nil
		})
		far := w.client()
		held, sent := w.echoes(bound, far, at)
		w.byRing("by near0", held, sent)
		w.ip("address", "del", "198.51.100.1/24", "dev", "near0")
		w.ip("address", "add", "198.51.100.1/24", "dev", "near1")
		runIn(t, w.Far().Namespace, "ip", "route", "replace", "198.51.100.1/32", "dev", "far1")
		held, sent = w.echoes(bound, far, at)
		w.byRing("by near1", held, sent)
	})
}

// Two uplinks: the default route changes, and rules choose by the source.
func TestTwoUplinks(t *testing.T) {
	prepare := func(t *testing.T, l *lab.Lab) {
		second(t, l)
		check(t, l.Far().AddAddress("lo", netip.MustParsePrefix(beyond+"/32")))
		for _, e := range l.Ends {
			check(t, e.SetSysctl("net/ipv4/conf/all/rp_filter", "0"))
		}
	}
	onEachRungIn(t, Config{Devices: []string{"near0", "near1"}}, prepare, func(t *testing.T, w *world) {
		far := inBand(t, w.Far()).open(netip.MustParseAddrPort("0.0.0.0:9"), pktInfo)
		index := func(name string) int { d, err := w.Far().Device(name); check(t, err); return d.Index }
		comesBy := func(what string, s *sockapi.Socket, device, from string) {
			t.Helper()
			w.eventually(what, func() bool {
				if _, err := s.Sendto([]byte("x"), 0, sockapi.InetAddrPort(netip.MustParseAddrPort(beyond+":9"))); err != nil {
					return false
				}
				r := receive(t, far)
				return r.device == index(device) && r.from.Addr().String() == from
			})
		}
		s := w.server(0)
		w.ip("route", "add", "default", "via", "10.9.0.2")
		comesBy("by near0", s, "far0", "10.9.0.1")
		w.ip("route", "replace", "default", "via", "10.8.0.2")
		comesBy("by near1", s, "far1", "10.8.0.1")
		w.ip("route", "add", "default", "via", "10.9.0.2", "table", "9")
		w.ip("rule", "add", "from", "10.9.0.1", "table", "9")
		comesBy("by near0 for its address", w.party("here").open(netip.MustParseAddrPort("10.9.0.1:0")), "far0", "10.9.0.1")
		comesBy("by near1 for all others", s, "far1", "10.8.0.1")
		w.ip("link", "set", "near1", "down")
		w.ip("route", "replace", "default", "via", "10.9.0.2")
		comesBy("by near0, near1 being down", s, "far0", "10.9.0.1")
		if n := w.sentInBand(); n != 0 {
			t.Errorf("%d datagrams have gone in-band", n)
		}
	})
}

// openTun makes a tun device at the near end, 203.0.113.1/24.
func openTun(t *testing.T, l *lab.Lab) *os.File {
	t.Helper()
	var f *os.File
	l.Near().In(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		r, err := unix.NewIfreq("tun0")
		if err != nil {
			return err
		}
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
			unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), "tun0")
		return nil
	})
	t.Cleanup(func() { f.Close() })
	check(t, l.Near().DisableIPv6("tun0"))
	check(t, l.Near().AddAddress("tun0", netip.MustParsePrefix("203.0.113.1/24")))
	check(t, l.Near().SetUp("tun0"))
	return f
}

// What goes by a tunnel, which carries no Ethernet, goes in-band, and comes by the holder.
func TestTunnel(t *testing.T) {
	for _, c := range []Config{{}, {Devices: []string{"near0"}}} {
		var tun *os.File
		prepare := func(t *testing.T, l *lab.Lab) { tun = openTun(t, l) }
		onEachRungIn(t, c, prepare, func(t *testing.T, w *world) {
			s := w.server(7)
			sendTo(t, s, "question", netip.MustParseAddrPort("203.0.113.9:9"))
			b := make([]byte, 2000)
			check(t, tun.SetReadDeadline(time.Now().Add(lab.Patience)))
			n, err := tun.Read(b)
			check(t, err)
			h, payload, cause := ipv4.Parse(b[:n])
			if cause != ipv4.CauseNone || h.Src() != [4]byte{203, 0, 113, 1} || string(payload[8:]) != "question" {
				t.Fatalf("by the tunnel came %q", b[:n])
			}
			if _, err := tun.Write(turned(b[:n])); err != nil {
				t.Fatal(err)
			}
			if r := receive(t, s); r.data != "question" || r.from.String() != "203.0.113.9:9" {
				t.Errorf("received %+v", r)
			}
			if n := w.sentInBand(); n != 1 {
				t.Errorf("%d datagrams have gone in-band", n)
			}
		})
	}
	t.Run("named", func(t *testing.T) {
		l := lab.New(t, lab.Config{Kernel: lab.All})
		openTun(t, l)
		l.Near().In(t, func() error {
			if _, err := Open(Config{Devices: []string{"tun0"}}); !errors.Is(err, unix.EINVAL) {
				t.Errorf("error %v", err)
			}
			return nil
		})
	})
}

// turned returns a UDP datagram sent back to where it comes from, without a checksum.
func turned(d []byte) []byte {
	d = append([]byte(nil), d...)
	for i := range 4 {
		d[12+i], d[16+i] = d[16+i], d[12+i]
	}
	d[20], d[21], d[22], d[23] = d[22], d[23], d[20], d[21]
	d[26], d[27] = 0, 0
	d[8] = 64
	d[10], d[11] = 0, 0
	binary.BigEndian.PutUint16(d[10:], ^checksum.Sum(d[:20], 0))
	return d
}
