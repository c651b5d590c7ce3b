package lab

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/inband"
)

// Patience bounds every wait of the lab's sockets: a test that runs into it
// fails. It is far beyond what a healthy run takes.
const Patience = 20 * time.Second

// UDP opens an in-band socket at the end, bound to port of any address (0: an
// ephemeral port). It waits at most [Patience], and closes with the test.
func (e *Endpoint) UDP(t testing.TB, port uint16) *inband.UDP {
	t.Helper()
	return e.BoundUDP(t, netip.AddrPortFrom(netip.IPv4Unspecified(), port))
}

// BoundUDP is UDP for one local address.
func (e *Endpoint) BoundUDP(t testing.TB, local netip.AddrPort) *inband.UDP {
	t.Helper()
	var u *inband.UDP
	e.In(t, func() (err error) {
		u, err = inband.OpenUDP(local)
		return err
	})
	t.Cleanup(func() { u.Close() })
	check(t, u.SetReadTimeout(Patience))
	return u
}

// A Packet is a raw packet socket (packet(7)) on an end's device: it sees every
// frame that arrives there and sends any. It is the test's hand on the wire.
type Packet struct {
	fd int
	at unix.SockaddrLinklayer
}

// Packet opens a packet socket on the end's device. It closes with the test.
func (e *Endpoint) Packet(t testing.TB) *Packet {
	t.Helper()
	device, err := e.Device(e.Name)
	check(t, err)
	p := &Packet{at: unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: device.Index}}
	e.In(t, func() (err error) {
		p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	t.Cleanup(func() { unix.Close(p.fd) })
	check(t, unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	check(t, unix.Bind(p.fd, &p.at))
	return p
}

// Send sends a frame, Ethernet header first.
func (p *Packet) Send(t testing.TB, frame []byte) {
	t.Helper()
	if err := unix.Sendto(p.fd, frame, 0, &p.at); err != nil {
		t.Fatal("packet socket:", err)
	}
}

// Next returns the next frame that arrives within the given time for which keep
// returns true (nil: any), or nil if none does.
func (p *Packet) Next(t testing.TB, within time.Duration, keep func(frame []byte) bool) []byte {
	t.Helper()
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(within); ; {
		left := max(time.Until(end), time.Microsecond) // 0 would be for ever
		tv := unix.NsecToTimeval(left.Nanoseconds())
		check(t, unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
		n, _, err := unix.Recvfrom(p.fd, buf, 0)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR, err == unix.ENETDOWN: // the device was down: it may come back
		case err != nil:
			t.Fatal("packet socket:", err)
		case keep == nil || keep(buf[:n]):
			return append([]byte(nil), buf[:n]...)
		}
		if time.Now().After(end) {
			return nil
		}
	}
}

// Want is Next within [Patience], and fails the test if no such frame arrives.
func (p *Packet) Want(t testing.TB, keep func(frame []byte) bool) []byte {
	t.Helper()
	frame := p.Next(t, Patience, keep)
	if frame == nil {
		t.Fatalf("no such frame within %s", Patience)
	}
	return frame
}

// EtherType returns a keep function for [Packet.Next]: frames of one EtherType.
func EtherType(want ether.Type) func(frame []byte) bool {
	return func(frame []byte) bool {
		h, _, ok := ether.Parse(frame)
		return ok && h.Type() == want
	}
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }
