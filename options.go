package outband

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
)

type (
	ringOptions = tpacket.Options
	wrapFunc    = func(link.Link) (link.Link, error)
	rung        = claim.Rung
)

// WithDevices opens the host on further devices, beside the one that Open names.
func WithDevices(names ...string) Option {
	return func(c *config) { c.devices = append(c.devices, names...) }
}

// WithAddress gives the stack an address of its own with its network, which the kernel
// must not have, in place of the kernel's; more of them, more addresses. The stack answers
// ARP and pings for it.
func WithAddress(p netip.Prefix) Option {
	return func(c *config) { c.addresses = append(c.addresses, p) }
}

// WithGateway makes a router the way to all other networks. It is for WithAddress.
func WithGateway(a netip.Addr) Option { return func(c *config) { c.gateway = a } }

// WithProbe has Open ask by ARP for so long whether somebody has the addresses of
// WithAddress (RFC 5227, section 2.1). Without it nobody is asked.
func WithProbe(d time.Duration) Option { return func(c *config) { c.probe = probing(d) } }

// WithSpin sets how long a call that waits looks for a datagram before it sleeps: a
// duration, stack.SpinAlways, stack.SpinNever, or stack.SpinAdaptive, which is the default.
func WithSpin(d time.Duration) Option { return func(c *config) { c.stack.Spin = d } }

// WithStack sets all else of the stack: limits, clocks, ICMP's rate. What Open itself
// decides must not be set: Ports, Routes, Loopback, Wanted. It comes before WithSpin.
func WithStack(s stack.Config) Option { return func(c *config) { c.stack = s } }

// WithRing sets the options of the packet rings.
func WithRing(o tpacket.Options) Option { return func(c *config) { c.ring = o } }

// WithLink has the devices' links wrapped: wrap is given each and returns what the stack is
// to use in its place.
func WithLink(wrap func(link.Link) (link.Link, error)) Option {
	return func(c *config) { c.wrap = wrap }
}

// WithCapture writes all frames of the devices to a file, as pcapng. WithCaptureMore leaves
// in the file what it holds, and adds a section to it.
func WithCapture(file string) Option { return func(c *config) { c.capture = file } }

// WithCaptureMore is WithCapture that adds to the file.
func WithCaptureMore(file string) Option {
	return func(c *config) { c.capture, c.captureMore = file, true }
}

// WithCPU ties the goroutine that calls Open to its thread, and that to a CPU, as [Pin] does
// for others: it is the one that is to spin. An Open that fails takes that back.
func WithCPU(n int) Option { return func(c *config) { c.cpu = n } }

// WithEvents has f told what happens, one event after the other, by a goroutine of the Host's, until
// that is closed. [Host.Events] is the same by a channel.
func WithEvents(f func(Event)) Option { return func(c *config) { c.events = f } }

// WithLogger has written what happens ([Host.Events]), with the attributes event, device, address,
// mac and error, and, once each, what is less than it might be. Neighbours are at level Debug,
// what is amiss at Warn, what is not to be had at Error.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.log = l } }

// WithFallback gives the kernel's own sockets where the stack cannot be opened, and says
// so: to the logger, and by [Host.Why]. Without it that is an error. Options that do not go
// together, and a ctx that has ended, are errors all the same.
func WithFallback() Option { return func(c *config) { c.fallback = true } }

// WithRequire makes it an error if less than that keeps the kernel from processing what is
// the stack's: claim.TCX, claim.NFT or claim.Holder. It is for the kernel's addresses.
func WithRequire(r claim.Rung) Option { return func(c *config) { c.require = r } }

// WithoutLoopbackRing opens no ring on lo: see shared.Config.NoLo.
func WithoutLoopbackRing() Option { return func(c *config) { c.noLo = true } }

// WithoutLocalMulticast sends multicasts past members of the group on this host that are
// not the stack's: see shared.Config.NoLocalMulticast.
func WithoutLocalMulticast() Option { return func(c *config) { c.noLocalMulticast = true } }
