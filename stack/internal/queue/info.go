package queue

import (
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// Info is what is known of a received datagram beside its bytes.
type Info struct {
	From, To         ipv4.Addr // source and destination address
	FromPort, ToPort uint16
	peeked           bool // MSG_PEEK has returned it, if it has no bytes
	Len              int  // bytes of payload, however many fitted
	// Interface is the index of the interface that it came in by, and Home that of the
	// one that it counts as having come in by (ipi_ifindex in ip(7)): of a datagram of
	// this host's own, as a rule, the one that had its destination then.
	Interface, Home int32

	TTL, TOS    uint8
	Clock       link.Clock // of Time
	Type        link.PacketType
	FragSize    uint16 // largest fragment's IP length if it was reassembled, else 0
	SegmentSize uint16 // UDP_GRO: size of the datagrams that were joined, else 0
	Drops       uint32 // datagrams dropped before this one, if the socket wants to know
	Time        int64  // nanoseconds since the Unix epoch, 0 if Clock is ClockNone
	// Taken and Delivered are when it was taken from its link, and given to the
	// socket, in nanoseconds of CLOCK_MONOTONIC, if the socket wants to know.
	Taken, Delivered int64
	// Extra is what few datagrams have, if the socket wants to know.
	Extra *Extra
}

// Extra is what a socket may be told of a datagram that has it.
type Extra struct {
	Options ipv4.Options // the IP options, nil for none
	// Priority and Mark are what a datagram of this stack's own was sent with
	// (SetPriority, SetMark).
	Priority, Mark uint32
}

// A Message is one datagram to receive: where to, and what came.
type Message struct {
	Buffers [][]byte // filled in order
	N       int      // bytes stored
	Flags   int      // MSG_TRUNC if the datagram was longer
	Info    Info
}

// NeedExtra returns the Info's Extra, which it makes if there is none.
func (in *Info) NeedExtra() *Extra {
	if in.Extra == nil {
		in.Extra = new(Extra)
	}
	return in.Extra
}

// SetMetadata stores what a datagram of this stack's own was sent with.
func (in *Info) SetMetadata(priority, mark uint32) {
	x := in.NeedExtra()
	x.Priority, x.Mark = priority, mark
}
