package node

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		n, err = Open(context.Background(), c)
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
		{"bad ring", Config{Device: "near0", Addr: ours, Ring: tpacket.Options{SlotSize: 1}}, unix.EINVAL, ""},
		{"no capture", Config{Device: "near0", Addr: ours, Wrap: func(link.Link) (link.Link, error) { return nil, broken }}, broken, "broken"},
		{"no address", Config{Device: "near0", Addr: netip.MustParsePrefix("::1/64")}, nil, ""},
		{"capture in no folder", Config{Device: "near0", Addr: ours, Capture: "/nowhere/at/all"}, unix.ENOENT, ""},
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

// TestKernelsAddress wants what the kernel has on the device, and on another.
func TestKernelsAddress(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.Far | lab.Near})
	err := l.Near().Do(func() error {
		n, err := Open(context.Background(), Config{Device: "near0", Addr: netip.PrefixFrom(l.Near().Addr, 24)})
		if n != nil {
			n.Close()
		}
		return err
	})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "the kernel has") {
		t.Errorf("%v", err)
	}
}

// TestProbe wants an address that another host has, and one that nobody has.
func TestProbe(t *testing.T) {
	l, n, err := open(t, Config{Device: "near0", Addr: netip.MustParsePrefix("10.9.0.2/24"), Probe: 200 * time.Millisecond})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "has 10.9.0.2 already") || n != nil {
		t.Errorf("another host's: %v, %v", n, err)
	}
	err = l.Near().Do(func() (err error) {
		n, err = Open(context.Background(), Config{Device: "near0", Addr: ours, Probe: 200 * time.Millisecond})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := n.UDP(4000)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// TestGatewayOutside has a gateway that is in no network of ours, as hosts with a /32.
func TestGatewayOutside(t *testing.T) {
	l, n, err := open(t, Config{Device: "near0", Addr: netip.PrefixFrom(ours.Addr(), 32), Gateway: netip.MustParseAddr("10.9.0.2")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.UDP(4000)
	if err != nil {
		t.Fatal(err)
	}
	client := l.Far().UDP(t, 4001)
	if _, err := s.Sendto([]byte("by it"), 0, sockapi.InetAddrPort(netip.AddrPortFrom(l.Far().Addr, 4001))); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if got, _, err := client.RecvFrom(b, 0); err != nil || string(b[:got]) != "by it" {
		t.Errorf("%q, %v", b[:got], err)
	}
}

// TestCapture has a capture complete when the node is closed.
func TestCapture(t *testing.T) {
	file := filepath.Join(t.TempDir(), "all.pcapng")
	_, n, err := open(t, Config{Device: "near0", Addr: ours, Capture: file})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.UDP(4000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sendto([]byte("to be found"), 0, sockapi.Inet4([4]byte{10, 9, 0, 2}, 9)); err != nil {
		t.Fatal(err)
	}
	if err := n.Stack.Solicit(netip.MustParseAddr("10.9.0.2"), 5*time.Second, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(b, []byte("to be found")) {
		t.Errorf("%d bytes without the datagram: %v", len(b), err)
	}
}

func TestBroadcast(t *testing.T) {
	for prefix, want := range map[string]string{"10.9.0.1/24": "10.9.0.255", "10.9.0.1/8": "10.255.255.255", "10.9.0.9/29": "10.9.0.15",
		"10.9.0.1/30": "10.9.0.3", "10.9.0.1/0": "255.255.255.255", "10.9.0.1/31": "invalid IP", "10.9.0.1/32": "invalid IP"} {
		n := &Node{prefix: netip.MustParsePrefix(prefix)}
		if got := n.Broadcast(); got.String() != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}
