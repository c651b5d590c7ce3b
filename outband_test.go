package outband

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openAt opens a host at an end.
func openAt(t *testing.T, e *lab.Endpoint, options ...Option) (h *Host, err error) {
	t.Helper()
	e.In(t, func() error {
		h, err = Open(context.Background(), e.Name, options...)
		return nil
	})
	if h != nil {
		t.Cleanup(func() { h.Close() })
	}
	return h, err
}

// server echoes what comes to a connection, until that is closed.
func server(c net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		c.WriteTo(b[:n], from)
	}
}

// ask sends a datagram by a connection and wants it back.
func ask(t *testing.T, c net.Conn, text string) {
	t.Helper()
	check(t, c.SetDeadline(time.Now().Add(lab.Patience)))
	_, err := c.Write([]byte(text))
	check(t, err)
	b := make([]byte, 2048)
	n, err := c.Read(b)
	check(t, err)
	if string(b[:n]) != text {
		t.Errorf("%q, want %q", b[:n], text)
	}
}

// Two hosts, one on the kernel's addresses and one on its own, speak with each other by
// package net's calls.
func TestOpen(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.Near})
	near, err := openAt(t, l.Near(), WithSpin(stack.SpinNever))
	check(t, err)
	far, err := openAt(t, l.Far(), WithAddress(netip.PrefixFrom(l.Far().Addr, lab.Bits)), WithGateway(l.Near().Addr))
	check(t, err)
	if !near.Shared() || far.Shared() || near.Why() != nil {
		t.Errorf("near shared %t, far %t", near.Shared(), far.Shared())
	}
	want := netip.PrefixFrom(l.Near().Addr, lab.Bits)
	if got := near.Addresses(); len(got) != 1 || got[0] != want {
		t.Errorf("addresses %v, want %v", got, want)
	}
	s, err := near.ListenPacket("udp", ":7")
	check(t, err)
	defer s.Close()
	go server(s)
	c, err := far.Dial("udp", netip.AddrPortFrom(l.Near().Addr, 7).String())
	check(t, err)
	defer c.Close()
	ask(t, c, "hello")
	if st, ok := near.Status(); !ok || st.Holders != 1 {
		t.Errorf("status %+v, %t", st, ok)
	}
	if _, ok := far.Status(); ok {
		t.Error("a host on its own address has a status of shared ones")
	}
	k, err := far.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	check(t, err)
	if !k.OutOfBand() {
		t.Error("Socket gives an in-band socket")
	}
	check(t, k.Close())
	check(t, far.Close())
	check(t, far.Close())
	if _, err := c.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection of a closed host: %v", err)
	}
}

// What cannot be had is told, with the errno, and nothing is left behind.
func TestOpenFails(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.All})
	own := WithAddress(netip.MustParsePrefix("10.9.0.77/24"))
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		device  string
		options []Option
		want    error
		text    string
	}{
		{"no device", "none0", nil, unix.ENODEV, "none0"},
		{"no device for an own address", "none0", []Option{own}, unix.ENODEV, "none0: no such device"},
		{"the kernel's address", "near0", []Option{WithAddress(netip.PrefixFrom(l.Near().Addr, 24))}, unix.EADDRINUSE, "the kernel has"},
		{"every host's", "lo", []Option{WithAddress(netip.MustParsePrefix("127.0.0.1/8"))}, unix.EADDRINUSE, "as all hosts have"},
		{"another host's", "near0", []Option{WithAddress(netip.PrefixFrom(l.Far().Addr, 24)), WithProbe(200 * time.Millisecond)}, unix.EADDRINUSE, "has 10.9.0.2 already"},
		{"a gateway of the kernel's addresses", "near0", []Option{WithGateway(l.Far().Addr)}, unix.EINVAL, "WithGateway"},
		{"an own address on two devices", "near0", []Option{own, WithDevices("lo")}, unix.EINVAL, "WithAddress"},
		{"a rung for an own address", "near0", []Option{own, WithRequire(claim.TCX)}, unix.EINVAL, "WithRequire"},
		{"no ring on lo for an own address", "near0", []Option{own, WithoutLoopbackRing()}, unix.EINVAL, "WithoutLoopbackRing"},
		{"a gateway of IPv6", "near0", []Option{own, WithGateway(netip.IPv6LinkLocalAllNodes())}, unix.EAFNOSUPPORT, "gateway"},
		{"a capture in no folder", "near0", []Option{own, WithCapture("/nowhere/at/all")}, unix.ENOENT, ""},
		{"a capture in no folder, shared", "near0", []Option{WithCapture("/nowhere/at/all")}, unix.ENOENT, ""},
		{"no link", "near0", []Option{WithLink(func(link.Link) (link.Link, error) { return nil, broken })}, broken, "broken"},
		{"a stack with ports", "near0", []Option{WithStack(stack.Config{Wanted: func(stack.Wants) {}})}, unix.EINVAL, "stack configuration"},
		{"a stack with a policy for lo", "near0", []Option{WithStack(stack.Config{LoopbackPolicy: stack.SharedPolicy()})}, unix.EINVAL, "stack configuration"},
		{"a ring that is shared otherwise", "near0", []Option{WithRing(tpacket.Options{Share: noSharer{}})}, unix.EINVAL, "Share"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h *Host
			var err error
			l.Near().In(t, func() error { h, err = Open(context.Background(), c.device, c.options...); return nil })
			if h != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, %v; want %v", h, err, c.want)
			}
		})
	}
}

// Open ends with its context while it asks whether somebody has the address.
func TestOpenEnds(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	l.Near().In(t, func() error {
		h, err := Open(ctx, "near0", WithAddress(netip.MustParsePrefix("10.9.0.1/24")), WithProbe(time.Minute), WithFallback())
		if h != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", h, err)
		}
		return nil
	})
}

// With a fallback the kernel's sockets do, and it is said why; without it is an error.
func TestFallback(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.All})
	var log bytes.Buffer
	var h *Host
	l.Near().In(t, func() (err error) {
		h, err = Open(context.Background(), "none0", WithFallback(), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if err != nil {
			return err
		}
		if !errors.Is(h.Why(), unix.ENODEV) || h.Net() != nil || !strings.Contains(log.String(), "in-band") {
			t.Errorf("why %v, log %q", h.Why(), log.String())
		}
		k, err := h.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		check(t, err)
		if k.OutOfBand() {
			t.Error("an out-of-band socket of the kernel's host")
		}
		check(t, k.Close())
		s, err := h.ListenPacket("udp", "127.0.0.1:0")
		check(t, err)
		defer s.Close()
		go server(s)
		c, err := h.Dial("udp", s.LocalAddr().String())
		check(t, err)
		defer c.Close()
		ask(t, c, "in-band")
		return nil
	})
	check(t, h.Close())
}

// A capture has the frames of all devices, is complete at the end, and may be added to.
func TestCapture(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.All})
	check(t, l.Near().AddVeth(netlab.Veth{Name: "spare0", PeerName: "spare1", Peer: l.Near().Namespace, MTU: 1500}))
	server := l.Far().UDP(t, 9)
	file := filepath.Join(t.TempDir(), "all.pcapng")
	for round, option := range []Option{WithCapture(file), WithCaptureMore(file)} {
		h, err := openAt(t, l.Near(), option, WithDevices("spare0"))
		check(t, err)
		c, err := h.Dial("udp", netip.AddrPortFrom(l.Far().Addr, 9).String())
		check(t, err)
		_, err = c.Write([]byte([]string{"first round", "second round"}[round]))
		check(t, err)
		_, _, err = server.RecvFrom(make([]byte, 64), 0) // it has left
		check(t, err)
		check(t, h.Close()) // after which nothing is being sent any more
		check(t, h.EndCapture())
	}
	b, err := os.ReadFile(file)
	check(t, err)
	for _, want := range []string{"first round", "second round", "spare0", "near0"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%d bytes without %q", len(b), want)
		}
	}
}

// A noSharer is not asked for anything.
type noSharer struct{ tpacket.Sharer }
