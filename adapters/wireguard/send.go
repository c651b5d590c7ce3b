package wireguard

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/outband/outband/sockapi"
)

// Limits of a GSO packet.
const (
	maxSegments = 64             // datagrams, UDP_MAX_SEGMENTS until Linux 6.12
	maxPayload  = 65535 - 20 - 8 // bytes of them together
)

// controlRoom is enough for the control messages of a message: IP_PKTINFO and UDP_SEGMENT.
const controlRoom = 32 + 24

// An outgoing is a batch on its way out.
type outgoing struct {
	msgs    []sockapi.Mmsghdr
	control [conn.IdealBatchSize][controlRoom]byte
}

var outgoings = sync.Pool{New: func() any {
	return &outgoing{msgs: make([]sockapi.Mmsghdr, 0, conn.IdealBatchSize)}
}}

// free gives an outgoing back, without the caller's buffers.
func (o *outgoing) free() {
	clear(o.msgs)
	o.msgs = o.msgs[:0]
	outgoings.Put(o)
}

// fill makes messages of datagrams to an endpoint, each run of one length a GSO packet.
func (o *outgoing) fill(bufs [][]byte, e *Endpoint) []sockapi.Mmsghdr {
	to := sockapi.InetAddrPort(e.dst)
	for len(bufs) > 0 {
		n := run(bufs)
		control := e.appendSource(o.control[len(o.msgs)][:0])
		if n > 1 {
			control = appendSegment(control, len(bufs[0]))
		}
		o.msgs = append(o.msgs, sockapi.Mmsghdr{Hdr: sockapi.Msghdr{Name: to, Iov: bufs[:n], Control: control}})
		bufs = bufs[n:]
	}
	return o.msgs
}

// run returns how many datagrams, from the first on, can be one GSO packet: those that are as
// long as the first, and one more that is shorter.
func run(bufs [][]byte) int {
	size, total := len(bufs[0]), 0
	for i, b := range bufs {
		switch {
		case i == maxSegments, len(b) > size, total+len(b) > maxPayload, len(b) == 0:
			return max(i, 1)
		case len(b) < size:
			return i + 1
		}
		total += len(b)
	}
	return len(bufs)
}

// appendSegment appends UDP_SEGMENT (udp(7)).
func appendSegment(control []byte, size int) []byte {
	var data [2]byte
	binary.NativeEndian.PutUint16(data[:], uint16(size))
	return sockapi.AppendCmsg(control, unix.SOL_UDP, unix.UDP_SEGMENT, data[:])
}
