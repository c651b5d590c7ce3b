package node

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

var ours = netip.MustParsePrefix("10.9.0.1/24")

// open opens a node at the near end of a lab whose far end is the kernel's.
func open(t *testing.T, c Config) (*lab.Lab, *Node, error) {
	t.Helper()
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	var n *Node
	err := l.Near().Do(func() (err error) {
		n, err = Open(c)
		return err
	})
	if n != nil {
		t.Cleanup(func() { n.Close() })
	}
	return l, n, err
}

func TestOpen(t *testing.T) {
	l, n, err := open(t, Config{Device: "near0", Addr: ours, Gateway: netip.MustParseAddr("10.9.0.2"), Spin: stack.SpinNever})
	if err != nil {
		t.Fatal(err)
	}
	if n.Addr != ours.Addr() || n.Slots != tpacket.DefaultSlots || n.Iface.Name() != "near0" {
		t.Errorf("%+v", n)
	}
	s, err := n.UDP(4000)
	if err != nil {
		t.Fatal(err)
	}
	client := l.Far().UDP(t, 0)
	if err := client.SendTo([]byte("hello"), netip.AddrPortFrom(n.Addr, 4000)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	got, from, err := s.Recvfrom(buf, 0)
	if err != nil || string(buf[:got]) != "hello" || from.AddrPort().Addr() != l.Far().Addr {
		t.Errorf("%q from %s: %v", buf[:got], from, err)
	}
	if _, err := n.UDP(4000); !errors.Is(err, unix.EADDRINUSE) || err.Error() != "10.9.0.1:4000: address already in use" {
		t.Errorf("the same port again: %v", err)
	}
	// By the gateway.
	if _, err := s.Sendto([]byte("far"), 0, sockapi.Inet4([4]byte{8, 8, 8, 8}, 53)); err != nil {
		t.Errorf("by the gateway: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name   string
		config Config
		want   error
		text   string
	}{
		{"no device", Config{Device: "none0", Addr: ours}, unix.ENODEV, "none0: no such device"},
		{"the kernel's address", Config{Device: "lo", Addr: netip.MustParsePrefix("127.0.0.1/8")}, ErrKernelHasIt,
			"127.0.0.1 on lo: the kernel has this address on the device; take another one of the same network"},
		{"bad ring", Config{Device: "near0", Addr: ours, Ring: tpacket.Options{SlotSize: 1}}, unix.EINVAL, ""},
		{"no capture", Config{Device: "near0", Addr: ours, Wrap: func(link.Link) (link.Link, error) { return nil, broken }}, broken, "broken"},
		{"no address", Config{Device: "near0", Addr: netip.MustParsePrefix("::1/64")}, nil, ""},
		{"gateway out of reach", Config{Device: "near0", Addr: ours, Gateway: netip.MustParseAddr("10.8.0.1")}, unix.ENETUNREACH,
			"gateway 10.8.0.1: network is unreachable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, n, err := open(t, tt.config)
			if n != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || tt.text != "" && err.Error() != tt.text {
				t.Errorf("%v, %v", n, err)
			}
		})
	}
}

// TestWrap has every frame pass what Wrap returned.
func TestWrap(t *testing.T) {
	var counted *counter
	_, n, err := open(t, Config{Device: "near0", Addr: ours, Wrap: func(l link.Link) (link.Link, error) {
		counted = &counter{Link: l}
		return counted, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n.Iface.Link() != link.Link(counted) {
		t.Error("the stack has another link")
	}
	n.Close()
	if counted.closed != 1 {
		t.Errorf("closed %d times", counted.closed)
	}
}

type counter struct {
	link.Link
	closed int
}

func (c *counter) Close() error {
	c.closed++
	return c.Link.Close()
}
