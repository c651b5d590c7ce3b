package gonet

import (
	"net"
	"net/netip"
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must returns what a call returned, or ends the test.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// lone returns a host that has nothing but loopback.
func lone(t testing.TB) *Net {
	t.Helper()
	st := must[*stack.Stack](t)(stack.New(stack.Config{}))
	t.Cleanup(func() { st.Close() })
	return New(sockapi.New(st))
}

// hosts returns two hosts, 10.9.0.1 and 10.9.0.2, joined by a pipe.
func hosts(t testing.TB) (near, far *Net) { return hostsAt(t, pipe.Options{}) }

func hostsAt(t testing.TB, o pipe.Options) (near, far *Net) {
	t.Helper()
	a, b := pipe.New(o)
	return host(t, a, "10.9.0.1/24"), host(t, b, "10.9.0.2/24")
}

func host(t testing.TB, l link.Link, prefix string) *Net {
	t.Helper()
	n := lone(t)
	ifc := must[*stack.Interface](t)(n.host.(*sockapi.API).Stack().AddLink(l, stack.InterfaceConfig{}))
	check(t, ifc.AddAddress(netip.MustParsePrefix(prefix)))
	return n
}

// wire returns the index of a host's interface to the pipe, as a net.Interface.
func wire(t testing.TB, n *Net) *net.Interface {
	t.Helper()
	for _, i := range n.host.(*sockapi.API).Stack().Interfaces() {
		if i.Name() != "lo" {
			return &net.Interface{Index: i.Index(), Name: i.Name()}
		}
	}
	t.Fatal("no interface")
	return nil
}

// pair returns two connections that are each other's peers, on two hosts.
func pair(t testing.TB) (a, b *UDPConn) {
	t.Helper()
	near, far := hosts(t)
	a, b, err := connectedPair(near, far)
	check(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func connectedPair(near, far *Net) (a, b *UDPConn, err error) {
	x, y := &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1), Port: 4001}, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2), Port: 4002}
	if a, err = near.DialUDP("udp4", x, y); err != nil {
		return nil, nil, err
	}
	if b, err = far.DialUDP("udp4", y, x); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// listener returns a connection at 127.0.0.1.
func listener(t testing.TB, n *Net) *UDPConn {
	t.Helper()
	c := must[*UDPConn](t)(n.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	t.Cleanup(func() { c.Close() })
	return c
}
