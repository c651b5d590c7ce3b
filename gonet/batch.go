package gonet

import (
	"net"
	"sync"

	"github.com/outband/outband/sockapi"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// ReadBatch receives as many datagrams as are there, up to len(ms), and waits for the first
// only. It stores what came as ipv4.PacketConn.ReadBatch does: Addr is new for each. Flags are
// those of recvmsg(2).
func (c *UDPConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	return c.readBatch(ms, flags, udpSource)
}

// WriteBatch sends datagrams, with as few system calls as the link can, and returns how many;
// the error is nil if any was. Addr is a *net.UDPAddr, or nil for the peer. See
// ipv4.PacketConn.WriteBatch.
func (c *UDPConn) WriteBatch(ms []ipv4.Message, flags int) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	return c.writeBatch(ms, flags)
}

// A batch is messages as the socket takes them, reused from call to call.
type batch struct{ msgs []sockapi.Mmsghdr }

var batches = sync.Pool{New: func() any { return new(batch) }}

// maxBatch is how many messages one call takes (UIO_MAXIOV), as recvmmsg(2) and sendmmsg(2).
const maxBatch = 1024

// newBatch returns n messages.
func newBatch(n int) *batch {
	b := batches.Get().(*batch)
	if cap(b.msgs) < n {
		b.msgs = make([]sockapi.Mmsghdr, n)
	}
	b.msgs = b.msgs[:n]
	return b
}

// free gives a batch back, without the caller's buffers.
func (b *batch) free() {
	clear(b.msgs)
	batches.Put(b)
}

// readBatch is ReadBatch, with addr to make addresses.
func (c *conn) readBatch(ms []ipv4.Message, flags int, addr func(from *sockapi.Sockaddr) net.Addr) (int, error) {
	ms = ms[:min(len(ms), maxBatch)]
	if len(ms) == 0 {
		return 0, nil
	}
	b := newBatch(len(ms))
	defer b.free()
	for i := range ms {
		b.msgs[i].Hdr.Iov, b.msgs[i].Hdr.Control = ms[i].Buffers, ms[i].OOB
	}
	n, err := c.recvmmsg(b.msgs, flags)
	if err != nil {
		return 0, c.readError("recvmmsg", err)
	}
	for i := range n {
		h := &b.msgs[i].Hdr
		ms[i].N, ms[i].NN, ms[i].Flags, ms[i].Addr = b.msgs[i].Len, h.ControlLen, h.Flags, addr(&h.Name)
	}
	return n, nil
}

// udpSource returns where a datagram came from.
func udpSource(from *sockapi.Sockaddr) net.Addr { return new(udpFrom).set(from) }

// writeBatch sends the messages before the first that has an address which cannot be.
func (c *conn) writeBatch(ms []ipv4.Message, flags int) (int, error) {
	ms = ms[:min(len(ms), maxBatch)]
	if len(ms) == 0 {
		return 0, nil
	}
	b := newBatch(len(ms))
	defer b.free()
	fit := len(ms)
	for i := range ms {
		to, err := batchSockaddr(ms[i].Addr)
		if err != nil {
			if i == 0 {
				return 0, c.writeError("sendmmsg", nil, err)
			}
			fit = i
			break
		}
		h := &b.msgs[i].Hdr
		h.Iov, h.Control, h.Name = ms[i].Buffers, ms[i].OOB, to
	}
	n, err := c.sendmmsg(b.msgs[:fit], flags)
	if err != nil {
		return 0, c.writeError("sendmmsg", nil, err)
	}
	for i := range n {
		ms[i].N, ms[i].NN = b.msgs[i].Len, len(ms[i].OOB)
	}
	return n, nil
}

// batchSockaddr returns an address of a message as the socket takes it; nil is the peer.
func batchSockaddr(addr net.Addr) (sockapi.Sockaddr, error) {
	switch a := addr.(type) {
	case nil:
		return sockapi.Sockaddr{}, nil
	case *net.UDPAddr:
		if a != nil {
			return udpSockaddr(a)
		}
		return sockapi.Sockaddr{}, nil
	case *net.IPAddr:
		if a != nil {
			return ipSockaddr(a)
		}
		return sockapi.Sockaddr{}, nil
	default:
		return sockapi.Sockaddr{}, unix.EINVAL
	}
}
