package wire

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
	"github.com/outband/outband/test/oracle"
)

// kernelHost is the kernel's, in a namespace.
type kernelHost struct {
	hands
	near   *lab.Endpoint
	far    *lab.Endpoint
	work   chan func()
	api    *sockapi.API
	index  [2]int
	routes []Route // that were added
}

// packetPort is the far end of a veth pair.
type packetPort struct {
	fd  int
	at  unix.SockaddrLinklayer
	buf [1 << 16]byte
}

func (p *packetPort) send(frame []byte) error {
	err := unix.Sendto(p.fd, frame, 0, &p.at)
	if err == unix.ENETDOWN { // that it was down once, which is told late
		err = unix.Sendto(p.fd, frame, 0, &p.at)
	}
	return err
}

func (p *packetPort) next() []byte {
	for {
		n, _, err := unix.Recvfrom(p.fd, p.buf[:], unix.MSG_DONTWAIT)
		if again(err) {
			continue
		}
		if err != nil {
			return nil
		}
		return bytes.Clone(p.buf[:n])
	}
}

// cable makes a lab with both pairs of devices, and returns their far ends.
func cable(t testing.TB, kernel lab.Kernel) (*lab.Lab, [2]port) {
	t.Helper()
	l := lab.New(t, lab.Config{Kernel: kernel})
	near, far := l.Near(), l.Far()
	check(t, near.AddVeth(netlab.Veth{Name: devices[1], PeerName: "far1", Peer: far.Namespace, MTU: 1500,
		MAC: nearMAC[1], PeerMAC: farMAC[1]}))
	for _, name := range []string{devices[1]} {
		check(t, near.SetUp(name))
	}
	check(t, far.SetUp("far1"))
	var ports [2]port
	for i, name := range farDevices {
		ports[i] = openPort(t, far, name)
	}
	return l, ports
}

func openPort(t testing.TB, e *lab.Endpoint, name string) *packetPort {
	t.Helper()
	d, err := e.Device(name)
	check(t, err)
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xffff
	p := &packetPort{at: unix.SockaddrLinklayer{Protocol: all, Ifindex: d.Index}}
	e.In(t, func() (err error) {
		p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	t.Cleanup(func() { unix.Close(p.fd) })
	check(t, unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	check(t, unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20))
	check(t, unix.Bind(p.fd, &p.at))
	return p
}

// NewKernel returns the kernel's host. It lasts as long as the test.
func NewKernel(t testing.TB) Host {
	t.Helper()
	l, ports := cable(t, lab.Near)
	st, err := stack.New(stack.Config{}) // in-band sockets leave it alone
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	h := &kernelHost{hands: hands{t: t, name: "Linux", ports: ports, mtu: [2]int{1500, 1500}}, near: l.Near(), far: l.Far(), api: sockapi.New(st)}
	check(t, h.near.SetSysctl("net/ipv4/icmp_ratemask", "0"))
	check(t, h.near.SetSysctl("net/ipv4/ping_group_range", "0 0"))
	check(t, h.near.SetSysctl("net/ipv4/conf/all/promote_secondaries", "1"))
	h.work = lab.Worker(t, h.near.Namespace)
	for i, name := range devices {
		d, err := h.near.Device(name)
		check(t, err)
		h.index[i] = d.Index
		check(t, h.near.SetSysctl("net/ipv4/neigh/"+name+"/locktime", strconv.Itoa(int(lockTime/(10*time.Millisecond)))))
	}
	h.Reset()
	return h
}

// Reset makes the host as it was when it was new: addresses, routes, neighbours and
// devices, and nothing learnt of paths.
func (h *kernelHost) Reset() {
	h.t.Helper()
	for i := range devices {
		if h.mute[i] {
			check(h.t, h.far.SetUp(farDevices[i]))
			h.SetUp(i, true)
		}
	}
	for _, r := range slices.Clone(h.routes) {
		if err := h.Route(r, true); err != nil {
			h.t.Fatalf("%s: remove route %+v of %+v: %v", h.name, r, h.routes, err)
		}
	}
	for i, name := range devices {
		check(h.t, h.SetMTU(i, 1500))
		had, err := h.near.Addresses(name)
		check(h.t, err)
		for _, p := range had {
			check(h.t, h.Address(i, p, true))
		}
		for _, p := range addresses(i) {
			check(h.t, h.Address(i, p, false))
		}
	}
	for _, r := range routes {
		check(h.t, h.Route(r, false))
	}
	h.Forget()
}

// Forget makes the host forget all neighbours but those that it begins with, and what
// it has learnt of paths.
func (h *kernelHost) Forget() {
	for i, name := range devices {
		check(h.t, h.near.FlushNeighbours(name))
		h.befriend(i)
	}
	check(h.t, h.near.SetSysctl("net/ipv4/route/flush", "1"))
	h.Settle()
	h.Sent()
}

// befriend makes the neighbours known that every host begins with.
func (h *kernelHost) befriend(device int) {
	for _, a := range neighbours(device) {
		check(h.t, h.near.SetNeighbour(devices[device], a, farMAC[device]))
	}
}

// in runs f in the host's namespace.
func (h *kernelHost) in(f func()) {
	done := make(chan struct{})
	h.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

func (h *kernelHost) Socket(_ oracle.Host, domain, typ, proto int) (s *sockapi.Socket, err error) {
	h.in(func() { s, err = h.api.Socket(domain, typ, proto) })
	return s, err
}

func (h *kernelHost) Socketpair(_ oracle.Host, domain, typ, proto int) (s [2]*sockapi.Socket, err error) {
	h.in(func() { s, err = h.api.Socketpair(domain, typ, proto) })
	return s, err
}

func (h *kernelHost) API(oracle.Host) *sockapi.API { return h.api }

func (h *kernelHost) Index(device int) int { return h.index[device] }

func (h *kernelHost) Route(r Route, remove bool) (err error) {
	h.in(func() {
		if remove {
			err = netlink.RouteDel(h.route(r))
			return
		}
		err = netlink.RouteAdd(h.route(r))
	})
	switch {
	case err == nil && !remove:
		h.routes = append(h.routes, r)
	case err == nil:
		h.routes = slices.DeleteFunc(h.routes, func(o Route) bool { return o == r })
	}
	return err
}

// route returns a route as netlink has it.
func (h *kernelHost) route(r Route) *netlink.Route {
	nr := &netlink.Route{LinkIndex: h.index[r.Device], Priority: r.Metric, MTU: r.MTU,
		Dst: &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)}}
	if r.Gateway.IsValid() {
		nr.Gw = r.Gateway.AsSlice()
	} else {
		nr.Scope = netlink.SCOPE_LINK
	}
	return nr
}

func (h *kernelHost) Address(device int, p netip.Prefix, remove bool) (err error) {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}
	h.in(func() {
		if remove {
			err = netlink.AddrDel(h.device(device), a)
			return
		}
		err = netlink.AddrAdd(h.device(device), a)
	})
	return err
}

// device returns a device as netlink wants it.
func (h *kernelHost) device(device int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: devices[device], Index: h.index[device]}}
}

func (h *kernelHost) SetMTU(device, mtu int) (err error) {
	h.mtu[device] = mtu
	h.in(func() { err = netlink.LinkSetMTU(h.device(device), mtu) })
	return err
}

func (h *kernelHost) SetUp(device int, up bool) {
	h.t.Helper()
	h.mute[device] = true
	var err error
	if h.in(func() {
		if up {
			err = netlink.LinkSetUp(h.device(device))
		} else {
			err = netlink.LinkSetDown(h.device(device))
		}
	}); err != nil {
		h.t.Fatalf("%s: set %s up %t: %v", h.name, devices[device], up, err)
	}
	if up {
		h.awaitRunning(device, true)
		h.restore(device)
		h.mute[device] = false
	}
}

func (h *kernelHost) SetCarrier(device int, on bool) {
	h.t.Helper()
	h.mute[device] = true
	set := h.far.SetDown
	if on {
		set = h.far.SetUp
	}
	check(h.t, set(farDevices[device]))
	h.awaitRunning(device, on)
	if on {
		h.restore(device)
		h.mute[device] = false
	}
}

// awaitRunning waits until the kernel has taken in that a device has a carrier, or has
// none any more. With one the hand's end has to have it too: until then what is sent there
// is lost without an error.
func (h *kernelHost) awaitRunning(device int, running bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); ; {
		d, err := h.near.Device(devices[device])
		check(h.t, err)
		far, err := h.far.Device(farDevices[device])
		check(h.t, err)
		if d.Running == running && (!running || far.Running) {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("%s: %s does not get its carrier %t", h.name, devices[device], running)
		}
		time.Sleep(time.Millisecond)
	}
}

// restore gives a device the routes and the neighbour that it lost when it went down.
func (h *kernelHost) restore(device int) {
	h.in(func() {
		for _, r := range h.routes {
			if r.Device == device {
				nr := h.route(r)
				if r.Gateway.IsValid() { // whose network may be gone meanwhile
					nr.Flags |= int(netlink.FLAG_ONLINK)
				}
				_ = netlink.RouteAdd(nr) // it may be there still
			}
		}
	})
	h.befriend(device)
}

// Counters reads /proc/net/snmp and netstat, which have a line of names and one of
// numbers for each protocol.
func (h *kernelHost) Counters() map[string]uint64 {
	out := make(map[string]uint64)
	for _, file := range []string{"net/snmp", "net/netstat"} {
		data, err := h.near.ReadFile(file)
		check(h.t, err)
		lines := strings.Split(string(data), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			for j := 1; j < min(len(names), len(values)); j++ {
				v, _ := strconv.ParseUint(values[j], 10, 64) // a few are negative, and none that is compared
				out[strings.TrimSuffix(names[0], ":")+names[j]] = v
			}
		}
	}
	return out
}
