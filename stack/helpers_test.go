package stack

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
)

var loopbackAddr = ipv4.Addr{127, 0, 0, 1}

var farAddr = netip.MustParseAddr("10.9.0.2")

// pair is two stacks joined by a pipe.
type pair struct {
	near, far       *Stack
	nearIfc, farIfc *Interface
	nearEnd, farEnd *pipe.Link
}

// newPair makes two stacks, 10.9.0.1/24 and 10.9.0.2/24.
func newPair(t testing.TB, cfg Config, opts pipe.Options) *pair {
	t.Helper()
	a, b := pipe.New(opts)
	p := &pair{near: newStack(t, cfg), far: newStack(t, cfg), nearEnd: a, farEnd: b}
	p.nearIfc = addLink(t, p.near, a, "10.9.0.1/24")
	p.farIfc = addLink(t, p.far, b, "10.9.0.2/24")
	return p
}

func newStack(t testing.TB, cfg Config) *Stack {
	t.Helper()
	if _, bench := t.(*testing.B); !bench { // benchmarks run what users have
		cfg.Panics = true
	}
	return newStackAs(t, cfg)
}

// newStackAs makes a stack as it is configured.
func newStackAs(t testing.TB, cfg Config) *Stack {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func addLink(t testing.TB, s *Stack, l link.Link, prefix string) *Interface {
	t.Helper()
	i, err := s.AddLink(l, InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.AddAddress(netip.MustParsePrefix(prefix)); err != nil {
		t.Fatal(err)
	}
	return i
}

// udpSocket opens a UDP socket bound to addr:port; a zero addr is any.
func udpSocket(t testing.TB, s *Stack, local string) *UDPSocket {
	t.Helper()
	k, err := s.NewUDPSocket()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	if local != "" {
		if err := k.Bind(netip.MustParseAddrPort(local)); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// recv receives one datagram within a second.
func recv(t testing.TB, k Socket) ([]byte, Info) {
	t.Helper()
	b := make([]byte, 65536)
	n, info, err := k.Recv(b, 0, k.Base().s.Deadline(time.Second))
	if err != nil {
		t.Fatalf("Recv: %v", err)
	}
	return b[:n], info
}

// handClock is a clock that stands still until it is moved.
type handClock struct{ now atomic.Int64 }

func (c *handClock) Now() int64 { return c.now.Load() }

// inputFrame processes one frame. The first lane's lock is held.
func (s *Stack) inputFrame(i *Interface, frame []byte) {
	s.lanes.first.input(i, &link.Frame{Data: frame, Meta: link.Meta{WireLen: len(frame)}})
}

// one is a message with one buffer, to receive into.
func one(b []byte) []Message { return []Message{{Buffers: [][]byte{b}}} }
