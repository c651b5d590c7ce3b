package option

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Binding are the options that Bind, Connect and routing look at.
type Binding struct {
	extras      *Extras // says whether the socket is closed
	paths       Paths
	freebind    atomic.Bool // IP_FREEBIND
	transparent atomic.Bool // IP_TRANSPARENT
	noPort      atomic.Bool // IP_BIND_ADDRESS_NO_PORT
	portRange   atomic.Uint32
}

// MakeBinding returns the options of the socket that x is of.
func MakeBinding(x *Extras, paths Paths) Binding { return Binding{extras: x, paths: paths} }

// AnyAddress reports whether the socket may use addresses that are not ours.
func (o *Binding) AnyAddress() bool { return o.freebind.Load() || o.transparent.Load() }

// SetFreeBind lets Bind take an address that is not the stack's, or not yet
// (IP_FREEBIND in ip(7)).
func (o *Binding) SetFreeBind(on bool) { o.freebind.Store(on) }

// FreeBind returns what SetFreeBind set.
func (o *Binding) FreeBind() bool { return o.freebind.Load() }

// SetTransparent lets Bind take, and datagrams leave from, any address
// (IP_TRANSPARENT in ip(7)).
func (o *Binding) SetTransparent(on bool) { o.transparent.Store(on); o.paths.RenewPaths() }

// Transparent returns what SetTransparent set.
func (o *Binding) Transparent() bool { return o.transparent.Load() }

// SetNoPort makes Bind with port 0 take no port yet: Connect or the first send does
// (IP_BIND_ADDRESS_NO_PORT in ip(7)).
func (o *Binding) SetNoPort(on bool) { o.noPort.Store(on) }

// NoPort returns what SetNoPort set.
func (o *Binding) NoPort() bool { return o.noPort.Load() }

// SetPortRange narrows the range that random ports come from
// (IP_LOCAL_PORT_RANGE in ip(7)): the lowest in the low half, the highest in the
// high half, 0 for as ever. EINVAL: the lowest is above the highest.
func (o *Binding) SetPortRange(r uint32) error {
	if o.extras.isClosed() {
		return unix.EBADF
	}
	if lo, hi := uint16(r), uint16(r>>16); lo != 0 && hi != 0 && lo > hi {
		return unix.EINVAL
	}
	o.portRange.Store(r)
	return nil
}

// PortRange returns what SetPortRange set.
func (o *Binding) PortRange() uint32 { return o.portRange.Load() }
