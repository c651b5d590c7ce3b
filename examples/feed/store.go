package main

import (
	"net/netip"
	"sync"

	"github.com/outband/outband/examples/feed/mold"
	"github.com/outband/outband/sockapi"
)

// A store keeps the last messages of a session, and answers requests for them.
type store struct {
	session mold.Session

	mu       sync.Mutex
	messages [][]byte // a ring by sequence number
	last     uint64
	requests uint64 // answered
	sent     uint64 // messages in answers
}

func newStore(s mold.Session, keep int) *store {
	return &store{session: s, messages: make([][]byte, keep)}
}

// add keeps a copy of a message; numbers count up from 1.
func (s *store) add(sequence uint64, message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.messages[sequence%uint64(len(s.messages))]
	*m = append((*m)[:0], message...)
	s.last = sequence
}

// answer makes one packet of the messages that a request asks for, as many as fit;
// nil if they are not there any more, or not yet. The others are to be asked for again.
func (s *store) answer(request []byte) []byte {
	session, sequence, count, err := mold.ParseRequest(request)
	if err != nil || session != s.session {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sequence > s.last || s.last-sequence >= uint64(len(s.messages)) {
		return nil
	}
	packet := mold.AppendHeader(make([]byte, 0, maxPacket), session, sequence, false)
	messages := uint64(0)
	for ; messages < uint64(count) && sequence+messages <= s.last; messages++ {
		longer, ok := mold.AppendMessage(packet, s.messages[(sequence+messages)%uint64(len(s.messages))], maxPacket)
		if !ok {
			break
		}
		packet = longer
	}
	s.requests++
	s.sent += messages
	return packet
}

// serve answers until the socket is closed.
func (s *store) serve(socket *sockapi.Socket) {
	buf := make([]byte, 2*mold.HeaderLen)
	for {
		n, from, err := socket.Recvfrom(buf, 0)
		if err != nil {
			return
		}
		if packet := s.answer(buf[:n]); packet != nil {
			// An answer that cannot leave is as good as lost: they will ask again.
			_, _ = socket.Sendto(packet, 0, from)
		}
	}
}

// served returns how many requests were answered, and with how many messages.
func (s *store) served() (requests, messages uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.sent
}

// serverAddr is where the publisher takes requests.
func (p *publisher) serverAddr() netip.AddrPort {
	addr := netip.IPv4Unspecified()
	if p.a.addr.IsValid() {
		addr = p.a.addr.Addr()
	}
	return netip.AddrPortFrom(addr, uint16(p.requests))
}
