package tpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

func TestMain(m *testing.M) {
	before := openFDs()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if after := openFDs(); after > before+lateFDs && code == 0 {
		fmt.Fprintf(os.Stderr, "%d descriptors open before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// lateFDs are opened once by others and kept: the netpoller's two.
const lateFDs = 2

func openFDs() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(d)
}

// patience bounds every wait of a test; none is expected to take it.
const patience = 10 * time.Second

// A lab is two network namespaces joined by a veth pair: near0, where the link
// under test is, and far0, where the kernel is the peer.
type lab struct {
	t         testing.TB
	near, far *host
}

// A host is one namespace and its device.
type host struct {
	t   testing.TB
	ns  netns.NsHandle
	nl  *netlink.Handle
	dev string
}

var nearIP, farIP = [4]byte{10, 9, 0, 1}, [4]byte{10, 9, 0, 2}

// newLab returns a lab with both devices up. It skips the test if this process
// may not make one.
func newLab(t testing.TB, mtu int) *lab {
	t.Helper()
	lb := &lab{t: t, near: newHost(t, "near0"), far: newHost(t, "far0")}
	lb.join(mtu)
	return lb
}

// newHost makes a network namespace.
func newHost(t testing.TB, dev string) *host {
	t.Helper()
	type result struct {
		ns  netns.NsHandle
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ns, err := netns.New()
		if err == nil {
			for _, all := range []string{"all", "default"} {
				os.WriteFile("/proc/sys/net/ipv6/conf/"+all+"/disable_ipv6", []byte("1"), 0)
			}
		}
		made <- result{ns, err}
	}()
	r := <-made
	if errors.Is(r.err, unix.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN to make network namespaces: ", r.err)
	}
	check(t, r.err)
	h := &host{t: t, ns: r.ns, dev: dev}
	var err error
	h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE)
	check(t, err)
	t.Cleanup(func() {
		h.nl.Close()
		h.ns.Close()
	})
	lo := h.byName("lo")
	check(t, h.nl.LinkSetUp(lo))
	return h
}

// join makes the veth pair and sets both ends up.
func (lb *lab) join(mtu int) {
	lb.t.Helper()
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU = lb.near.dev, mtu
	check(lb.t, lb.near.nl.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: lb.far.dev,
		PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(lb.far.ns)}))
	lb.far.up()
	lb.near.up()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// path returns a path that Options.NetNS takes.
func (h *host) path() string { return fmt.Sprintf("/proc/self/fd/%d", int(h.ns)) }

func (h *host) byName(name string) netlink.Link {
	h.t.Helper()
	l, err := h.nl.LinkByName(name)
	check(h.t, err)
	return l
}

func (h *host) link() netlink.Link { h.t.Helper(); return h.byName(h.dev) }
func (h *host) up()                { h.t.Helper(); check(h.t, h.nl.LinkSetUp(h.link())) }
func (h *host) down()              { h.t.Helper(); check(h.t, h.nl.LinkSetDown(h.link())) }

func (h *host) mac() link.MAC {
	h.t.Helper()
	return link.MAC(h.link().Attrs().HardwareAddr)
}

// in runs f on a thread in the host's namespace.
func (h *host) in(f func() error) {
	h.t.Helper()
	check(h.t, inNetNS(h.path(), f))
}

// addr gives the device an address in the kernel, and a permanent neighbour.
func (h *host) addr(ip, neighbour [4]byte, mac link.MAC) {
	h.t.Helper()
	check(h.t, h.nl.AddrAdd(h.link(), &netlink.Addr{IPNet: &net.IPNet{IP: ip[:], Mask: net.CIDRMask(24, 32)}}))
	check(h.t, h.nl.NeighSet(&netlink.Neigh{LinkIndex: h.link().Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: neighbour[:], HardwareAddr: mac[:]}))
}

// raw returns a packet socket on the device that receives proto, with a time-out.
func (h *host) raw(proto uint16, vnet bool) int {
	h.t.Helper()
	var fd int
	h.in(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	h.t.Cleanup(func() { unix.Close(fd) })
	check(h.t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	if vnet {
		check(h.t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	}
	setTimeout(h.t, fd)
	check(h.t, bind(fd, proto<<8|proto>>8, h.link().Attrs().Index))
	return fd
}

// udp returns a kernel UDP socket bound to ip:port, with a time-out.
func (h *host) udp(ip [4]byte, port int) int {
	h.t.Helper()
	var fd int
	h.in(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	h.t.Cleanup(func() { unix.Close(fd) })
	setTimeout(h.t, fd)
	check(h.t, unix.Bind(fd, &unix.SockaddrInet4{Addr: ip, Port: port}))
	return fd
}

func setTimeout(t testing.TB, fd int) {
	t.Helper()
	tv := unix.NsecToTimeval(int64(patience))
	check(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
}

// read reads one frame or datagram.
func read(t testing.TB, fd int) []byte {
	t.Helper()
	buf := make([]byte, 70000)
	n, err := unix.Read(fd, buf)
	check(t, err)
	return buf[:n]
}

// open opens the near device.
func (lb *lab) open(o Options) *Link {
	lb.t.Helper()
	return lb.near.open(o)
}

func (h *host) open(o Options) *Link {
	h.t.Helper()
	o.NetNS = h.path()
	l, err := Open(h.dev, o)
	check(h.t, err)
	h.t.Cleanup(func() { l.Close() })
	return l
}

// A got is a received frame, copied.
type got struct {
	data []byte
	link.Meta
}

// receive waits for n frames, and returns copies of them.
func receive(t testing.TB, l *Link, n int) []got {
	t.Helper()
	p := link.NewPoller()
	defer p.Close()
	var all []got
	frames := make([]link.Frame, 64)
	for end := time.Now().Add(patience); len(all) < n; {
		k := l.Receive(frames)
		for _, f := range frames[:k] {
			all = append(all, got{append([]byte(nil), f.Data...), f.Meta})
		}
		l.Release()
		if k == 0 {
			if time.Now().After(end) {
				t.Fatalf("%d frames of %d within %v", len(all), n, patience)
			}
			p.Wait([]link.Pollable{l}, time.Second)
		}
	}
	if len(all) != n {
		t.Fatalf("%d frames, want %d", len(all), n)
	}
	return all
}

// A watcher waits for a link's state.
type watcher struct {
	t       testing.TB
	l       *Link
	changed chan struct{}
}

// watch registers with l: before what is to be seen happens.
func watch(t testing.TB, l *Link) *watcher {
	w := &watcher{t, l, make(chan struct{}, 1)}
	l.SetNotify(nil, func() {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	})
	return w
}

// until waits until ok says yes to Info.
func (w *watcher) until(what string, ok func(link.Info) bool) {
	w.t.Helper()
	timeout := time.After(patience)
	for !ok(w.l.Info()) {
		select {
		case <-w.changed:
		case <-timeout:
			w.t.Fatalf("not %s: %+v", what, w.l.Info())
		}
	}
}

func (w *watcher) state(s link.State) {
	w.t.Helper()
	w.until(s.String(), func(i link.Info) bool { return i.State == s })
}

// ethernet returns a frame of the type 0x88b5 (local experimental).
func ethernet(dst, src link.MAC, payload []byte) []byte {
	f := append(append(dst[:], src[:]...), 0x88, 0xb5)
	return append(f, payload...)
}

// experimental is the EtherType of such frames.
const experimental = 0x88b5

// udpFrame returns a UDP datagram from near to far, ports both 7000. If partial
// is true, its checksum is only that of the pseudo-header.
func udpFrame(dst, src link.MAC, payload []byte, partial bool) []byte {
	f := make([]byte, 14+20+8, 14+20+8+len(payload))
	copy(f, dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], unix.ETH_P_IP)
	ip := f[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], nearIP[:])
	copy(ip[16:], farIP[:])
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip[:20], 0)))
	u := ip[20:]
	binary.BigEndian.PutUint16(u, 7000)
	binary.BigEndian.PutUint16(u[2:], 7000)
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	pseudo := sum(ip[12:20], unix.IPPROTO_UDP+uint32(8+len(payload)))
	f = append(f, payload...)
	if partial {
		binary.BigEndian.PutUint16(f[40:], fold(pseudo))
	} else {
		binary.BigEndian.PutUint16(f[40:], ^fold(sum(f[34:], pseudo)))
	}
	return f
}

// sum and fold are the Internet checksum (RFC 1071).
func sum(b []byte, s uint32) uint32 {
	for i, c := range b {
		s += uint32(c) << (8 * (1 - i%2))
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// pattern returns n bytes that differ from their neighbours, and by seed.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) ^ byte(i>>8) ^ seed
	}
	return b
}

// tun makes a TAP or TUN device, up, and returns its file: a read takes one frame
// that was sent.
func (h *host) tun(name string, kind uint16) *os.File {
	h.t.Helper()
	fd := -1
	h.in(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(kind | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	})
	check(h.t, h.nl.LinkSetUp(h.byName(name)))
	return os.NewFile(uintptr(fd), name)
}

// allocsPerRun is testing.AllocsPerRun, which counts what other goroutines of the
// process allocate meanwhile too: the least of a few attempts is f's own.
func allocsPerRun(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 4 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}

// setDormant has a device wait for somebody to say that it may be used (802.1X's
// supplicant does so), or says it (IF_LINK_MODE_DORMANT, IF_OPER_DORMANT).
func (h *host) setDormant(on bool) {
	h.t.Helper()
	const operUp, operDormant = 6, 5
	mode, state := []byte{0}, []byte{operUp}
	if on {
		mode, state = []byte{1}, []byte{operDormant}
	}
	index := h.link().Attrs().Index
	h.in(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index)
		req.AddData(msg)
		req.AddData(nl.NewRtAttr(unix.IFLA_LINKMODE, mode))
		req.AddData(nl.NewRtAttr(unix.IFLA_OPERSTATE, state))
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// await waits until ok says yes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not %s in time", what)
		}
	}
}
