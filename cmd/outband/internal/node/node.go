// Package node brings up a stack on a network device for the subcommands: the
// link, the address, the default gateway, and sockets on it.
package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// A Config says what stack to bring up. The device is looked for in the calling
// thread's network namespace.
type Config struct {
	Device  string
	Addr    netip.Prefix  // our own address, which the kernel must not have
	Gateway netip.Addr    // of the default route; the zero Addr: none
	Spin    time.Duration // as stack.Config.Spin
	Ring    tpacket.Options
	// Wrap is given the link and returns what the stack is to use in its
	// place: a capture. It may be nil.
	Wrap func(link.Link) (link.Link, error)
}

// A Node is a stack on one device, or in-band the kernel's stack.
type Node struct {
	Stack *stack.Stack
	API   *sockapi.API
	Addr  netip.Addr       // in-band the zero Addr
	Iface *stack.Interface // in-band nil
	Slots int              // of the receive ring

	device string
	prefix netip.Prefix
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

// ErrKernelHasIt means that the kernel has the address that was to be ours: both
// would answer.
var ErrKernelHasIt = errors.New("the kernel has this address on the device; take another one of the same network")

// Open brings a stack up. Close ends it.
func Open(c Config) (*Node, error) {
	if err := checkAddress(c.Device, c.Addr); err != nil {
		return nil, err
	}
	l, err := tpacket.Open(c.Device, c.Ring)
	if err != nil {
		return nil, err
	}
	slots := l.Slots()
	wrapped, err := link.Link(l), error(nil)
	if c.Wrap != nil {
		wrapped, err = c.Wrap(l)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	st, err := stack.New(stack.Config{Spin: c.Spin})
	if err != nil {
		wrapped.Close()
		return nil, err
	}
	n := &Node{Stack: st, API: sockapi.New(st), Addr: c.Addr.Addr(), Slots: slots, device: c.Device, prefix: c.Addr}
	if n.Iface, err = st.AddLink(wrapped, stack.InterfaceConfig{}); err != nil {
		wrapped.Close()
	} else {
		err = n.configure(c)
	}
	if err != nil {
		st.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) configure(c Config) error {
	if err := n.Iface.AddAddress(c.Addr); err != nil {
		return fmt.Errorf("address %s: %w", c.Addr, err)
	}
	if !c.Gateway.IsValid() {
		return nil
	}
	route := ipv4.Route{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: c.Gateway.As4(), Iface: n.Iface.Index()}
	if err := n.Stack.AddRoute(route); err != nil {
		return fmt.Errorf("gateway %s: %w", c.Gateway, err)
	}
	return nil
}

// checkAddress refuses an address that the kernel has on the device.
func checkAddress(device string, addr netip.Prefix) error {
	ifi, err := net.InterfaceByName(device)
	if err != nil {
		return fmt.Errorf("%s: %w", device, unix.ENODEV)
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	has := slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == addr.Addr()
	})
	if has {
		return fmt.Errorf("%s on %s: %w", addr.Addr(), device, ErrKernelHasIt)
	}
	return nil
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

// UDP opens a UDP socket bound to our address, in-band to none, and a port; 0 asks
// for an ephemeral one.
func (n *Node) UDP(port uint16) (*sockapi.Socket, error) {
	s, err := n.UnboundUDP()
	if err != nil {
		return nil, err
	}
	local := n.Addr
	if n.InBand() {
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
	binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|1<<(32-n.prefix.Bits())-1)
	return netip.AddrFrom4(last)
}

// Close ends the stack, and all that waits on its sockets.
func (n *Node) Close() error { return n.Stack.Close() }
