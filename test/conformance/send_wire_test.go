package conformance

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// A frameReader is a packet socket that reads the datagrams to one port.
type frameReader struct {
	fd   int
	vnet bool
}

// readFrames opens a packet socket at an end, with or without PACKET_VNET_HDR.
func readFrames(t testing.TB, e *lab.Endpoint, vnet bool) *frameReader {
	t.Helper()
	r := &frameReader{vnet: vnet}
	e.In(t, func() (err error) {
		r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	t.Cleanup(func() { unix.Close(r.fd) })
	check(t, unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	check(t, unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	if vnet {
		check(t, unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	}
	device, err := e.Device(e.Name)
	check(t, err)
	check(t, unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: device.Index}))
	return r
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// frame returns the next frame and how many it stands for, nil if none comes in time.
func (r *frameReader) frame(t testing.TB, within time.Duration) ([]byte, int) {
	t.Helper()
	frame, segment := r.read(t, within)
	if segment == 0 {
		return frame, 1
	}
	return frame, (len(frame) - 42 + segment - 1) / segment
}

// read returns the next frame, of a datagram that is not empty, and the size of the datagrams
// that it is to be cut into.
func (r *frameReader) read(t testing.TB, within time.Duration) (frame []byte, segment int) {
	t.Helper()
	buf := make([]byte, 1<<17)
	for end := time.Now().Add(within); ; {
		tv := unix.NsecToTimeval(max(time.Until(end), time.Microsecond).Nanoseconds())
		check(t, unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
		n, _, err := unix.Recvfrom(r.fd, buf, 0)
		if err == unix.EAGAIN {
			return nil, 0
		}
		check(t, err)
		frame, segment = buf[:n], 0
		if r.vnet {
			if frame[1] != 0 { // gso_type
				segment = int(binary.NativeEndian.Uint16(frame[4:]))
			}
			frame = frame[10:]
		}
		if len(frame) > 34 {
			return frame, segment
		}
	}
}
