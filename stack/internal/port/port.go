// Package port owns the local ports of one protocol. Whoever wants one goes through two
// phases: the port is reserved, so that it is nobody else's, though nothing is received
// at it yet; then whoever outside has a say is asked, without any lock; then the port is
// published, or given back.
package port

import (
	"sync"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// A Holder has a say in which ports may be had: an operating system whose address is
// shared holds each for as long as it is in use.
//
// HoldPort holds a port for one socket. Only if the request says that the port was chosen
// may it hold another. It returns nil if it agrees and there is nothing to hold. An errno other than 0 is what bind(2), or connect(2), returns then;
// after EADDRINUSE another port is asked for if the port was chosen. No lock is held while
// HoldPort is called; it may take its time, and is called by several goroutines at once.
type Holder interface {
	HoldPort(r Request) (Hold, unix.Errno)
}

// A Hold is a port that a Holder holds for a socket. Of one Hold no two methods are called
// at once, and none after Release. Only the socket's own lock is held then, and by Release
// none.
type Hold interface {
	// Port returns the port, or 0 for the one that was asked for.
	Port() uint16
	// Number returns what link.Meta.Holder has of frames that came by the hold, 0 for none.
	// Connect, SetDevice and SetReuse may change it.
	Number() uint32
	// Connect takes in that from now on the socket receives from one peer only, by
	// connect(2)'s rules, and returns the local address that it has for that, zero for
	// one that the stack is to choose. Of what it was before, Connect keeps the port.
	Connect(p Peer) (local ipv4.Addr, e unix.Errno)
	// Disconnect takes in that it receives from everybody again, at the address that it
	// was bound to, by all devices.
	Disconnect()
	// SetDevice takes in that it is bound to another device (SO_BINDTODEVICE), 0 for none.
	SetDevice(index int32) unix.Errno
	// NotifyShared has shared called once other sockets than the stack's may have the port
	// too, at once if that is so already: from then on only the holder knows for which socket a
	// unicast datagram is, and those that did not come by the hold are not for this one.
	// shared takes no lock, and may be called until Release. NotifyShared is called once.
	NotifyShared(shared func())
	// SetReuse takes in SO_REUSEADDR and SO_REUSEPORT that were set afterwards.
	SetReuse(addr, port bool)
	// Release gives the port up.
	Release()
}

// A Peer is whom a socket is connected to, and what else the way there depends on.
type Peer struct {
	Addr ipv4.Addr
	Port uint16
	// Device is the index of the only device that will do: SO_BINDTODEVICE's,
	// IP_UNICAST_IF's or IP_MULTICAST_IF's; 0: any.
	Device int32
	// Source is the address to send from, if it is not the one that the socket is bound to:
	// IP_MULTICAST_IF's.
	Source               ipv4.Addr
	TOS                  uint8
	Mark                 uint32
	Broadcast, DontRoute bool // SO_BROADCAST, SO_DONTROUTE
	// MTUDiscover is IP_MTU_DISCOVER, which says what ICMP errors tell of the path.
	MTUDiscover int
}

// A Request is what a Holder is asked for.
type Request struct {
	Protocol uint8     // ipv4.ProtocolUDP, or of a ping socket, whose ident it is, ipv4.ProtocolICMP
	Addr     ipv4.Addr // zero: all addresses
	Port     uint16
	// Chosen says that the caller did not name the port: it was chosen at random, and
	// another one will do.
	Chosen bool
	// Device is SO_BINDTODEVICE's interface, 0 for none.
	Device int32
	// ReuseAddr and ReusePort are SO_REUSEADDR and SO_REUSEPORT.
	ReuseAddr, ReusePort bool
	// FreeBind and Transparent are IP_FREEBIND and IP_TRANSPARENT, with which the address
	// need not be one of the host's.
	FreeBind, Transparent bool
	// Adopt is the descriptor of an in-band socket that holds the address and the port
	// already, to be used in place of one of the Holder's own, if Adopts is set. It stays
	// whose it is.
	Adopt  int
	Adopts bool
	// Low and High are the range out of which a port was chosen (IP_LOCAL_PORT_RANGE); 0
	// leaves that end to the holder.
	Low, High uint16
}

// holdTries is how many ports a Holder is asked for in place of one that was chosen.
const holdTries = 16

// Ports are the ports of a protocol, for sockets of type T. Methods take the lock
// themselves, unless they say that it is held.
type Ports[T any] struct {
	// Table finds the sockets that datagrams are for. It is guarded by the lock.
	Table    *udp.Table[T]
	lock     sync.Locker
	protocol uint8
	holder   Holder
}

// New returns the ports of a protocol in a table that a lock guards. holder may be nil.
func New[T any](table *udp.Table[T], lock sync.Locker, protocol uint8, holder Holder) *Ports[T] {
	return &Ports[T]{table, lock, protocol, holder}
}

// A Claim is what a socket has of a port, or nothing.
type Claim[T any] struct {
	Binding               udp.Binding[T]
	FreeBind, Transparent bool // see Request; set before Reserve, as are
	Adopt                 int  // and
	Adopts                bool // which are for one Agree
	lo, hi                uint16
	chosen                bool
	hold                  Hold // nil: there is none
}

// Hold returns what a Holder holds for the claim, nil if there is nothing.
func (c *Claim[T]) Hold() Hold { return c.hold }

// Reserve reserves an address and a port for a claim that has none; port 0 is one chosen
// at random (RFC 6056) out of the range from lo to hi, as far as that is in the table's
// own; 0 is the table's. The errors are bind(2)'s.
func (p *Ports[T]) Reserve(c *Claim[T], addr ipv4.Addr, port uint16, device int32, lo, hi uint16) unix.Errno {
	p.lock.Lock()
	defer p.lock.Unlock()
	b := &c.Binding
	b.Local, b.LocalPort, b.Device = addr, port, device
	c.lo, c.hi, c.chosen = lo, hi, port == 0
	return p.reserveLocked(c)
}

// reserveLocked enters the binding as it is.
func (p *Ports[T]) reserveLocked(c *Claim[T]) unix.Errno {
	lo, hi := p.Table.PortRange()
	defer p.Table.SetPortRange(lo, hi) // evaluated now: the table's own range
	// As in Linux, what is outside of the table's range does not count.
	if lo <= c.lo && c.lo <= hi {
		lo = c.lo
	}
	if lo <= c.hi && c.hi <= hi {
		hi = c.hi
	}
	p.Table.SetPortRange(lo, hi)
	e := p.Table.Reserve(&c.Binding)
	if e != 0 {
		c.Binding.LocalPort = 0
	}
	return e
}

// Asks reports whether anybody outside has a say: then Agree is to be called.
func (p *Ports[T]) Asks() bool { return p.holder != nil }

// Agree asks the Holder for a port that is reserved. It may take long: the caller holds
// no lock. If it does not agree, the reservation is given back, and the errno says why.
func (p *Ports[T]) Agree(c *Claim[T]) unix.Errno {
	b := &c.Binding
	for try := 1; ; try++ {
		asked := p.request(c)
		hold, e := p.holder.HoldPort(asked)
		if e == 0 && p.fits(c, hold, asked.Port) {
			c.hold = hold
			return 0
		}
		if e == 0 { // it is one that is not to be had here
			hold.Release()
			e = unix.EADDRINUSE
		}
		p.lock.Lock()
		p.Table.Unbind(b)
		b.LocalPort = 0
		again := c.chosen && e == unix.EADDRINUSE && try < holdTries
		if again {
			e = p.reserveLocked(c)
		}
		p.lock.Unlock()
		if !again || e != 0 {
			return e
		}
	}
}

// fits reports whether the claim can have the port that is held.
func (p *Ports[T]) fits(c *Claim[T], hold Hold, asked uint16) bool {
	if hold == nil {
		return true
	}
	port := hold.Port()
	return port == 0 || port == asked || c.chosen && p.move(c, port)
}

// request returns what the Holder is asked.
func (p *Ports[T]) request(c *Claim[T]) Request {
	p.lock.Lock()
	defer p.lock.Unlock()
	b := &c.Binding
	return Request{Protocol: p.protocol, Addr: b.Local, Port: b.LocalPort, Chosen: c.chosen, Device: b.Device,
		ReuseAddr: b.ReuseAddr, ReusePort: b.ReusePort, FreeBind: c.FreeBind, Transparent: c.Transparent,
		Adopt: c.Adopt, Adopts: c.Adopts, Low: c.lo, High: c.hi}
}

// move reserves another port in place of the one that is reserved.
func (p *Ports[T]) move(c *Claim[T], port uint16) bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.Table.Unbind(&c.Binding)
	c.Binding.LocalPort = port
	return p.reserveLocked(c) == 0
}

// Publish has datagrams come for a port that is reserved, by a device, which may have
// changed meanwhile. then is called with the lock held.
func (p *Ports[T]) Publish(c *Claim[T], device int32, then func()) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.Table.Publish(&c.Binding)
	if c.Binding.Device != device {
		p.Table.Rebind(&c.Binding, device)
	}
	then()
}

// GiveBack gives up a port, reserved or published, and lets the Holder know. The caller
// holds no lock. A claim that has none is left alone.
func (p *Ports[T]) GiveBack(c *Claim[T]) {
	p.lock.Lock()
	release := p.GiveBackLocked(c)
	p.lock.Unlock()
	call(release)
}

// GiveBackLocked is GiveBack for who holds the lock, and is to call what it returns,
// unless that is nil, once no lock is held.
func (p *Ports[T]) GiveBackLocked(c *Claim[T]) (release func()) {
	p.Table.Unbind(&c.Binding)
	c.Binding.LocalPort = 0
	hold := c.hold
	if c.hold = nil; hold == nil {
		return nil
	}
	return hold.Release
}

func call(f func()) {
	if f != nil {
		f()
	}
}
