package pion

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/pion/transport/v4"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/stack"
)

// A Host is what connections are opened on: an *outband.Host that is not the kernel's
// ([outband.WithFallback]; stdnet is for that).
type Host interface {
	Net() *gonet.Net
	Stack() *stack.Stack
}

// Net is a transport.Net over a host. Its methods are for any goroutines at once.
type Net struct {
	// TCP is what opens connections and listeners of TCP, which the stack has not, and
	// resolves addresses of it: a *stdnet.Net has them in-band, at the kernel's addresses.
	// nil: they are transport.ErrNotSupported. It is not changed once the Net is in use.
	TCP transport.Net

	net *gonet.Net
	st  *stack.Stack
}

var _ transport.Net = (*Net)(nil)

// New returns the transport.Net of a host.
func New(h Host) *Net { return &Net{net: h.Net(), st: h.Stack()} }

// ListenPacket opens a *gonet.UDPConn, or an *gonet.IPConn, that is bound to an address.
func (n *Net) ListenPacket(network, address string) (net.PacketConn, error) {
	return n.net.ListenPacket(network, address)
}

// ListenUDP opens a *gonet.UDPConn that is bound to an address.
func (n *Net) ListenUDP(network string, laddr *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.net.ListenUDP(network, laddr)
	if err != nil {
		return nil, err // not c, which would be no nil interface
	}
	return c, nil
}

// ListenTCP is TCP's.
func (n *Net) ListenTCP(network string, laddr *net.TCPAddr) (transport.TCPListener, error) {
	if n.TCP == nil {
		return nil, noTCP("listen", network, laddr)
	}
	return n.TCP.ListenTCP(network, laddr)
}

// Dial opens a connection to a peer.
func (n *Net) Dial(network, address string) (net.Conn, error) {
	return n.CreateDialer(&net.Dialer{}).Dial(network, address)
}

// DialUDP opens a *gonet.UDPConn to a peer.
func (n *Net) DialUDP(network string, laddr, raddr *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.net.DialUDP(network, laddr, raddr)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// DialTCP is TCP's.
func (n *Net) DialTCP(network string, laddr, raddr *net.TCPAddr) (transport.TCPConn, error) {
	if n.TCP == nil {
		return nil, noTCP("dial", network, raddr)
	}
	return n.TCP.DialTCP(network, laddr, raddr)
}

// noTCP is the error of what would be TCP.
func noTCP(op, network string, at *net.TCPAddr) error {
	e := &net.OpError{Op: op, Net: network, Err: transport.ErrNotSupported}
	if at != nil {
		e.Addr = at
	}
	return e
}

// isTCP reports whether a network is TCP's.
func isTCP(network string) bool { return strings.HasPrefix(network, "tcp") }

// ResolveIPAddr asks the host's resolver.
func (n *Net) ResolveIPAddr(network, address string) (*net.IPAddr, error) {
	return n.net.ResolveIPAddr(network, address)
}

// ResolveUDPAddr asks the host's resolver.
func (n *Net) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	return n.net.ResolveUDPAddr(network, address)
}

// ResolveTCPAddr is TCP's.
func (n *Net) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	if n.TCP == nil {
		return nil, noTCP("resolve", network, nil)
	}
	return n.TCP.ResolveTCPAddr(network, address)
}

// Interfaces returns the stack's interfaces with the addresses that they have now.
func (n *Net) Interfaces() ([]*transport.Interface, error) {
	var all []*transport.Interface
	for _, i := range n.st.Interfaces() {
		all = append(all, asInterface(i))
	}
	return all, nil
}

// InterfaceByIndex returns an interface of the stack.
func (n *Net) InterfaceByIndex(index int) (*transport.Interface, error) {
	if i := n.st.InterfaceByIndex(index); i != nil {
		return asInterface(i), nil
	}
	return nil, fmt.Errorf("%w: index=%d", transport.ErrInterfaceNotFound, index)
}

// InterfaceByName returns an interface of the stack.
func (n *Net) InterfaceByName(name string) (*transport.Interface, error) {
	if i := n.st.InterfaceByName(name); i != nil {
		return asInterface(i), nil
	}
	return nil, fmt.Errorf("%w: %s", transport.ErrInterfaceNotFound, name)
}

// CreateDialer returns a dialer with what d says. A network of UDP and Control or
// ControlContext, which want a descriptor of the kernel's, do not go together: Dial is
// transport.ErrNotSupported then. What d says of TCP is for TCP's dialer.
func (n *Net) CreateDialer(d *net.Dialer) transport.Dialer { return dialer{n, d} }

type dialer struct {
	n *Net
	d *net.Dialer
}

// Dial implements transport.Dialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	switch {
	case isTCP(network) && d.n.TCP != nil:
		return d.n.TCP.CreateDialer(d.d).Dial(network, address)
	case isTCP(network), d.d.Control != nil, d.d.ControlContext != nil:
		return nil, &net.OpError{Op: "dial", Net: network, Err: transport.ErrNotSupported}
	}
	own := gonet.Dialer{Net: d.n.net, Timeout: d.d.Timeout, Deadline: d.d.Deadline, LocalAddr: d.d.LocalAddr}
	return own.Dial(network, address)
}

// CreateListenConfig returns what listens with what c says: see CreateDialer.
func (n *Net) CreateListenConfig(c *net.ListenConfig) transport.ListenConfig { return listener{n, c} }

type listener struct {
	n *Net
	c *net.ListenConfig
}

// Listen implements transport.ListenConfig.
func (l listener) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if l.n.TCP == nil {
		return nil, noTCP("listen", network, nil)
	}
	return l.n.TCP.CreateListenConfig(l.c).Listen(ctx, network, address)
}

// ListenPacket implements transport.ListenConfig.
func (l listener) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if l.c.Control != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: transport.ErrNotSupported}
	}
	return (&gonet.ListenConfig{Net: l.n.net}).ListenPacket(ctx, network, address)
}
