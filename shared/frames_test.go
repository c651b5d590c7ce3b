package shared

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// A datagram is a UDP datagram that the far end sends in pieces of the test's choice.
type datagram struct {
	src, dst netip.AddrPort
	id       uint16
	payload  []byte
}

// udp returns the datagram without its IP header.
func (d *datagram) udp() []byte {
	b := binary.BigEndian.AppendUint16(nil, d.src.Port())
	b = binary.BigEndian.AppendUint16(b, d.dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(d.payload)))
	return append(append(b, 0, 0), d.payload...)
}

// A piece is what of a datagram is in one frame: bytes of it from one on to before another,
// the first one a multiple of 8, and so the second unless it is the end.
type piece struct{ from, to int }

// frame returns a piece of the datagram as it crosses the wire from far to near.
func (d *datagram) frame(l *lab.Lab, p piece) []byte {
	data := d.udp()
	b := append(append(append([]byte{}, l.Near().MAC[:]...), l.Far().MAC[:]...), 8, 0)
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(h[2:], uint16(20+p.to-p.from))
	binary.BigEndian.PutUint16(h[4:], d.id)
	field := uint16(p.from / 8)
	if p.to < len(data) {
		field |= 0x2000 // more fragments
	}
	binary.BigEndian.PutUint16(h[6:], field)
	src, dst := d.src.Addr().As4(), d.dst.Addr().As4()
	copy(h[12:], src[:])
	copy(h[16:], dst[:])
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(append(b, h...), data[p.from:p.to]...)
}

// whole returns the datagram as one frame.
func (d *datagram) whole(l *lab.Lab) []byte { return d.frame(l, piece{0, len(d.udp())}) }

// sum is the Internet checksum of a header (RFC 1071).
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// onOneProcessor runs the test on one processor: what is sent there arrives in order, since
// each processor has a queue of its own for what comes by veth devices.
func onOneProcessor(t *testing.T) {
	runtime.LockOSThread()
	var was, one unix.CPUSet
	check(t, unix.SchedGetaffinity(0, &was))
	for cpu := range len(was) * 64 {
		if was.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	check(t, unix.SchedSetaffinity(0, &one))
	t.Cleanup(func() {
		unix.SchedSetaffinity(0, &was)
		runtime.UnlockOSThread()
	})
}
