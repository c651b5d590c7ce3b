package gonet

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// nodes is how many gossip, half of them at each host.
const nodes = 20

// A gossip is what the nodes have in common: by what they reach each other with streams, which
// are TCP elsewhere and memory here. Datagrams go by the wire.
type gossip struct {
	mu      sync.Mutex
	streams map[string]chan net.Conn
}

// A mouth is a node's memberlist.Transport.
type mouth struct {
	g       *gossip
	c       udpConn
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	end     sync.Once
}

// mouth opens one at an address of a host.
func (g *gossip) mouth(t *testing.T, h *host) *mouth {
	t.Helper()
	m := &mouth{g: g, c: h.listenAt(t, h.port(0)), packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.streams[m.c.LocalAddr().String()] = m.streams
	go m.listen()
	return m
}

func (m *mouth) listen() {
	for {
		b := make([]byte, 2048)
		n, from, err := m.c.ReadFrom(b)
		if err != nil {
			return
		}
		select {
		case m.packets <- &memberlist.Packet{Buf: b[:n], From: from, Timestamp: time.Now()}:
		case <-m.done:
			return
		}
	}
}

func (m *mouth) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	a := m.c.LocalAddr().(*net.UDPAddr)
	return a.IP, a.Port, nil
}

func (m *mouth) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = m.c.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

func (m *mouth) PacketCh() <-chan *memberlist.Packet { return m.packets }
func (m *mouth) StreamCh() <-chan net.Conn           { return m.streams }

func (m *mouth) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	m.g.mu.Lock()
	to := m.g.streams[addr]
	m.g.mu.Unlock()
	here, there := net.Pipe()
	select {
	case to <- there:
		return here, nil
	case <-time.After(timeout):
		return nil, errors.New("nobody is there")
	}
}

func (m *mouth) Shutdown() error {
	m.end.Do(func() {
		close(m.done)
		m.g.mu.Lock()
		delete(m.g.streams, m.c.LocalAddr().String())
		m.g.mu.Unlock()
	})
	return m.c.Close()
}

// runMemberlist has twenty nodes find each other, and then notice that two are gone: one that
// has said so, and one that has not.
func runMemberlist(t *testing.T, w *world, client, server *host) {
	g := &gossip{streams: make(map[string]chan net.Conn)}
	all := make([]*memberlist.Memberlist, nodes)
	for i := range all {
		c := memberlist.DefaultLANConfig()
		c.Name, c.Transport, c.Logger = fmt.Sprint("node", i), g.mouth(t, []*host{client, server}[i%2]), log.New(io.Discard, "", 0)
		c.GossipInterval, c.ProbeInterval, c.ProbeTimeout, c.PushPullInterval = 100*time.Millisecond, time.Second, 900*time.Millisecond, time.Second
		c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 3
		c.DisableTcpPings = true // who lives is found out by datagrams alone
		m, err := memberlist.Create(c)
		check(t, err)
		t.Cleanup(func() { m.Shutdown() })
		all[i] = m
	}
	for _, m := range all[1:] { // each knows the first one
		_, err := m.Join([]string{"node0/" + all[0].LocalNode().Address()})
		check(t, err)
	}
	w.rounds(t, func(int) { awaitMembers(t, all, nodes) })
	check(t, all[nodes-1].Leave(patience))
	check(t, all[nodes-2].Shutdown())
	awaitMembers(t, all[:nodes-2], nodes-2)
}

// awaitMembers waits until each node knows of so many.
func awaitMembers(t *testing.T, all []*memberlist.Memberlist, want int) {
	t.Helper()
	await(t, func() error {
		for _, m := range all {
			if got := m.NumMembers(); got != want {
				return fmt.Errorf("%s knows of %d members, not %d", m.LocalNode().Name, got, want)
			}
		}
		return nil
	})
}
