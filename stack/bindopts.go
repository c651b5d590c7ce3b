package stack

import (
	"sync/atomic"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// bindOptions are settings that Bind, Connect and routing look at.
type bindOptions struct {
	freebind    atomic.Bool  // IP_FREEBIND
	transparent atomic.Bool  // IP_TRANSPARENT
	noPort      atomic.Bool  // IP_BIND_ADDRESS_NO_PORT
	unicastIf   atomic.Int32 // IP_UNICAST_IF
	portRange   atomic.Uint32
}

// anyAddress reports whether the socket may use addresses that are not ours.
func (o *bindOptions) anyAddress() bool { return o.freebind.Load() || o.transparent.Load() }

// SetFreeBind lets Bind take an address that is not the stack's, or not yet
// (IP_FREEBIND in ip(7)).
func (k *IPSocket) SetFreeBind(on bool) { k.bindOpts.freebind.Store(on) }

// FreeBind returns what SetFreeBind set.
func (k *IPSocket) FreeBind() bool { return k.bindOpts.freebind.Load() }

// SetTransparent lets Bind take, and datagrams leave from, any address
// (IP_TRANSPARENT in ip(7)).
func (k *IPSocket) SetTransparent(on bool) { k.bindOpts.transparent.Store(on); k.RenewPaths() }

// Transparent returns what SetTransparent set.
func (k *IPSocket) Transparent() bool { return k.bindOpts.transparent.Load() }

// SetBindNoPort makes Bind with port 0 take no port yet: Connect or the first
// send does (IP_BIND_ADDRESS_NO_PORT in ip(7)).
func (k *IPSocket) SetBindNoPort(on bool) { k.bindOpts.noPort.Store(on) }

// BindNoPort returns what SetBindNoPort set.
func (k *IPSocket) BindNoPort() bool { return k.bindOpts.noPort.Load() }

// SetUnicastInterface makes datagrams leave by an interface unless the socket is
// bound to one (IP_UNICAST_IF); 0: any. What goes to the peer of a socket that is
// connected already keeps its way. EADDRNOTAVAIL: no such interface. EINVAL:
// the socket is bound to one, be it the same.
func (k *IPSocket) SetUnicastInterface(index int) error {
	if k.Closed() {
		return unix.EBADF
	}
	if index != 0 {
		if k.s.InterfaceByIndex(index) == nil {
			return unix.EADDRNOTAVAIL
		}
		if k.Device() != 0 {
			return unix.EINVAL
		}
	}
	k.bindOpts.unicastIf.Store(int32(index))
	k.RenewPaths()
	return nil
}

// UnicastInterface returns what SetUnicastInterface set.
func (k *IPSocket) UnicastInterface() int { return int(k.bindOpts.unicastIf.Load()) }

// SetPortRange narrows the range that random ports come from
// (IP_LOCAL_PORT_RANGE in ip(7)): the lowest in the low half, the highest in the
// high half, 0 for as ever. EINVAL: the lowest is above the highest.
func (k *IPSocket) SetPortRange(r uint32) error {
	if k.Closed() {
		return unix.EBADF
	}
	if lo, hi := uint16(r), uint16(r>>16); lo != 0 && hi != 0 && lo > hi {
		return unix.EINVAL
	}
	k.bindOpts.portRange.Store(r)
	return nil
}

// PortRange returns what SetPortRange set.
func (k *IPSocket) PortRange() uint32 { return k.bindOpts.portRange.Load() }

// flowLocked returns what a route from the socket to dst is looked up for, where
// unicastIf is IP_UNICAST_IF's interface: as Linux keeps a peer's route, that of
// when the socket was connected, for what goes to the peer.
func (k *IPSocket) flowLocked(dst ipv4.Addr, unicastIf int32) route.Flow {
	f := route.Flow{Src: k.addr, Dst: dst, Device: k.device, Broadcast: k.broadcast.Load(),
		AnySource: k.bindOpts.transparent.Load()} // IP_FREEBIND is for bind alone
	if k.s.routes.Net().ReceivesOnly(k.addr) {
		f.Src = k.source
	}
	if f.Device == 0 && !dst.IsMulticast() {
		f.Device = unicastIf
	}
	return f
}
