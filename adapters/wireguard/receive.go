package wireguard

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/outband/outband/sockapi"
)

// A receiver is what one receive function has: wireguard-go calls each on one goroutine.
type receiver struct {
	s       *sockapi.Socket
	msgs    [conn.IdealBatchSize]sockapi.Mmsghdr
	control [conn.IdealBatchSize][controlRoom]byte
}

func newReceiver(s *sockapi.Socket) *receiver { return &receiver{s: s} }

// receiveIPv4 is a conn.ReceiveFunc, whose name wireguard-go logs. It waits for one datagram, and
// takes those that are there with it. Datagrams of a batch that come from one peer, one after the
// other, have one endpoint.
func (r *receiver) receiveIPv4(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	msgs := r.msgs[:min(len(packets), len(r.msgs))]
	for i := range msgs {
		msgs[i].Hdr.Iov, msgs[i].Hdr.Control = packets[i:i+1], r.control[i][:]
	}
	defer r.forget(msgs)
	n, err := r.s.Recvmmsg(msgs, unix.MSG_WAITFORONE, -1)
	if err != nil {
		return 0, closedOr(err)
	}
	var e *Endpoint
	for i := range msgs[:n] {
		h := &msgs[i].Hdr
		src, ifindex := source(h.Control[:h.ControlLen])
		from := h.Name.AddrPort()
		if e == nil || e.dst != from || e.src != src || e.ifindex != ifindex {
			e = &Endpoint{dst: from, src: src, ifindex: ifindex}
		}
		sizes[i], eps[i] = msgs[i].Len, e
	}
	return n, nil
}

// forget lets go of the caller's buffers.
func (r *receiver) forget(msgs []sockapi.Mmsghdr) {
	for i := range msgs {
		msgs[i].Hdr.Iov = nil
	}
}

// source returns what IP_PKTINFO says of where a datagram came to: the address to answer from,
// and the interface.
func source(control []byte) (addr netip.Addr, ifindex int) {
	for {
		c, rest, ok := sockapi.NextCmsg(control)
		if !ok {
			return addr, ifindex
		}
		if c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(c.Data) == unix.SizeofInet4Pktinfo {
			ifindex = int(int32(binary.NativeEndian.Uint32(c.Data)))
			addr = netip.AddrFrom4([4]byte(c.Data[4:8]))
		}
		control = rest
	}
}
