package gonet

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what should take much less.
const patience = time.Minute

// A host is an end of the wire: a stack, or the kernel, with the calls that programs are
// given connections by.
type host struct {
	addr  netip.Addr
	at    *lab.Endpoint // nil: in memory
	index int           // of the stack's interface to the wire

	st      *stack.Stack // nil, as what follows: the kernel's
	net     *gonet.Net
	sockets gonet.Host
}

// Net and Stack make it what the adapters take.
func (h *host) Net() *gonet.Net     { return h.net }
func (h *host) Stack() *stack.Stack { return h.st }

// Socket makes it what the adapter for WireGuard takes.
func (h *host) Socket(domain, typ, proto int) (*sockapi.Socket, error) {
	return h.sockets.Socket(domain, typ, proto)
}

// ours reports whether the host is a stack.
func (h *host) ours() bool { return h.net != nil }

// do runs f where a connection of package net's that it opens is the host's.
func (h *host) do(f func() error) error {
	if h.ours() {
		return f()
	}
	return h.at.Do(f)
}

// port returns the host's address with a port.
func (h *host) port(port int) *net.UDPAddr { return &net.UDPAddr{IP: h.addr.AsSlice(), Port: port} }

// listen opens a connection at a port of all addresses, 0 for any, until the test ends.
func (h *host) listen(t testing.TB, port int) udpConn {
	t.Helper()
	return h.listenAt(t, &net.UDPAddr{Port: port})
}

// listenAt is listen for an address.
func (h *host) listenAt(t testing.TB, at *net.UDPAddr) udpConn {
	t.Helper()
	c, err := h.ListenUDP("udp4", at)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// A udpConn is a *net.UDPConn or a *gonet.UDPConn.
type udpConn interface {
	net.Conn
	net.PacketConn
	SetReadBuffer(bytes int) error
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// ListenUDP opens a connection, as package net does.
func (h *host) ListenUDP(network string, laddr *net.UDPAddr) (c udpConn, err error) {
	err = h.do(func() (err error) {
		if h.ours() {
			c, err = h.net.ListenUDP(network, laddr)
		} else {
			c, err = net.ListenUDP(network, laddr)
		}
		return err
	})
	return c, err
}

// DialUDP opens a connection to a peer, as package net does.
func (h *host) DialUDP(network string, laddr, raddr *net.UDPAddr) (c udpConn, err error) {
	err = h.do(func() (err error) {
		if h.ours() {
			c, err = h.net.DialUDP(network, laddr, raddr)
		} else {
			c, err = net.DialUDP(network, laddr, raddr)
		}
		return err
	})
	return c, err
}

// dial opens a connection to a peer until the test ends.
func (h *host) dial(t testing.TB, to *net.UDPAddr) udpConn {
	t.Helper()
	c, err := h.DialUDP("udp4", nil, to)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// listenGroup opens a connection that has joined a group, until the test ends.
func (h *host) listenGroup(t testing.TB, group *net.UDPAddr) (c udpConn) {
	t.Helper()
	check(t, h.do(func() (err error) {
		if h.ours() {
			c, err = h.net.ListenMulticastUDP("udp4", nil, group)
		} else {
			c, err = net.ListenMulticastUDP("udp4", nil, group)
		}
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return c
}

// listenOnDevice opens a connection that is bound to the device, and may broadcast, until
// the test ends.
func (h *host) listenOnDevice(t testing.TB, port int) (c net.PacketConn) {
	t.Helper()
	l := gonet.ListenConfig{Net: h.net, Control: func(_, _ string, s *sockapi.Socket) error {
		return s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, h.index)
	}}
	c, err := l.ListenPacket(t.Context(), "udp4", (&net.UDPAddr{Port: port}).String())
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// forQUIC opens a connection for quic-go until the test ends: one that it sends batches by, as it
// does by the kernel's, if batches is set.
func (h *host) forQUIC(t testing.TB, port int, batches bool) net.PacketConn {
	t.Helper()
	c := h.listen(t, port)
	if u, ok := c.(*gonet.UDPConn); ok && batches {
		s, err := gonet.WithSyscallConn(u)
		check(t, err)
		return s
	}
	return c
}
