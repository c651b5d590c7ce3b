package holder

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// forge sends a datagram from a port that is held, as a stack would beside the in-band
// socket. By that one it meets the errors of those before.
func forge(t *testing.T, d *Hold, to [4]byte, port uint16, payload string) {
	t.Helper()
	err := unix.ECONNREFUSED
	for end := time.Now().Add(patience); err == unix.ECONNREFUSED && time.Now().Before(end); {
		err = errnoOf(unix.Sendto(d.s.fd, []byte(payload), 0, &unix.SockaddrInet4{Addr: to, Port: int(port)}))
	}
	ok(t, err)
}

// An ICMP error about what was sent from a port comes with all that the kernel knows, whether the
// port is connected or not; datagrams behind it come too, and nothing stays.
func TestError(t *testing.T) {
	for _, connected := range []bool{true, false} {
		l := newLab(t)
		h := newHolders(t, l.near)
		d := hold(t, h, Request{})
		if connected {
			_, e := d.Connect(Peer{Addr: farIP, Port: 7})
			ok(t, e)
		}
		for range 3 {
			forge(t, d, farIP, 7, "nobody is there")
		}
		again := udp(t, l.far, "10.9.0.2:7")
		must(t, again.SendTo([]byte("x"), addrPort(nearIP, d.Port())))
		errors, datagrams := 0, 0
		for _, got := range receive(t, h, 4) {
			if got.payload() == "x" {
				datagrams++
				continue
			}
			errors++
			want := Datagram{Len: 15, Source: farIP, Destination: nearIP, Local: nearIP, Port: d.Port(), Device: l.device, Holder: d.ID(),
				TTL: 64, TOS: 0xc0, Time: got.Time, Error: ICMPError{Type: 3, Code: 3, Peer: farIP, PeerPort: 7}}
			if got.payload() != "nobody is there" || got.String() != want.String() {
				t.Errorf("connected %v: %q, %v; want %v", connected, got.payload(), got, want)
			}
		}
		if errors != 3 || datagrams != 1 {
			t.Errorf("connected %v: %d errors, %d datagrams", connected, errors, datagrams)
		}
		if none(t, h); await(h, 0) {
			t.Error("something has stayed")
		}
	}
}

// An error that came by a device with a ring is the ring's, and is taken away.
func TestErrorByRing(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	must(t, h.SetRings([]int32{l.device}))
	d := hold(t, h, Request{})
	for range 3 * errorsAtOnce {
		// The kernel sends few errors: these are of the queue, whatever came before.
		forge(t, d, farIP, 7, "x")
	}
	if !await(h, patience) {
		t.Fatal("no error has come")
	}
	for i := 0; await(h, 0); i++ {
		if none(t, h); i > 10 {
			t.Fatal("the errors stay")
		}
	}
	must(t, h.SetRings(nil))
	forge(t, d, localhost, 7, "x")
	if got := receive(t, h, 1)[0]; got.Device != 1 || got.Error.Type != 3 || got.Destination != localhost {
		t.Errorf("by lo: %v", got)
	}
}

// The MTU of a path that a router tells comes along.
func TestErrorMTU(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	d := hold(t, h, Request{})
	behind(t, l)
	must(t, unix.SetsockoptInt(d.s.fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO))
	must(t, unix.Sendto(d.s.fd, make([]byte, 1400), 0, &unix.SockaddrInet4{Addr: [4]byte{10, 10, 0, 2}, Port: 7}))
	if got := receive(t, h, 1)[0]; got.Error != (ICMPError{Type: 3, Code: 4, Info: 1000, Peer: [4]byte{10, 10, 0, 2}, PeerPort: 7}) || got.Source != farIP {
		t.Errorf("%v", got)
	}
}

// behind makes a network with an MTU of 1000 bytes behind far, which routes.
func behind(t *testing.T, l *lab) {
	t.Helper()
	third := newSpace(t)
	must(t, l.far.AddVeth(netlab.Veth{Name: "far1", PeerName: "third0", Peer: third, MTU: 1000}))
	must(t, l.far.AddAddress("far1", prefix("10.10.0.1/24")))
	must(t, l.far.SetUp("far1"))
	must(t, third.SetUp("third0"))
	must(t, l.far.SetSysctl("net/ipv4/ip_forward", "1"))
	must(t, l.near.AddRoute(prefix("10.10.0.0/24"), addrPort(farIP, 0).Addr()))
}

// Of a port that others may have too, an error that came by a device with a ring is kept:
// only the kernel knows which of the sockets has sent what it quotes.
func TestErrorOfSharedPort(t *testing.T) {
	l := newLab(t)
	h := newHolders(t, l.near)
	must(t, h.SetRings([]int32{l.device}))
	d := hold(t, h, Request{ReuseAddr: true})
	forge(t, d, farIP, 7, "x")
	if got := receive(t, h, 1)[0]; got.Device != l.device || got.Error.Type != 3 || got.Holder != d.ID() {
		t.Errorf("%v", got)
	}
}
