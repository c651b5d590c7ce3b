package holder

import "golang.org/x/sys/unix"

// A Hold is one port, held for one of the stack's sockets.
type Hold struct {
	h *Holders
	s *socket // guarded by h.mu; nil after Close
}

// Port returns the port that is held, 0 after Close.
func (d *Hold) Port() uint16 {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.s == nil {
		return 0
	}
	return d.s.port
}

// ID returns the number of the in-band socket, which Datagram.Holder is; 0 after Close. Holds
// that share a socket have the same one, and Connect, SetDevice and SetReuse may
// change it.
func (d *Hold) ID() uint32 {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.s == nil {
		return 0
	}
	return d.s.id
}

// FD returns the descriptor of the in-band socket, which stays the Hold's, -1 after Close.
// Connect, SetDevice and SetReuse may change it.
func (d *Hold) FD() int {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.s == nil {
		return -1
	}
	return d.s.fd
}

// A Peer is whom Connect connects to, and what of the socket's options has a say in the
// route there: those of ip(7) and socket(7) of the name that is given.
type Peer struct {
	Addr [4]byte
	Port uint16

	Broadcast   bool   // SO_BROADCAST
	DontRoute   bool   // SO_DONTROUTE
	TOS         uint8  // IP_TOS
	Mark        uint32 // SO_MARK, which asks for CAP_NET_RAW or CAP_NET_ADMIN
	MTUDiscover int    // IP_MTU_DISCOVER, by which the kernel learns the path's MTU or does not
	// UnicastDevice is IP_UNICAST_IF, MulticastDevice and MulticastLocal are
	// IP_MULTICAST_IF; 0: none.
	UnicastDevice, MulticastDevice int32
	MulticastLocal                 [4]byte
}

// Connect has the in-band socket connected (connect(2)), so that the kernel gives it the
// peer's datagrams only, and chooses the local address, which Connect returns. The errno
// is connect(2)'s: ENETUNREACH, EACCES (a broadcast), ...; the socket is then as before.
// Connected again it has another peer.
func (d *Hold) Connect(p Peer) (local [4]byte, e unix.Errno) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if e := d.aloneLocked(); e != 0 {
		return local, e
	}
	if err := d.s.setRoute(p); err != nil {
		return local, errnoOf(err)
	}
	if err := unix.Connect(d.s.fd, &unix.SockaddrInet4{Addr: p.Addr, Port: int(p.Port)}); err != nil {
		return local, errnoOf(err)
	}
	name, err := nameOf(d.s.fd)
	if err != nil {
		return local, errnoOf(err)
	}
	return name.Addr, 0
}

// setRoute sets the options of a peer that are not set yet.
func (s *socket) setRoute(p Peer) error {
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	was := &s.route
	for _, o := range [...]struct {
		level, name, value int
		set                bool
	}{
		{unix.SOL_SOCKET, unix.SO_BROADCAST, flag(p.Broadcast), p.Broadcast != was.Broadcast},
		{unix.SOL_SOCKET, unix.SO_DONTROUTE, flag(p.DontRoute), p.DontRoute != was.DontRoute},
		{unix.SOL_IP, unix.IP_TOS, int(p.TOS), p.TOS != was.TOS},
		{unix.SOL_IP, unix.IP_MTU_DISCOVER, p.MTUDiscover, p.MTUDiscover != was.MTUDiscover},
		{unix.SOL_SOCKET, unix.SO_MARK, int(int32(p.Mark)), p.Mark != was.Mark},
		{unix.SOL_IP, unix.IP_UNICAST_IF, int(bigEndian(p.UnicastDevice)), p.UnicastDevice != was.UnicastDevice},
	} {
		if !o.set {
			continue
		}
		if err := unix.SetsockoptInt(s.fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	if p.MulticastDevice != was.MulticastDevice || p.MulticastLocal != was.MulticastLocal {
		m := &unix.IPMreqn{Address: p.MulticastLocal, Ifindex: p.MulticastDevice}
		if err := unix.SetsockoptIPMreqn(s.fd, unix.SOL_IP, unix.IP_MULTICAST_IF, m); err != nil {
			return err
		}
	}
	s.route = p
	return nil
}

// Disconnect undoes Connect (connect(2) with AF_UNSPEC): the socket is bound as it was, but
// to no device.
// The kernel keeps a port that was asked for, and lets go of one that it chose: that one
// is bound again. EADDRINUSE: somebody else was faster, and the Hold holds nothing.
func (d *Hold) Disconnect() unix.Errno {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if e := d.aloneLocked(); e != 0 {
		return e
	}
	unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	if e := connectRaw(d.s.fd, &unspec); e != 0 {
		return e
	}
	now, err := portOf(d.s.fd)
	if err == nil && now != d.s.port {
		err = unix.Bind(d.s.fd, &unix.SockaddrInet4{Addr: d.s.asked.Local, Port: int(d.s.port)})
		if err != nil {
			d.h.rx.setPort(d.s, 0)
		}
	}
	return errnoOf(err)
}

// SetDevice binds the in-band socket to a device, by its index, or to none with 0
// (SO_BINDTODEVICE). EPERM: it is bound to one, and CAP_NET_RAW is missing.
func (d *Hold) SetDevice(index int32) unix.Errno {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if e := d.aloneLocked(); e != 0 {
		return e
	}
	return errnoOf(unix.SetsockoptInt(d.s.fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(index)))
}

// SetReuse changes SO_REUSEADDR and SO_REUSEPORT, on which it depends whether others
// can bind the port from now on.
func (d *Hold) SetReuse(addr, port bool) unix.Errno {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.s != nil && d.s.asked.ReuseAddr == addr && d.s.asked.ReusePort == port {
		return 0
	}
	if e := d.aloneLocked(); e != 0 {
		return e
	}
	for _, o := range [...]struct {
		name int
		on   bool
	}{{unix.SO_REUSEADDR, addr}, {unix.SO_REUSEPORT, port}} {
		value := 0
		if o.on {
			value = 1
		}
		if err := unix.SetsockoptInt(d.s.fd, unix.SOL_SOCKET, o.name, value); err != nil {
			return errnoOf(err)
		}
	}
	d.s.asked.ReuseAddr, d.s.asked.ReusePort = addr, port
	if addr || port {
		return d.h.shareLocked(d.s)
	}
	return 0
}

// Share takes in that others may have the port too, from now on: see the package comment. A
// Hold whose request has ReuseAddr or ReusePort, or to which SetReuse gives one of them, is so
// by itself.
func (d *Hold) Share() unix.Errno {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.s == nil || d.h.closed {
		return unix.EBADF
	}
	return d.h.shareLocked(d.s)
}

// shareLocked is Share.
func (h *Holders) shareLocked(s *socket) unix.Errno {
	if s.shared {
		return 0
	}
	h.rx.share(s)
	return errnoOf(attach(s.fd, h.filterLocked(s)))
}

// aloneLocked makes the socket the Hold's own, for good: a shared one is left to the others, and
// another one bound beside it, which SO_REUSEPORT permits.
func (d *Hold) aloneLocked() unix.Errno {
	switch {
	case d.s == nil || d.h.closed:
		return unix.EBADF
	case d.s.holds == 1:
		d.h.keepOffLocked(d.s)
		return 0
	}
	own, e := d.h.openLocked(d.s.key(), d.s.shared)
	if e != 0 {
		return e
	}
	own.alone = true
	d.s.holds--
	d.s = own
	return 0
}

// Close frees the port, unless other Holds share it. Another Close does nothing.
func (d *Hold) Close() {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	s := d.s
	d.s = nil
	if s == nil || d.h.closed {
		return
	}
	if s.holds--; s.holds > 0 {
		return
	}
	d.h.keepOffLocked(s)
	d.h.rx.remove(s)
	unix.Close(s.fd)
}
