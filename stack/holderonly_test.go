package stack

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// heldWire returns a wire whose ports a holder holds, by which frames come that bear a number.
func heldWire(t *testing.T) (w *wire, h *fakeHolder, feed func(number uint32, frames ...[]byte)) {
	h = &fakeHolder{t: t}
	w = newWire(t, Config{Ports: h})
	return w, h, func(number uint32, frames ...[]byte) {
		for _, f := range frames {
			w.near.Inject(link.Frame{Data: slices.Clone(f), Meta: link.Meta{Holder: number}})
		}
		w.settle()
	}
}

// numbered binds a socket whose hold has a number.
func (h *fakeHolder) numbered(w *wire, local string, number uint32) *UDPSocket {
	k := udpSocket(w.t, w.s, "")
	k.SetReuse(true, false)
	h.number = number
	check(w.t, k.Bind(netip.MustParseAddrPort(local)))
	return k
}

// A unicast datagram at a port that others may have too is the socket's only if what holds
// the port has brought it, whole or not; groups and broadcasts the socket has of any link.
func TestHolderOnly(t *testing.T) {
	bubbleOf(t, func(t *testing.T) {
		w, h, feed := heldWire(t)
		k := h.numbered(w, "0.0.0.0:9", 7)
		one := udpFrom(5, 9, "one")
		feed(0, one)
		w.got(k, "one")
		h.latest.shared()
		whole := datagram(far4, near4, 5, 9, payload(3000))
		feed(0, one, fragment(1, whole, 0, 1400), fragment(1, whole, 1400, len(whole)))
		w.empty(k)
		feed(7, one)
		w.got(k, "one")
		broadcast := ip(ipv4.Fields{Dst: ipv4.Addr{10, 9, 0, 255}}, datagram(far4, ipv4.Addr{10, 9, 0, 255}, 5, 9, []byte("all")))
		feed(0, broadcast)
		w.got(k, "all")
		w.empty(k)
		check(t, k.Close())
		k = h.numbered(w, "0.0.0.0:9", 8) // held anew, and by nobody else
		feed(0, one)
		w.got(k, "one")
		check(t, k.Connect(netip.MustParseAddrPort("10.9.0.2:5")))
		h.latest.shared()
		check(t, k.Disconnect())
		feed(0, one)
		w.empty(k)
	})
}

// A socket that takes another port, which only it has, has what the links bring.
func TestHolderOnlyAnotherPort(t *testing.T) {
	bubbleOf(t, func(t *testing.T) {
		w, h, feed := heldWire(t)
		k := udpSocket(t, w.s, "")
		check(t, k.Connect(netip.MustParseAddrPort("10.9.0.2:5")))
		h.latest.shared()
		check(t, k.Disconnect()) // gives the port up
		check(t, k.Connect(netip.MustParseAddrPort("10.9.0.2:5")))
		feed(0, udpFrom(5, k.LocalAddr().Port(), "one"))
		w.got(k, "one")
	})
}

// Which of several sockets a datagram is for, who has brought it says.
func TestHolderSaysWhose(t *testing.T) {
	bubbleOf(t, func(t *testing.T) {
		w, h, feed := heldWire(t)
		a, b := h.numbered(w, "0.0.0.0:9", 1), h.numbered(w, "0.0.0.0:9", 2)
		other := h.numbered(w, "0.0.0.0:10", 4)
		one := udpFrom(5, 9, "one")
		for number, want := range map[uint32]*UDPSocket{1: a, 2: b, 3: b} { // the latest bound, if nobody is 3
			feed(number, one)
			w.got(want, "one")
			w.empty(a)
			w.empty(b)
		}
		w.empty(other)
	})
}

// An error about what was sent from a port that others may have too is the socket's only
// if what holds the port has brought it, as of datagrams.
func TestHolderOnlyErrors(t *testing.T) {
	bubbleOf(t, func(t *testing.T) {
		w, h, feed := heldWire(t)
		a, b := h.numbered(w, "0.0.0.0:9", 1), h.numbered(w, "0.0.0.0:9", 2)
		w.resolved()
		for _, k := range []*UDPSocket{a, b} {
			k.Errors().SetRecvErr(true)
			check(t, k.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:5")))
		}
		frames := w.sentIP()
		refused := icmpError(icmp.DestinationUnreachable, icmp.CodePort, 0, frames[0].data[link.HeaderLen:])
		errors := func(k *UDPSocket) bool {
			_, ok := k.Errors().TakeQueued()
			return ok
		}
		feed(1, refused)
		if !errors(a) || errors(b) {
			t.Error("brought by the first: it has no error, or the second one has")
		}
		h.latest.shared()
		feed(0, refused)
		if errors(b) {
			t.Error("brought by a link")
		}
		feed(2, refused)
		if !errors(b) {
			t.Error("brought by the second: no error")
		}
	})
}

// A raw socket hears of a datagram once, though the ring has brought it, and the holder too.
func TestHolderOnlyRaw(t *testing.T) {
	bubbleOf(t, func(t *testing.T) {
		w, h, feed := heldWire(t)
		k := h.numbered(w, "0.0.0.0:9", 7)
		h.latest.shared()
		raw := rawSocketOf(t, w.s, ipv4.ProtocolUDP)
		one := udpFrom(5, 9, "one")
		feed(0, one)
		feed(7, one)
		w.got(k, "one")
		w.empty(k)
		if _, err := try(raw); err != nil {
			t.Errorf("the raw socket has heard nothing: %v", err)
		}
		w.empty(raw)
	})
}
