package stack

import "github.com/outband/outband/stack/internal/queue"

// Info is what is known of a received datagram beside its bytes: addresses and ports,
// length, interface, TTL and TOS, when it came and by which clock.
type Info = queue.Info

// Extra is what a socket may be told of a datagram that has it.
type Extra = queue.Extra

// A Message is one datagram to receive: where to, and what came.
type Message = queue.Message

// LinkInfo is what a packet socket is told of a frame beside its bytes (struct
// sockaddr_ll and struct tpacket_auxdata in packet(7)). Info.Link returns it.
type LinkInfo = queue.LinkInfo
