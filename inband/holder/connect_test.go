package holder

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// sendRaw sends a datagram without an allocation.
func sendRaw(t *testing.T, u *inband.UDP, to *unix.RawSockaddrInet4) {
	_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(u.FD()), 0, 0, 0, uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrInet4)
	if e != 0 {
		t.Error(e)
	}
}

// Connected, a port is the peer's only, and the kernel chooses the local address.
// Disconnected it is everybody's again, whether the port was asked for or chosen.
func TestConnect(t *testing.T) {
	for _, port := range []uint16{0, 4000} {
		l := newLab(t)
		h := newHolders(t, l.near)
		d := hold(t, h, Request{Port: port})
		had := d.Port()
		peer, other := udp(t, l.far, "10.9.0.2:7"), udp(t, l.far, "10.9.0.2:8")
		local, e := d.Connect(Peer{Addr: farIP, Port: 7})
		if ok(t, e); local != nearIP {
			t.Errorf("local address %v", local)
		}
		must(t, other.SendTo([]byte("other"), addrPort(nearIP, had)))
		must(t, peer.SendTo([]byte("peer"), addrPort(nearIP, had)))
		if got := receive(t, h, 1)[0]; got.payload() != "peer" {
			t.Errorf("%q came to the connected port", got.payload())
		}
		if local, e = d.Connect(Peer{Addr: localhost, Port: 7}); e != 0 || local != nearIP {
			t.Errorf("connected again: %v, %v", local, e) // the address stays, as in-band
		}
		ok(t, d.Disconnect())
		if d.Port() != had {
			t.Errorf("port %d has become %d", had, d.Port())
		}
		if _, _, e := plain(l.near)(Request{Port: had}, false); e != unix.EADDRINUSE {
			t.Errorf("after Disconnect the port may be had: %v", e)
		}
		must(t, other.SendTo([]byte("other"), addrPort(nearIP, had)))
		receive(t, h, 1)
		send(t, l.near, had, localhost)
		receive(t, h, 1)
		none(t, h)
	}
}

// The kernel lets go of a port that it chose when the socket is disconnected; if another
// socket takes it first, the Hold says so.
func TestDisconnectLosesPort(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	d := hold(t, h, Request{ReusePort: true})
	_, e := d.Connect(Peer{Addr: localhost, Port: 7})
	ok(t, e)
	_, release, e := plain(n)(Request{Local: localhost, Port: d.Port(), ReusePort: true}, false)
	ok(t, e)
	defer release()
	ok(t, d.SetReuse(false, false))
	if e := d.Disconnect(); e != unix.EADDRINUSE || d.Port() != 0 {
		t.Errorf("%v, port %d", e, d.Port())
	}
}

// What connect(2) refuses is refused, by the options that have a say in it, and the
// socket goes on as it was.
func TestConnectRefused(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	d := hold(t, h, Request{})
	far := udp(t, l.far, "0.0.0.0:0")
	broadcast := Peer{Addr: [4]byte{10, 9, 0, 255}, Port: 7}
	for _, tt := range []struct {
		p    Peer
		want unix.Errno
	}{
		{Peer{Addr: [4]byte{192, 0, 2, 1}, Port: 7}, unix.ENETUNREACH},
		{broadcast, unix.EACCES},
		{Peer{Addr: [4]byte{233, 252, 0, 7}, Port: 7, MulticastDevice: 99}, unix.EADDRNOTAVAIL},
	} {
		if _, e := d.Connect(tt.p); e != tt.want {
			t.Errorf("%+v: %v, want %v", tt.p, e, tt.want)
		}
		must(t, far.SendTo([]byte("x"), addrPort(nearIP, d.Port())))
		receive(t, h, 1)
	}
	broadcast.Broadcast = true
	_, e := d.Connect(broadcast)
	ok(t, e)
	if _, e = d.Connect(Peer{Addr: broadcast.Addr, Port: 7}); e != unix.EACCES {
		t.Errorf("SO_BROADCAST has stayed: %v", e)
	}
	ok(t, d.Disconnect())
	if _, e = d.Connect(Peer{Addr: [4]byte{233, 252, 0, 7}, Port: 7, MulticastDevice: 1, MulticastLocal: nearIP}); e != 0 {
		t.Errorf("a group by another device: %v", e)
	}
	ok(t, d.Disconnect())
	if local, e := d.Connect(Peer{Addr: [4]byte{233, 252, 0, 7}, Port: 7, UnicastDevice: 1, TOS: 0x10, Mark: 9}); e != 0 || local != nearIP {
		t.Errorf("a group: %v, %v", local, e)
	}
}

// Holds with SO_REUSEPORT share a socket, until all are closed; one that connects, or
// changes what it is bound to, has its own.
func TestShared(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	r := Request{Local: localhost, Port: 4000, ReusePort: true}
	a, b, c := hold(t, h, r), hold(t, h, r), hold(t, h, r)
	if a.ID() != b.ID() || a.ID() != c.ID() {
		t.Errorf("%d, %d and %d do not share", a.ID(), b.ID(), c.ID())
	}
	different := r
	different.ReuseAddr = true
	if e := hold(t, h, different); e.ID() == a.ID() {
		t.Error("one with another option shares")
	}
	chosen := r
	chosen.Port = 0
	p, q := hold(t, h, chosen), hold(t, h, chosen)
	if p.Port() == q.Port() || p.ID() == q.ID() {
		t.Error("two ports that the kernel chooses are one")
	}
	chosen.Port = p.Port()
	if hold(t, h, chosen).ID() != p.ID() {
		t.Error("the chosen port is not shared")
	}
	peer := udp(t, n, "127.0.0.1:7")
	_, e := b.Connect(Peer{Addr: localhost, Port: 7})
	ok(t, e)
	if b.ID() == a.ID() || c.ID() != a.ID() {
		t.Error("the connected one shares, or another one does not")
	}
	must(t, peer.SendTo([]byte("x"), addrPort(localhost, 4000)))
	if got := receive(t, h, 1)[0]; got.Holder != b.ID() {
		t.Error("the peer's datagram did not come to the connected one")
	}
	a.Close()
	if _, _, e := plain(n)(Request{Local: localhost, Port: 4000}, false); e != unix.EADDRINUSE {
		t.Errorf("with one of them closed: %v", e)
	}
	_, e = c.Connect(Peer{Addr: localhost, Port: 8}) // the last one's own by now
	ok(t, e)
	if d := hold(t, h, r); d.ID() == c.ID() {
		t.Error("a new one shares a connected socket")
	}
}

// Others may bind the port by what SetReuse says.
func TestSetReuse(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	d := hold(t, h, Request{Port: 4000})
	try := func(want unix.Errno) {
		t.Helper()
		_, release, e := plain(n)(Request{Port: 4000, ReuseAddr: true}, false)
		if e != want {
			t.Errorf("%v, want %v", e, want)
		}
		if e == 0 {
			release()
		}
	}
	try(unix.EADDRINUSE)
	ok(t, d.SetReuse(true, false))
	try(0)
	ok(t, d.SetReuse(false, true))
	try(unix.EADDRINUSE)
}
