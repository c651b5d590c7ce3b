package pion

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pion/ice/v4"
)

// agent returns an agent of ICE that has found its candidates.
func agent(t *testing.T, n *Net) *ice.Agent {
	t.Helper()
	a, err := ice.NewAgentWithOptions(ice.WithNet(n), ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}),
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

// TestICE has two agents find each other and exchange datagrams.
func TestICE(t *testing.T) {
	near, far := hosts(t)
	a, b := agent(t, New(near)), agent(t, New(far))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ufragB, passwordB := introduce(t, a, b)
	ufragA, passwordA := introduce(t, b, a)
	accepted := make(chan error, 1)
	go func() {
		c, err := b.Accept(ctx, ufragA, passwordA)
		for err == nil {
			buf := make([]byte, 100)
			n := 0
			if n, err = c.Read(buf); err == nil {
				_, err = c.Write(buf[:n])
			}
		}
		accepted <- err
	}()
	c, err := a.Dial(ctx, ufragB, passwordB)
	check(t, err)
	for i := range 10 {
		want := fmt.Sprint("datagram ", i)
		_, err := c.Write([]byte(want))
		check(t, err)
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		check(t, err)
		if string(buf[:n]) != want {
			t.Errorf("%q, want %q", buf[:n], want)
		}
	}
	if got := c.RemoteAddr().String(); got[:9] != "10.9.0.2:" {
		t.Errorf("the peer is at %s", got)
	}
	check(t, b.Close())
	<-accepted
}
