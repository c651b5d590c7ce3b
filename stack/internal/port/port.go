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
// HoldPort holds a port, and returns its number, 0 for the one that was asked for. Only
// if the request says that the port was chosen may it be another. release lets go of it
// later, and is called once, if it is not nil. An errno other than 0 is what bind(2), or
// connect(2), returns then; after EADDRINUSE another port is asked for if the port was
// chosen. No lock is held while HoldPort or release is called; they may take their time,
// and are called by several goroutines at once.
type Holder interface {
	HoldPort(r Request) (port uint16, release func(), e unix.Errno)
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
	Binding udp.Binding[T]
	lo, hi  uint16
	chosen  bool
	release func() // the Holder's; nil: there is nothing to release
}

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
		port, release, e := p.holder.HoldPort(asked)
		if e == 0 && (port == 0 || port == asked.Port || c.chosen && p.move(c, port)) {
			c.release = release
			return 0
		}
		if e == 0 { // it is one that is not to be had here
			call(release)
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

// request returns what the Holder is asked.
func (p *Ports[T]) request(c *Claim[T]) Request {
	p.lock.Lock()
	defer p.lock.Unlock()
	b := &c.Binding
	return Request{Protocol: p.protocol, Addr: b.Local, Port: b.LocalPort, Chosen: c.chosen, Device: b.Device,
		ReuseAddr: b.ReuseAddr, ReusePort: b.ReusePort}
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
	release, c.release = c.release, nil
	return release
}

func call(f func()) {
	if f != nil {
		f()
	}
}
