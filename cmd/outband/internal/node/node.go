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

	"github.com/outband/outband/arp"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/shared"
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

	device  string
	prefix  netip.Prefix
	capture captureFile
	shared  *shared.Host // nil: the address is our own
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
	if !c.Addr.IsValid() {
		return openShared(c)
	}
	l, err := tpacket.Open(c.Device, c.Ring)
	if errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("%s: %w", c.Device, unix.ENODEV)
	}
	if err != nil {
		return nil, err
	}
	n := &Node{Addr: c.Addr.Addr(), Slots: l.Slots(), device: c.Device, prefix: c.Addr}
	if l.Info().Caps&link.CapLoopback != 0 && c.Addr.Addr().IsLoopback() {
		l.Close() // of other addresses and devices the stack knows
		return nil, fmt.Errorf("%s on %s: the kernel has this address, as all hosts have: %w", c.Addr.Addr(), c.Device, unix.EADDRINUSE)
	}
	wrapped, err := n.wrap(l, &c)
	if err != nil {
		l.Close()
		return nil, errors.Join(err, n.EndCapture())
	}
	if n.Stack, err = stack.New(stack.Config{Spin: c.Spin, MaxSources: c.MaxSources}); err != nil {
		wrapped.Close()
		return nil, errors.Join(err, n.EndCapture())
	}
	n.API = sockapi.New(n.Stack)
	if n.Iface, err = n.Stack.AddLink(wrapped, stack.InterfaceConfig{ARP: probing(c.Probe, l)}); err != nil {
		wrapped.Close()
	} else {
		err = n.configure(ctx, &c)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// openShared is Open for the addresses that the kernel has.
func openShared(c Config) (*Node, error) {
	n := &Node{device: c.Device}
	var err error
	n.shared, err = shared.Open(shared.Config{Devices: []string{c.Device}, NoLo: c.NoLo, Require: c.Require, Ring: c.Ring, Log: c.Log,
		Wrap: n.wrapDevice(&c), Stack: stack.Config{Spin: c.Spin, MaxSources: c.MaxSources}})
	if err != nil {
		return nil, errors.Join(err, n.EndCapture())
	}
	n.Stack = n.shared.Stack()
	n.API = sockapi.New(n.Stack)
	n.Iface = n.Stack.InterfaceByName(c.Device)
	n.Addr = netip.IPv4Unspecified()
	if own := n.Iface.Addresses(); len(own) > 0 {
		n.Addr, n.prefix = own[0].Addr(), own[0]
	}
	return n, nil
}

// wrapDevice returns what puts around the device's link what the configuration asks for,
// and around no other.
func (n *Node) wrapDevice(c *Config) func(link.Link) (link.Link, error) {
	return func(l link.Link) (link.Link, error) {
		if t, ok := l.(*tpacket.Link); ok {
			n.Slots = t.Slots()
			return n.wrap(l, c)
		}
		return l, nil
	}
}

// Shared returns how the kernel's addresses are shared, nil if the address is our own.
func (n *Node) Shared() *shared.Host { return n.shared }

// wrap puts around a link what the configuration asks for.
func (n *Node) wrap(l link.Link, c *Config) (wrapped link.Link, err error) {
	if c.Wrap != nil {
		if l, err = c.Wrap(l); err != nil {
			return nil, err
		}
	}
	if c.Capture == "" {
		return l, nil
	}
	return n.capture.open(l, c)
}

// probing returns the configuration with which an address is probed for within a time,
// by three requests as RFC 5227 has them. Where nothing can be asked, since the link is
// down, nothing is.
func probing(d time.Duration, l link.Link) arp.Config {
	c := arp.DefaultConfig()
	if d <= 0 || l.Info().State != link.Up {
		return c
	}
	c.Probe, c.ProbeWait, c.ProbeNum = true, time.Millisecond, 3
	c.ProbeMin, c.ProbeMax, c.AnnounceWait = d/4, d/4, d/2
	return c
}

// configure gives the stack its address and its route.
func (n *Node) configure(ctx context.Context, c *Config) error {
	events := n.Stack.Subscribe(0)
	defer events.Close()
	if err := n.Iface.AddAddress(c.Addr); err != nil {
		return fmt.Errorf("address %s: %w", c.Addr, err)
	}
	// A link that goes down meanwhile has its probes later: then nothing waits for them.
	bounded, cancel := context.WithTimeout(ctx, c.Probe+probeGrace)
	defer cancel()
	err := n.Iface.AwaitAddress(bounded, c.Addr)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%s: take another one of the same network, or see who has it (--probe 0 asks nobody): %w", refusal(events, c.Addr), err)
	}
	if !c.Gateway.IsValid() {
		return nil
	}
	route := ipv4.Route{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: c.Gateway.As4(), Iface: n.Iface.Index(),
		OnLink: !c.Addr.Contains(c.Gateway)}
	if err := n.Stack.AddRoute(route); err != nil {
		return fmt.Errorf("gateway %s: %w", c.Gateway, err)
	}
	return nil
}

// probeGrace is how much longer than its probes an address may take.
const probeGrace = 2 * time.Second

// refusal says why an address is not used.
func refusal(events *stack.Subscription, p netip.Prefix) string {
	for {
		select {
		case e, ok := <-events.C:
			if !ok {
				return p.Addr().String()
			}
			if e.Kind == stack.AddressDuplicate || e.Kind == stack.AddressSuspended {
				return e.String()
			}
		default:
			return p.Addr().String()
		}
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
	if n.InBand() || n.shared != nil {
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
	if n.shared != nil {
		return errors.Join(n.shared.Close(), n.EndCapture())
	}
	return errors.Join(n.Stack.Close(), n.EndCapture())
}

// EndCapture completes the capture, if there is one. The stack goes on. It may be called
// while others do anything with the Node, and more than once.
func (n *Node) EndCapture() error { return n.capture.end() }
