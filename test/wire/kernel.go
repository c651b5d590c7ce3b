package wire

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
	"github.com/outband/outband/test/oracle"
)

// kernelHost is the kernel's, in a namespace.
type kernelHost struct {
	hands
	near  *lab.Endpoint
	work  chan func()
	api   *sockapi.API
	index [2]int
}

// packetPort is the far end of a veth pair.
type packetPort struct {
	fd  int
	at  unix.SockaddrLinklayer
	buf [1 << 16]byte
}

func (p *packetPort) send(frame []byte) error { return unix.Sendto(p.fd, frame, 0, &p.at) }

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
	check(t, near.AddVeth(inband.Veth{Name: devices[1], PeerName: "far1", Peer: far.Namespace, MTU: 1500,
		MAC: nearMAC[1], PeerMAC: farMAC[1]}))
	for _, name := range []string{devices[1]} {
		check(t, near.SetUp(name))
	}
	check(t, far.SetUp("far1"))
	var ports [2]port
	for i, name := range []string{"far0", "far1"} {
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
	h := &kernelHost{hands: hands{t: t, name: "Linux", ports: ports}, near: l.Near(), api: sockapi.New(st)}
	check(t, h.near.SetSysctl("net/ipv4/icmp_ratemask", "0"))
	check(t, h.near.SetSysctl("net/ipv4/ping_group_range", "0 0"))
	check(t, h.near.AddAddress(devices[1], prefix(1)))
	h.work = lab.Worker(t, h.near.Namespace)
	for i, name := range devices {
		d, err := h.near.Device(name)
		check(t, err)
		h.index[i] = d.Index
		check(t, h.near.SetNeighbour(name, netip.AddrFrom4(farIP[i]), farMAC[i]))
	}
	for _, r := range routes {
		check(t, h.Route(r, false))
	}
	h.Settle()
	return h
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
	nr := &netlink.Route{LinkIndex: h.index[r.Device], Priority: r.Metric, MTU: r.MTU,
		Dst: &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)}}
	if r.Gateway.IsValid() {
		nr.Gw = r.Gateway.AsSlice()
	} else {
		nr.Scope = netlink.SCOPE_LINK
	}
	h.in(func() {
		if remove {
			err = netlink.RouteDel(nr)
			return
		}
		err = netlink.RouteAdd(nr)
	})
	return err
}

func (h *kernelHost) Address(device int, p netip.Prefix, remove bool) error {
	if remove {
		return h.near.RemoveAddress(devices[device], p)
	}
	return h.near.AddAddress(devices[device], p)
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
