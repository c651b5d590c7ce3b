package outband

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/internal/cpu"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// A Host is a stack on one or more devices, or, with [WithFallback], the kernel's. Its
// methods may be called by any goroutines at once.
type Host struct {
	api     *sockapi.API
	st      *stack.Stack
	net     *gonet.Net   // nil: in-band
	shared  *shared.Host // nil: not the kernel's addresses
	why     error        // why it is in-band, nil if it is not
	devices []string     // that it was opened on
	capture captureFile
	closing sync.Once
	closed  error // what closing has said
}

// Open opens a host on a network device of the calling thread's network namespace, with
// the addresses that the kernel has, or with those of [WithAddress]. Close ends it. ctx
// bounds how long it is asked whether somebody has an address of our own.
//
// Errors are an [*OpenError], which says what is missing and the line that mends it, around
// an errno: ENODEV, there is no such device; EPERM, a capability, CAP_NET_RAW for the ring of
// packets; EADDRINUSE, somebody has the address; EINVAL, options that do not go together, or
// a device that is part of another one. Or they are ctx's.
func Open(ctx context.Context, device string, options ...Option) (*Host, error) {
	c := config{devices: []string{device}, cpu: -1}
	for _, o := range options {
		o(&c)
	}
	if err := c.check(); err != nil {
		return nil, &OpenError{Device: device, Err: err}
	}
	unpin, err := c.pin()
	if err != nil {
		return nil, &OpenError{Device: device, Err: err}
	}
	h := &Host{devices: c.devices}
	if err = h.open(ctx, &c); err == nil {
		h.api = sockapi.New(h.st)
		h.net = gonet.New(h)
		h.tellEvents(&c)
		return h, nil
	}
	err = errors.Join(err, h.Close())
	switch {
	case ctx.Err() != nil:
	case c.fallback:
		if h, err = fallBack(&c, c.openError(err)); err == nil {
			return h, nil
		}
	default:
		err = c.openError(err)
	}
	unpin()
	return nil, err
}

// pin ties the caller to the CPU of [WithCPU], and returns what takes that back.
func (c *config) pin() (unpin func(), err error) {
	if c.cpu < 0 {
		return func() {}, nil
	}
	before, err := cpu.All()
	if err != nil {
		return nil, err
	}
	return func() { _ = cpu.Restore(before) }, Pin(c.cpu)
}

// Pin ties the calling goroutine to its thread, and that to a CPU, for good: what a goroutine
// that spins wants (see [WithCPU]). EINVAL: it is no CPU that the process may use, and the
// error says which are.
func Pin(n int) error {
	if err := cpu.Pin(n); err != nil {
		return errors.Join(err, cpu.Usable(n))
	}
	return nil
}

// open brings the stack up.
func (h *Host) open(ctx context.Context, c *config) error {
	if len(c.addresses) > 0 {
		return h.openOwn(ctx, c)
	}
	s, err := shared.Open(shared.Config{Devices: c.devices, NoLo: c.noLo, NoLocalMulticast: c.noLocalMulticast, Require: c.require,
		Ring: c.ring, Wrap: h.wrapper(c), Stack: c.stack, Log: c.log})
	if err != nil {
		return err
	}
	h.shared, h.st = s, s.Stack()
	return nil
}

// fallBack returns a host of the kernel's, for the reason why.
func fallBack(c *config, why error) (*Host, error) {
	st, err := stack.New(stack.Config{}) // whose sockets are the kernel's
	if err != nil {
		return nil, errors.Join(why, err)
	}
	if c.log != nil {
		c.log.Warn("in-band: the kernel's stack is used", "reason", why)
	}
	return &Host{st: st, api: sockapi.New(st), why: why, devices: c.devices}, nil
}

// Why returns why the host is the kernel's ([WithFallback]), nil if it is not.
func (h *Host) Why() error { return h.why }

// Net returns the host in the shape of package net, nil if it is the kernel's: then package
// net itself is that.
func (h *Host) Net() *gonet.Net { return h.net }

// ListenPacket opens a connection that is bound to an address, such as ":53", as
// net.ListenPacket does: of "udp" or "ip4:icmp".
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	if h.net == nil {
		return net.ListenPacket(network, address)
	}
	return h.net.ListenPacket(network, address)
}

// Dial opens a connection to a peer, as net.Dial does.
func (h *Host) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), network, address)
}

// DialContext is Dial, and ends the search for a name with ctx.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if h.net == nil {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return h.net.DialContext(ctx, network, address)
}

// Socket opens a socket in the way of BSD, as sockapi.API.Socket does: SOCK_OOB is set
// for the caller where the host is not the kernel's.
func (h *Host) Socket(domain, typ, proto int) (*sockapi.Socket, error) {
	if h.why == nil {
		typ |= sockapi.SOCK_OOB
	}
	return h.api.Socket(domain, typ, proto)
}

// API returns the calls of BSD on the host, epoll and poll among them. SOCK_OOB makes a
// socket out-of-band.
func (h *Host) API() *sockapi.API { return h.api }

// Stack returns the stack: interfaces, routes, sockets. It stays the Host's.
func (h *Host) Stack() *stack.Stack { return h.st }

// Shared reports whether the stack has the kernel's addresses.
func (h *Host) Shared() bool { return h.shared != nil }

// Stats returns the counters, by the names of nstat(8); none where the host is the kernel's.
func (h *Host) Stats() stack.Stats {
	if h.why != nil {
		return stack.Stats{}
	}
	return h.st.Stats()
}

// Neighbours returns who is known on the devices' networks; nobody where the host is the
// kernel's.
func (h *Host) Neighbours() []stack.Neighbour { return h.st.Neighbours() }

// Status returns what the host does beside the kernel on the kernel's addresses; false
// if its addresses are not the kernel's.
func (h *Host) Status() (shared.Status, bool) {
	if h.shared == nil {
		return shared.Status{}, false
	}
	return h.shared.Status(), true
}

// Addresses returns the addresses that the stack has, those of loopback left out.
func (h *Host) Addresses() (all []netip.Prefix) {
	for _, i := range h.st.Interfaces() {
		for _, p := range i.Addresses() {
			if !p.Addr().IsLoopback() {
				all = append(all, p)
			}
		}
	}
	return all
}

// EndCapture completes the file of [WithCapture], if there is one, and the stack goes on.
// It may be called more than once.
func (h *Host) EndCapture() error { return h.capture.end() }

// Close ends the stack, and all that waits on its connections, and completes a capture.
// Calls after the first return what it has returned.
func (h *Host) Close() error {
	h.closing.Do(func() {
		var err error
		switch {
		case h.shared != nil:
			err = h.shared.Close()
		case h.st != nil:
			err = h.st.Close()
		}
		h.closed = errors.Join(err, h.EndCapture())
	})
	return h.closed
}

// An Option changes what Open does.
type Option func(*config)

// config is what the options say.
type config struct {
	devices          []string
	addresses        []netip.Prefix // of the first device
	gateway          netip.Addr
	probe            probing
	stack            stack.Config
	ring             ringOptions
	wrap             wrapFunc
	capture          string
	captureMore      bool
	noLo             bool
	noLocalMulticast bool
	require          rung
	fallback         bool
	cpu              int // -1: any
	log              *slog.Logger
	events           func(Event)
}

// invalid is EINVAL in words.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, unix.EINVAL)...)
}

// check refuses options that do not go together.
func (c *config) check() error {
	own := len(c.addresses) > 0
	for _, p := range c.addresses {
		if !p.Addr().Is4() {
			return fmt.Errorf("WithAddress %s: %w", p, unix.EAFNOSUPPORT)
		}
	}
	switch {
	case c.gateway.IsValid() && !c.gateway.Is4():
		return fmt.Errorf("gateway %s: %w", c.gateway, unix.EAFNOSUPPORT)
	case own && len(c.devices) > 1:
		return invalid("WithAddress is for one device, and there are %d", len(c.devices))
	case !own && c.gateway.IsValid():
		return invalid("WithGateway is for an address of our own: with the kernel's, routes are the kernel's too")
	case own && (c.noLo || c.noLocalMulticast || c.require != 0):
		return invalid("WithoutLoopbackRing, WithoutLocalMulticast and WithRequire are for the kernel's addresses")
	}
	return nil
}
