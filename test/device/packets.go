package device

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

// packetRows are packet sockets.
func packetRows() []row {
	cooked := row{name: "packet, cooked", open: func(c *cell) { c.packets(unix.SOCK_DGRAM, c.h.index) },
		send: func(c *cell, s *sockapi.Socket, b []byte) (int, error) {
			return s.Sendto(b, 0, c.link(c.h.index, c.h.far.MAC))
		},
		answer: func(c *cell, p phase) {
			c.peer.Do("sendto", func(s *sockapi.Socket) string {
				return count(s.Sendto(c.answer(p), 0, c.link(c.peerIndex(), broadcastMAC)))
			})
		}}
	bare := row{name: "packet", offset: 14, peerOffset: 14,
		open: func(c *cell) { c.packets(unix.SOCK_RAW, c.h.index) },
		send: func(c *cell, s *sockapi.Socket, b []byte) (int, error) { return s.Send(c.frame(c.h.far.MAC, b), 0) },
		answer: func(c *cell, p phase) {
			c.peer.Do("sendto", func(s *sockapi.Socket) string {
				return count(s.Sendto(c.frame(broadcastMAC, c.answer(p)), 0, c.link(c.peerIndex(), broadcastMAC)))
			})
		}}
	large := func(r *row) { r.size = 1400 }
	unbound := func(r *row) { r.open = func(c *cell) { c.packets(unix.SOCK_DGRAM, 0) } }
	return []row{bare, cooked, bare.with("large", large), cooked.with("large", large), cooked.with("bound to no device", unbound)}
}

var broadcastMAC = [6]byte{255, 255, 255, 255, 255, 255}

// packets opens packet sockets at both ends, bound to a device, and to none.
func (c *cell) packets(typ, index int) {
	c.peer = c.Open("peer", oracle.Far, unix.AF_PACKET, typ, sockapi.HTONS(c.etherType()))
	c.k = c.Open("k", oracle.Near, unix.AF_PACKET, typ, sockapi.HTONS(c.etherType()))
	if index != 0 {
		c.k.Bind(c.link(index, [6]byte{}))
	}
}

func (c *cell) link(index int, mac [6]byte) sockapi.Sockaddr {
	return sockapi.LinkLayer(index, c.etherType(), mac)
}

// peerIndex is the index that the peer's device has now.
func (c *cell) peerIndex() int {
	d, err := c.h.far.Device(c.h.far.Name)
	check(c.h.t, err)
	return d.Index
}

// frame returns an Ethernet frame with the row's EtherType.
func (c *cell) frame(to [6]byte, b []byte) []byte {
	head := binary.BigEndian.AppendUint16(slices.Concat(to[:], c.h.near.MAC[:]), c.etherType())
	return append(head, b...)
}
