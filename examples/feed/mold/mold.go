// Package mold reads and writes MoldUDP64, the framing in which exchanges send
// sequenced messages by multicast: "MoldUDP64 Protocol Specification", version
// 1.00. It does no I/O.
//
// A downstream packet is a header of 20 bytes and message blocks:
//
//	session  10 bytes, ASCII, padded with spaces on the right
//	sequence uint64, of the first message; the others follow it
//	count    uint16 of messages; 0: heartbeat; 0xffff: end of session
//	count times: length uint16, and so many bytes
//
// Numbers are big endian. A heartbeat or an end of session has no messages; its
// sequence number is the one that the next message has, or would have. A request
// packet is a header alone, sent unicast to a re-request server: it asks for count
// messages from sequence on, which come back in downstream packets.
package mold

import (
	"encoding/binary"
	"errors"
	"strings"
)

// HeaderLen is the length of a header in bytes.
const HeaderLen = 20

// MaxMessages is how many messages a packet, or a request, can count.
const MaxMessages = 0xfffe

// endOfSession in the count says that there are no messages, and will be none.
const endOfSession = 0xffff

// A Session names a sequence of messages: ASCII, padded with spaces.
type Session [10]byte

// NewSession returns the session of a name, cut after ten bytes.
func NewSession(name string) (s Session) {
	copy(s[:], strings.Repeat(" ", len(s)))
	copy(s[:], name)
	return s
}

// String returns the name without its padding.
func (s Session) String() string { return strings.TrimRight(string(s[:]), " ") }

// The errors of Parse and ParseRequest.
var (
	ErrShort    = errors.New("mold: packet shorter than it says")
	ErrTrailing = errors.New("mold: bytes after the last message")
	ErrSequence = errors.New("mold: sequence number 0, or beyond 64 bits")
)

// A Packet is a downstream packet.
type Packet struct {
	Session Session
	// Sequence is the first message's number, from 1 on. Without messages it is
	// the next one's.
	Sequence uint64
	// Count is the number of messages, 0 in a heartbeat or an end of session.
	Count int
	// End means that the session is over.
	End bool

	blocks []byte
}

// Parse reads a downstream packet. All of its blocks are checked, so that what
// reads them need not. The packet keeps b.
func Parse(b []byte) (p Packet, err error) {
	if p, err = header(b); err != nil {
		return Packet{}, err
	}
	p.blocks = b[HeaderLen:]
	rest := p.blocks
	for range p.Count {
		if len(rest) < 2 {
			return Packet{}, ErrShort
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		if len(rest) < n {
			return Packet{}, ErrShort
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return Packet{}, ErrTrailing
	}
	return p, nil
}

// header reads what downstream packets and requests have in common.
func header(b []byte) (p Packet, err error) {
	if len(b) < HeaderLen {
		return Packet{}, ErrShort
	}
	p.Session = Session(b[:10])
	p.Sequence = binary.BigEndian.Uint64(b[10:])
	if count := binary.BigEndian.Uint16(b[18:]); count == endOfSession {
		p.End = true
	} else {
		p.Count = int(count)
	}
	if p.Sequence == 0 || p.Sequence+uint64(p.Count) < p.Sequence {
		return Packet{}, ErrSequence
	}
	return p, nil
}

// Next returns the sequence number of the message after the packet's last.
func (p *Packet) Next() uint64 { return p.Sequence + uint64(p.Count) }

// Message takes the first message off the blocks that are left, and returns it
// with its sequence number; ok is false at the end. It is a view of the packet.
func (p *Packet) Message() (sequence uint64, message []byte, ok bool) {
	if p.Count == 0 {
		return p.Sequence, nil, false
	}
	end := 2 + int(binary.BigEndian.Uint16(p.blocks))
	sequence, message = p.Sequence, p.blocks[2:end:end]
	p.blocks = p.blocks[end:]
	p.Sequence++
	p.Count--
	return sequence, message, true
}

// AppendHeader appends the header of a packet without messages: a heartbeat, or
// with end the end of the session. AppendMessage makes a packet with messages of
// the first.
func AppendHeader(b []byte, s Session, sequence uint64, end bool) []byte {
	b = append(b, s[:]...)
	b = binary.BigEndian.AppendUint64(b, sequence)
	count := uint16(0)
	if end {
		count = endOfSession
	}
	return binary.BigEndian.AppendUint16(b, count)
}

// AppendMessage appends a message to the packet that starts at packet[0]. ok is
// false, and the packet as it was, if it would be longer than limit bytes or have
// too many messages.
func AppendMessage(packet, message []byte, limit int) (longer []byte, ok bool) {
	count := binary.BigEndian.Uint16(packet[18:])
	if len(packet)+2+len(message) > limit || len(message) > 0xffff || count >= MaxMessages {
		return packet, false
	}
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(message)))
	packet = append(packet, message...)
	binary.BigEndian.PutUint16(packet[18:], count+1)
	return packet, true
}

// AppendRequest appends a request for count messages, at most MaxMessages, from
// sequence on.
func AppendRequest(b []byte, s Session, sequence uint64, count int) []byte {
	b = AppendHeader(b, s, sequence, false)
	binary.BigEndian.PutUint16(b[len(b)-2:], uint16(count))
	return b
}

// ParseRequest reads a request: for messages sequence to sequence+count-1.
func ParseRequest(b []byte) (s Session, sequence uint64, count int, err error) {
	p, err := header(b)
	if err == nil && len(b) > HeaderLen {
		err = ErrTrailing
	}
	return p.Session, p.Sequence, p.Count, err
}
