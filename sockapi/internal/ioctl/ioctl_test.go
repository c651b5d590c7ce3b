package ioctl

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// newDevice returns a stack with a device, eth7, that has an address, or none.
func newDevice(t testing.TB, prefix string) *stack.Stack {
	t.Helper()
	s, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	a, _ := pipe.New(pipe.Options{A: pipe.End{Name: "eth7"}})
	i, err := s.AddLink(a, stack.InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if prefix != "" {
		if err := i.AddAddress(netip.MustParsePrefix(prefix)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// What is told of an interface's address, by netdevice(7): one without has none, and the
// smallest networks have no broadcast address (RFC 3021).
func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		prefix string
		req    uint
		want   [4]byte
		err    error
	}{
		{"", unix.SIOCGIFADDR, [4]byte{}, unix.EADDRNOTAVAIL},
		{"10.1.2.3/24", unix.SIOCGIFADDR, [4]byte{10, 1, 2, 3}, nil},
		{"10.1.2.3/24", unix.SIOCGIFNETMASK, [4]byte{255, 255, 255, 0}, nil},
		{"10.1.2.3/24", unix.SIOCGIFBRDADDR, [4]byte{10, 1, 2, 255}, nil},
		{"10.1.2.1/30", unix.SIOCGIFBRDADDR, [4]byte{10, 1, 2, 3}, nil},
		{"10.1.2.1/31", unix.SIOCGIFBRDADDR, [4]byte{}, nil},
		{"10.1.2.1/32", unix.SIOCGIFBRDADDR, [4]byte{}, nil},
		{"10.1.2.1/32", unix.SIOCGIFNETMASK, [4]byte{255, 255, 255, 255}, nil},
	} {
		s := newDevice(t, tt.prefix)
		var r Request
		copy(r[:], "eth7")
		err := Answer(s, tt.req, &r)
		if err != tt.err && (err != nil || tt.err != nil) || err == nil && [4]byte(r.Value()[4:8]) != tt.want {
			t.Errorf("%s, request %#x: %v, %v", tt.prefix, tt.req, r.Value()[4:8], err)
		}
	}
}

// The stamp is that of the last datagram, from the first call on that asks for it; nothing
// that a shut-down socket gives counts.
func TestStamp(t *testing.T) {
	var p Stamp
	now := func() int64 { return 77 }
	ask := func(want int64, err error) {
		t.Helper()
		if got, e := p.Ask(now); got != want || e != err {
			t.Errorf("%d, %v, want %d, %v", got, e, want, err)
		}
	}
	p.Received(&stack.Info{Time: 5})
	ask(0, unix.ENOENT)
	p.Received(&stack.Info{Interface: 2, Time: 6, Clock: link.ClockSoftware})
	ask(6, nil)
	p.Received(&stack.Info{Time: 9})
	ask(6, nil)
	p.Received(&stack.Info{Interface: 2, Time: 8, Clock: link.ClockSoftware})
	ask(8, nil)

	p = Stamp{}
	p.Received(&stack.Info{Interface: 2, Time: 6, Clock: link.ClockSoftware})
	ask(77, nil) // it was not kept, and has come just now
	ask(77, nil)
}
