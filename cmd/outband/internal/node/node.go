// Package node brings up a stack on a network device for the subcommands: the
// link, the address, the default gateway, and sockets on it.
package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// A Config says what stack to bring up. The device is looked for in the calling
// thread's network namespace.
type Config struct {
	Device string
	// Addr is our own address, which the kernel must not have; the zero Prefix shares those
	// that the kernel has.
	Addr    netip.Prefix
	Gateway netip.Addr    // of the default route; the zero Addr: none
	Spin    time.Duration // as stack.Config.Spin
	Ring    tpacket.Options
	// Wrap is given the link and returns what the stack is to use in its
	// place. It may be nil.
	Wrap func(link.Link) (link.Link, error)
	// Capture is the file that all frames are written to, as pcapng; "": none.
	Capture string
	// CaptureMore leaves in that file what it holds, and adds a section of pcapng to it.
	CaptureMore bool
	// Probe is for how long to ask by ARP whether somebody has the address (RFC 5227,
	// section 2.1) before it is used; 0: not at all.
	Probe time.Duration
	// MaxSources is stack.Config's.
	MaxSources int
	// NoLo and Require are shared.Config's.
	NoLo    bool
	Require claim.Rung
	// Log is told what is less than it might be, with shared addresses; nil: nobody is.
	Log *slog.Logger
}

// A Node is a stack on one device, or in-band the kernel's stack.
type Node struct {
	Stack *stack.Stack
	API   *sockapi.API
	Addr  netip.Addr       // in-band the zero Addr; of shared ones the device's first, or 0.0.0.0
	Iface *stack.Interface // in-band nil
	Slots int              // of the receive ring

	device string
	prefix netip.Prefix
	host   *outband.Host // in-band nil
}

// OpenInBand returns a Node whose sockets are the kernel's, on a device of the
// calling thread's network namespace. Its stack has no link.
func OpenInBand(device string) (*Node, error) {
	if _, err := net.InterfaceByName(device); err != nil {
		return nil, fmt.Errorf("%s: %w", device, unix.ENODEV)
	}
	st, err := stack.New(stack.Config{})
	if err != nil {
		return nil, err
	}
	return &Node{Stack: st, API: sockapi.New(st), device: device}, nil
}

// InBand reports whether the sockets are the kernel's.
func (n *Node) InBand() bool { return n.Iface == nil }

// IfIndex returns the device's index, for options that take one.
func (n *Node) IfIndex() (int, error) {
	if !n.InBand() {
		return n.Iface.Index(), nil
	}
	ifi, err := net.InterfaceByName(n.device)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", n.device, unix.ENODEV)
	}
	return ifi.Index, nil
}

// Open brings a stack up. Close ends it. The error is ctx's if that ends before the
// address has been probed for.
func Open(ctx context.Context, c Config) (*Node, error) {
	n := &Node{device: c.Device, prefix: c.Addr}
	h, err := outband.Open(ctx, c.Device, n.options(&c)...)
	var open *outband.OpenError
	if errors.As(err, &open) {
		return nil, open.Err // the command has its own lines that mend it
	}
	if err != nil {
		return nil, err
	}
	n.host, n.Stack, n.API = h, h.Stack(), h.API()
	n.Iface = n.Stack.InterfaceByName(c.Device)
	if n.Addr = c.Addr.Addr(); !n.Addr.IsValid() {
		n.Addr = netip.IPv4Unspecified()
		if all := n.Iface.Addresses(); len(all) > 0 {
			n.Addr, n.prefix = all[0].Addr(), all[0]
		}
	}
	return n, nil
}

// options returns a configuration as the library has it.
func (n *Node) options(c *Config) []outband.Option {
	o := []outband.Option{outband.WithStack(stack.Config{Spin: c.Spin, MaxSources: c.MaxSources}), outband.WithRing(c.Ring),
		outband.WithLink(n.wrapper(c))}
	if c.Addr.IsValid() {
		o = append(o, outband.WithAddress(c.Addr), outband.WithProbe(c.Probe))
	} else {
		o = append(o, outband.WithRequire(c.Require))
	}
	if c.Gateway.IsValid() {
		o = append(o, outband.WithGateway(c.Gateway))
	}
	if c.NoLo {
		o = append(o, outband.WithoutLoopbackRing())
	}
	switch {
	case c.Capture == "":
	case c.CaptureMore:
		o = append(o, outband.WithCaptureMore(c.Capture))
	default:
		o = append(o, outband.WithCapture(c.Capture))
	}
	if c.Log != nil {
		o = append(o, outband.WithLogger(c.Log))
	}
	return o
}

// wrapper returns what puts around the device's link what the configuration asks for, and
// notes the size of its ring.
func (n *Node) wrapper(c *Config) func(link.Link) (link.Link, error) {
	return func(l link.Link) (link.Link, error) {
		if t, ok := l.(*tpacket.Link); ok {
			n.Slots = t.Slots()
		}
		if c.Wrap == nil {
			return l, nil
		}
		return c.Wrap(l)
	}
}

// UnboundUDP opens a UDP socket: out-of-band, or the kernel's if the node is
// in-band.
func (n *Node) UnboundUDP() (*sockapi.Socket, error) {
	typ := unix.SOCK_DGRAM
	if !n.InBand() {
		typ |= sockapi.SOCK_OOB
	}
	return n.API.Socket(unix.AF_INET, typ, 0)
}

// UDP opens a UDP socket bound to our address, in-band or of shared ones to all, and a
// port; 0 asks for an ephemeral one.
func (n *Node) UDP(port uint16) (*sockapi.Socket, error) {
	s, err := n.UnboundUDP()
	if err != nil {
		return nil, err
	}
	local := n.Addr
	if n.InBand() || n.host.Shared() {
		local = netip.IPv4Unspecified()
	}
	at := netip.AddrPortFrom(local, port)
	if err := s.Bind(sockapi.InetAddrPort(at)); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return s, nil
}

// Broadcast returns the broadcast address of our own network; the zero Addr if it
// has none.
func (n *Node) Broadcast() netip.Addr {
	if n.prefix.Bits() > 30 || !n.prefix.IsValid() {
		return netip.Addr{}
	}
	last := n.prefix.Addr().As4()
	binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|(1<<(32-n.prefix.Bits())-1))
	return netip.AddrFrom4(last)
}

// Close ends the stack, and all that waits on its sockets; a capture is complete then.
func (n *Node) Close() error {
	if n.host != nil {
		return n.host.Close()
	}
	return n.Stack.Close()
}

// EndCapture completes the capture, if there is one. The stack goes on. It may be called
// while others do anything with the Node, and more than once.
func (n *Node) EndCapture() error {
	if n.host == nil {
		return nil
	}
	return n.host.EndCapture()
}
