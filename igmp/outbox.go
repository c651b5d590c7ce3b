package igmp

import "github.com/outband/outband/ipv4"

// A Transmit is a message to send. The caller adds the IPv4 header: TTL 1, type of
// service 0xc0, don't fragment, the router alert option (RFC 3376 section 4), as Linux.
type Transmit struct {
	Dst     ipv4.Addr
	Message []byte // in the buffer that Next was given, if that holds it
}

// An outbox is the messages to send, oldest first.
type outbox struct {
	buf  []byte    // the messages, one after the other
	msgs []message // not fetched yet from head on
	head int
}

// A message is a piece of an outbox.
type message struct {
	dst        ipv4.Addr
	start, end int
}

// keepOutbox is the size in bytes beyond which an empty outbox is given back.
const keepOutbox = 1 << 16

// Next returns the oldest message that is to be sent, false if there is none. It is
// written to buf, which had better be as long as the MTU; if it is too short, the
// message is in memory of its own. Every call that takes a time can leave something
// here.
func (h *Host) Next(buf []byte) (Transmit, bool) {
	o := &h.out
	if o.head == len(o.msgs) {
		return Transmit{}, false
	}
	m := o.msgs[o.head]
	o.head++
	t := Transmit{Dst: m.dst, Message: append(buf[:0], o.buf[m.start:m.end]...)}
	if o.head == len(o.msgs) {
		o.reset()
	}
	return t, true
}

// reset empties the outbox.
func (o *outbox) reset() {
	if cap(o.buf) > keepOutbox {
		*o = outbox{}
		return
	}
	o.buf, o.msgs, o.head = o.buf[:0], o.msgs[:0], 0
}

// size returns how many bytes wait, the note of each message counted.
func (o *outbox) size() int {
	if o.head == len(o.msgs) {
		return 0
	}
	return len(o.buf) - o.msgs[o.head].start + messageNote*(len(o.msgs)-o.head)
}

const messageNote = 24 // bytes of a message

// queue makes what has been written to the outbox from start on a message. If too much
// waits already it is dropped: all that is sent here is repeated or asked for again.
func (h *Host) queue(dst ipv4.Addr, start int) bool {
	o := &h.out
	if o.size() > h.cfg.MaxQueue {
		o.buf = o.buf[:start]
		h.count(CauseBacklog)
		return false
	}
	o.msgs = append(o.msgs, message{dst, start, len(o.buf)})
	if o.head > len(o.msgs)/2 {
		o.compact()
	}
	return true
}

// compact gives the room of messages fetched to those to come.
func (o *outbox) compact() {
	skip := o.msgs[o.head].start
	o.buf = o.buf[:copy(o.buf, o.buf[skip:])]
	o.msgs = o.msgs[:copy(o.msgs, o.msgs[o.head:])]
	o.head = 0
	for i := range o.msgs {
		o.msgs[i].start -= skip
		o.msgs[i].end -= skip
	}
}
