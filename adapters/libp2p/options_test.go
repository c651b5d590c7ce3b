package libp2p

import (
	"bytes"
	"context"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	golibp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A memory is a host in memory, in place of an *outband.Host.
type memory struct{ st *stack.Stack }

func (m memory) Net() *gonet.Net { return gonet.New(sockapi.New(m.st)) }

// hosts returns two hosts, 10.9.0.1 and 10.9.0.2, joined by a wire in memory.
func hosts(t testing.TB) (near, far memory) {
	t.Helper()
	a, b := pipe.New(pipe.Options{Caps: link.CapChecksum | link.CapGSO})
	return newMemory(t, a, "10.9.0.1/24"), newMemory(t, b, "10.9.0.2/24")
}

func newMemory(t testing.TB, l link.Link, prefix string) memory {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	ifc, err := st.AddLink(l, stack.InterfaceConfig{Index: 2})
	check(t, err)
	check(t, ifc.AddAddress(netip.MustParsePrefix(prefix)))
	return memory{st}
}

// node returns a node of libp2p that listens at an address of a host.
func node(t testing.TB, h Host, listen string) host.Host {
	t.Helper()
	n, err := golibp2p.New(golibp2p.NoTransports, golibp2p.Transport(libp2pquic.NewTransport), golibp2p.DisableRelay(), golibp2p.DisableMetrics(),
		golibp2p.QUICReuse(quicreuse.NewConnManager, Options(h)...), golibp2p.ListenAddrStrings(listen))
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	return n
}

// TestNodes has a node dial another one, and send a stream there and back.
func TestNodes(t *testing.T) {
	near, far := hosts(t)
	a, b := node(t, near, "/ip4/10.9.0.1/udp/4001/quic-v1"), node(t, far, "/ip4/10.9.0.2/udp/4001/quic-v1")
	const protocol = "/echo/1"
	b.SetStreamHandler(protocol, func(s network.Stream) {
		io.Copy(s, s)
		s.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, a.Connect(ctx, peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}))
	s, err := a.NewStream(ctx, b.ID(), protocol)
	check(t, err)
	data := make([]byte, 1<<20)
	_, _ = mrand.NewChaCha8([32]byte{}).Read(data)
	go func() { s.Write(data); s.CloseWrite() }()
	back, err := io.ReadAll(s)
	check(t, err)
	if !bytes.Equal(back, data) {
		t.Errorf("%d bytes came back, which are not what was sent", len(back))
	}
	c := a.Network().ConnsToPeer(b.ID())[0]
	// The connection that listens is the one that dials.
	if l, r := c.LocalMultiaddr().String(), c.RemoteMultiaddr().String(); l != "/ip4/10.9.0.1/udp/4001/quic-v1" || !strings.HasPrefix(r, "/ip4/10.9.0.2/udp/4001") {
		t.Errorf("from %s to %s", l, r)
	}
}

// TestSource wants the address that a peer is reached from, or an error.
func TestSource(t *testing.T) {
	near, _ := hosts(t)
	s := sources{near.Net()}
	for to, want := range map[string]string{"10.9.0.2": "10.9.0.1", "127.0.0.5": "127.0.0.1", "10.9.0.1": "10.9.0.1"} {
		got, err := s.PreferredSourceIPForDestination(&net.UDPAddr{IP: net.ParseIP(to), Port: 9})
		if err != nil || got.String() != want {
			t.Errorf("to %s from %v, %v; want %s", to, got, err, want)
		}
	}
	for _, to := range []string{"192.0.2.1", "2001:db8::1"} {
		if got, err := s.PreferredSourceIPForDestination(&net.UDPAddr{IP: net.ParseIP(to), Port: 9}); err == nil {
			t.Errorf("to %s from %v", to, got)
		}
	}
	if c, err := listen(near.Net(), "udp6", &net.UDPAddr{}); err == nil || c != nil {
		t.Errorf("a connection of IPv6: %v", c)
	}
	if sockets := len(near.st.Sockets()); sockets != 0 {
		t.Errorf("%d sockets are left", sockets)
	}
}
