package device

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

// A row is one kind of socket, in one way of using it.
type row struct {
	name string
	// open opens the cell's socket, k, and its peer.
	open func(c *cell)
	// send sends b.
	send func(c *cell, s *sockapi.Socket, b []byte) (int, error)
	// answer has the peer send cell.answer.
	answer func(c *cell, p phase)
	// connects is where it is connected to, nil if it is not.
	connects func(c *cell) sockapi.Sockaddr
	// calls are the row's own, in place of cell.use.
	calls func(c *cell, p phase)

	size               int  // of what is sent, in bytes, if not that of the label
	offset, peerOffset int  // where the label begins in what is received
	quiet              bool // the peer has no socket of its own, or answers by itself
}

// A change makes another row of one.
type change func(r *row)

// with returns a row, with further options of its socket, as another one.
func (r row) with(name string, changes ...change) row {
	r.name += ", " + name
	for _, f := range changes {
		f(&r)
	}
	return r
}

// option has something done to the socket once it is open.
func option(set func(c *cell)) change {
	return func(r *row) {
		open := r.open
		r.open = func(c *cell) { open(c); set(c) }
	}
}

// onDevice binds the socket to the device.
var onDevice = option(func(c *cell) { c.k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(c.h.near.Name)) })

// boundTo binds another socket in place of the first.
func boundTo(to func(c *cell) sockapi.Sockaddr) change {
	return option(func(c *cell) {
		c.k.Close()
		c.k = c.UDP("k")
		c.k.Bind(to(c))
	})
}

func set(level, name, v int) change { return option(func(c *cell) { c.k.Set(level, name, v) }) }

// connected connects the socket to the peer, or to another address of it.
func connected(to func(c *cell) sockapi.Sockaddr) change {
	return func(r *row) {
		option(func(c *cell) { c.k.Connect(to(c)) })(r)
		r.connects = to
		r.send = func(_ *cell, s *sockapi.Socket, b []byte) (int, error) { return s.Send(b, 0) }
	}
}

// sendsTo has the socket send elsewhere.
func sendsTo(to func(c *cell) sockapi.Sockaddr) change {
	return func(r *row) {
		r.send = func(c *cell, s *sockapi.Socket, b []byte) (int, error) { return s.Sendto(b, 0, to(c)) }
	}
}

func (c *cell) farAddr() sockapi.Sockaddr { return c.far() }
func (c *cell) beyond() sockapi.Sockaddr  { return sockapi.Inet4(beyondAddr, c.port()) }
func (c *cell) itself() sockapi.Sockaddr  { return c.near() }
func (c *cell) zero() sockapi.Sockaddr    { return sockapi.Inet4([4]byte{}, c.port()) }
func (c *cell) subnet() sockapi.Sockaddr  { return sockapi.Inet4([4]byte{10, 9, 0, 255}, c.port()) }
func (c *cell) everybody() sockapi.Sockaddr {
	return sockapi.Inet4([4]byte{255, 255, 255, 255}, c.port())
}
func (c *cell) toGroup() sockapi.Sockaddr { return sockapi.Inet4(c.group(), c.port()) }

// byPeer is what a peer's socket of the same kind sends.
func byPeer(to func(c *cell) sockapi.Sockaddr) func(c *cell, p phase) {
	return func(c *cell, p phase) {
		c.peer.Do("sendto", func(s *sockapi.Socket) string { return count(s.Sendto(c.answer(p), 0, to(c))) })
	}
}

// byItself is for sockets that hear what they send, or whose peer answers unasked.
func byItself(*cell, phase) {}

var udp = row{name: "UDP",
	open: func(c *cell) {
		c.peer, c.k = c.FarUDP("peer"), c.UDP("k")
		c.peer.Bind(c.zero())
		c.k.Bind(c.zero())
	},
	send:   func(c *cell, s *sockapi.Socket, b []byte) (int, error) { return s.Sendto(b, 0, c.far()) },
	answer: byPeer((*cell).itself),
}

var ping = row{name: "ping", quiet: true, offset: 8,
	open: func(c *cell) { c.k = c.Ping("k"); c.k.Bind(c.zero()) },
	send: func(c *cell, s *sockapi.Socket, b []byte) (int, error) {
		return s.Sendto(echo(b), 0, c.Far(0))
	},
	answer: byItself,
}

// echo returns an echo request without checksum and ident, which the socket fills in.
func echo(b []byte) []byte { return slices.Concat([]byte{8, 0, 0, 0, 0, 0, 0, 1}, b) }

var raw = row{name: "raw", offset: 20, peerOffset: 20,
	open: func(c *cell) {
		c.peer = c.Open("peer", oracle.Far, unix.AF_INET, unix.SOCK_RAW, c.protocol())
		c.k = c.Open("k", oracle.Near, unix.AF_INET, unix.SOCK_RAW, c.protocol())
	},
	send:   func(c *cell, s *sockapi.Socket, b []byte) (int, error) { return s.Sendto(b, 0, c.Far(0)) },
	answer: byPeer(func(c *cell) sockapi.Sockaddr { return c.Near(0) }),
}

// member is in a group, by the index of the device, and sends to it.
var member = udp.with("in a group", joins)

func joins(r *row) {
	r.answer = byPeer((*cell).toGroup)
	r.calls = func(c *cell, p phase) { c.peerJoins(); c.use(p) }
	sendsTo((*cell).toGroup)(r)
	option(func(c *cell) {
		c.k.SetBytes(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, oracle.Mreqn(c.group(), [4]byte{}, c.h.index))
		c.k.SetBytes(unix.IPPROTO_IP, unix.IP_MULTICAST_IF, oracle.Mreqn([4]byte{}, [4]byte{}, c.h.index))
		c.k.Set(unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0)
		c.peer.Set(unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0)
	})(r)
}

// leavesAndJoins leaves the group before a phase's calls, and joins it again if it can.
func leavesAndJoins(c *cell, p phase) {
	mreq := oracle.Mreqn(c.group(), [4]byte{}, c.h.index)
	if p.name == "during" {
		c.k.SetBytes(unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq)
		c.k.SetBytes(unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq)
	} else {
		c.k.Do("leave", func(s *sockapi.Socket) string {
			_ = s.Setsockopt(unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq) // it may have left
			return ""
		})
	}
	c.k.SetBytes(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq)
	c.peerJoins()
	c.use(p)
}

// peerJoins has the peer in the group, whatever happened to its own device.
func (c *cell) peerJoins() {
	c.peer.Do("join", func(s *sockapi.Socket) string {
		mreq := oracle.Mreqn(c.group(), c.h.far.Addr.As4(), 0)
		_ = s.Setsockopt(unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq) // it may be left
		_ = s.Setsockopt(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq)
		_ = s.Setsockopt(unix.IPPROTO_IP, unix.IP_MULTICAST_IF, mreq)
		return ""
	})
}

// rows are all kinds.
func rows() []row {
	pktinfo := func(c *cell, s *sockapi.Socket, b []byte) (int, error) {
		control := oracle.Cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, append(oracle.Int(c.h.index), make([]byte, 8)...))
		return s.Sendmsg(&sockapi.Msghdr{Name: c.far(), Iov: [][]byte{b}, Control: control}, 0)
	}
	self := func(r *row) { r.answer, r.quiet = byItself, true }
	pingTo := func(c *cell) sockapi.Sockaddr { return c.Far(0) }
	sendsEcho := func(r *row) {
		r.send = func(_ *cell, s *sockapi.Socket, b []byte) (int, error) { return s.Send(echo(b), 0) }
	}
	return slices.Concat([]row{
		udp,
		udp.with("bound to the device", onDevice),
		udp.with("bound to its address", boundTo((*cell).near)),
		udp.with("connected", connected((*cell).farAddr)),
		udp.with("connected, bound to the device", onDevice, connected((*cell).farAddr)),
		udp.with("connected, IP_RECVERR", connected((*cell).farAddr), set(unix.IPPROTO_IP, unix.IP_RECVERR, 1)),
		udp.with("IP_UNICAST_IF", option(func(c *cell) {
			c.k.SetBytes(unix.IPPROTO_IP, unix.IP_UNICAST_IF, []byte{0, 0, 0, byte(c.h.index)})
		})),
		udp.with("IP_PKTINFO with the device", func(r *row) { r.send = pktinfo }),
		udp.with("by a gateway", sendsTo((*cell).beyond)),
		udp.with("connected, by a gateway", connected((*cell).beyond), option(func(c *cell) {
			c.peer.Close() // it is to answer from there
			c.peer = c.FarUDP("peer")
			c.peer.Bind(c.beyond())
		})),
		udp.with("large, IP_PMTUDISC_DO", func(r *row) { r.size = 1400 },
			set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)),
		udp.with("large, connected, IP_PMTUDISC_DO", func(r *row) { r.size = 1400 }, connected((*cell).farAddr),
			set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)),
		udp.with("large", func(r *row) { r.size = 1400 }),
		udp.with("to the broadcast address", set(unix.SOL_SOCKET, unix.SO_BROADCAST, 1), sendsTo((*cell).subnet)),
		udp.with("to everybody, bound to the device", onDevice, set(unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
			sendsTo((*cell).everybody)),
		udp.with("to itself", sendsTo((*cell).itself), self),
		udp.with("to itself, bound to the device", onDevice, sendsTo((*cell).itself), self),
		udp.with("to 0.0.0.0, bound to the device", onDevice, sendsTo((*cell).zero), self),
		member,
		member.with("bound to the device", onDevice),
		udp.with("leaves its group meanwhile", joins, func(r *row) { r.calls = leavesAndJoins }),
		udp.with("bound to a group", boundTo((*cell).toGroup), joins),
		ping,
		ping.with("bound to the device", onDevice),
		ping.with("connected", connected(pingTo), sendsEcho),
		raw,
		raw.with("bound to the device", onDevice),
		raw.with("connected", connected(pingTo)),
	}, packetRows(), otherRows())
}
