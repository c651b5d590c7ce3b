package gonet

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	dtlsnet "github.com/pion/dtls/v3/pkg/net"
	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/turn/v5"

	"github.com/outband/outband/adapters/pion"
)

// pionNet returns a host as pion wants it.
func (h *host) pionNet(t testing.TB) transport.Net {
	t.Helper()
	if h.ours() {
		return pion.New(h)
	}
	var n *stdnet.Net
	h.at.In(t, func() (err error) { n, err = stdnet.NewNet(); return err })
	return inBandNet{n, h}
}

// An inBandNet is pion's own transport.Net, whose sockets are a host's.
type inBandNet struct {
	*stdnet.Net
	h *host
}

func (n inBandNet) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.h.do(func() (err error) { c, err = n.Net.ListenPacket(network, address); return err })
	return c, err
}

func (n inBandNet) ListenUDP(network string, laddr *net.UDPAddr) (c transport.UDPConn, err error) {
	err = n.h.do(func() (err error) { c, err = n.Net.ListenUDP(network, laddr); return err })
	return c, err
}

// agent returns an agent of ICE that has found its candidates.
func agent(t *testing.T, h *host) *ice.Agent {
	t.Helper()
	a, err := ice.NewAgentWithOptions(ice.WithNet(h.pionNet(t)), ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}))
	check(t, err)
	t.Cleanup(func() { check(t, a.Close()) })
	found := make(chan struct{})
	check(t, a.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(found)
		}
	}))
	check(t, a.GatherCandidates())
	<-found
	return a
}

// introduce tells an agent of another one.
func introduce(t *testing.T, a, other *ice.Agent) (ufrag, password string) {
	t.Helper()
	candidates, err := other.GetLocalCandidates()
	check(t, err)
	for _, c := range candidates {
		check(t, a.AddRemoteCandidate(c))
	}
	ufrag, password, err = other.GetLocalUserCredentials()
	check(t, err)
	return ufrag, password
}

// runICE has two agents find each other, and speak DTLS over what they have found.
func runICE(t *testing.T, w *world, client, server *host) {
	a, b := agent(t, client), agent(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ufragB, passwordB := introduce(t, a, b)
	ufragA, passwordA := introduce(t, b, a)
	serverDTLS, clientDTLS := dtlsOptions(t)
	served := make(chan error, 1)
	go func() {
		c, err := b.Accept(ctx, ufragA, passwordA)
		if err == nil {
			err = echoByDTLS(ctx, dtlsnet.PacketConnFromConn(c), c.RemoteAddr(), serverDTLS)
		}
		served <- err
	}()
	c, err := a.Dial(ctx, ufragB, passwordB)
	check(t, err)
	askByDTLS(t, w, ctx, dtlsnet.PacketConnFromConn(c), c.RemoteAddr(), clientDTLS)
	check(t, b.Close())
	<-served
}

// dtlsOptions returns what a server and its client need.
func dtlsOptions(t *testing.T) (server []dtls.ServerOption, client []dtls.ClientOption) {
	t.Helper()
	const retransmit = 50 * time.Millisecond
	cert, roots := certificate(t)
	return []dtls.ServerOption{dtls.WithCertificates(cert), dtls.WithFlightInterval(retransmit)},
		[]dtls.ClientOption{dtls.WithRootCAs(roots), dtls.WithServerName("far"), dtls.WithFlightInterval(retransmit)}
}

// echoByDTLS sends back what comes to a server of DTLS, until that ends.
func echoByDTLS(ctx context.Context, c net.PacketConn, peer net.Addr, options []dtls.ServerOption) error {
	s, err := dtls.ServerWithOptions(c, peer, options...)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.HandshakeContext(ctx); err != nil {
		return err
	}
	b := make([]byte, 1500)
	for {
		n, err := s.Read(b)
		if err != nil {
			return err
		}
		if _, err := s.Write(b[:n]); err != nil {
			return err
		}
	}
}

// askByDTLS sends messages to a server of DTLS, each as often as it takes, and wants them back.
func askByDTLS(t *testing.T, w *world, ctx context.Context, c net.PacketConn, peer net.Addr, options []dtls.ClientOption) {
	t.Helper()
	d, err := dtls.ClientWithOptions(c, peer, options...)
	check(t, err)
	defer d.Close()
	check(t, d.HandshakeContext(ctx))
	b := make([]byte, 1500)
	w.rounds(t, func(round int) {
		for i := range 100 {
			want := fmt.Sprintf("message %d of round %d", i, round)
			for got := ""; got != want; { // others are late
				if got == "" {
					_, err := d.Write([]byte(want))
					check(t, err)
				}
				check(t, d.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
				n, err := d.Read(b)
				if e, ok := err.(net.Error); ok && e.Timeout() && ctx.Err() == nil {
					got = ""
					continue
				}
				check(t, err)
				got = string(b[:n])
			}
		}
	})
}

// runTURN has a client speak DTLS with a peer by a relay: the server gives it an address on its
// host, where the peer is too.
func runTURN(t *testing.T, w *world, client, server *host) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	key := turn.GenerateAuthKey("friend", "lab", "mellon")
	s, err := turn.NewServer(turn.ServerConfig{Realm: "lab",
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) { return a.Username, key, a.Username == "friend" },
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: server.listen(t, 3478), RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{
			RelayAddress: server.addr.AsSlice(), Address: "0.0.0.0", Net: server.pionNet(t)}}}})
	check(t, err)
	defer s.Close()
	c, err := turn.NewClient(&turn.ClientConfig{STUNServerAddr: server.port(3478).String(), TURNServerAddr: server.port(3478).String(),
		Username: "friend", Password: "mellon", Realm: "lab", Conn: client.listen(t, 0), Net: client.pionNet(t), RTO: 50 * time.Millisecond})
	check(t, err)
	defer c.Close()
	check(t, c.Listen())
	relay, err := c.Allocate()
	check(t, err)
	defer relay.Close()
	peer := server.listenAt(t, server.port(0))
	check(t, c.CreatePermission(peer.LocalAddr()))
	serverDTLS, clientDTLS := dtlsOptions(t)
	served := make(chan error, 1)
	go func() { served <- echoByDTLS(ctx, peer, relay.LocalAddr(), serverDTLS) }()
	askByDTLS(t, w, ctx, relay, peer.LocalAddr(), clientDTLS)
	peer.Close()
	<-served
}
