package mcast

import (
	"net/netip"
)

// maxPayload is the most that a UDP datagram carries over IPv4.
const maxPayload = 65535 - 20 - 8

// maxSenders is how many senders of a group have their numbers followed.
const maxSenders = 256

// A meter keeps account of one group.
type meter struct {
	target    Target
	datagrams uint64
	bytes     uint64
	last      int64 // when the last datagram came
	quiet     bool  // nothing came since the last interval
	drops     uint64
	dropsWere uint64 // when it began
	senders   map[netip.AddrPort]*tracker
	latest    *tracker // the sender's of the last datagram
	latestOf  netip.AddrPort
	untracked uint64 // datagrams of senders beyond maxSenders
}

// datagram counts a datagram of the given length, of which p is the beginning.
func (m *meter) datagram(now int64, from netip.AddrPort, p []byte, length int, field *Field) {
	m.datagrams++
	m.bytes += uint64(length)
	m.last, m.quiet = now, false
	if field.Width == 0 {
		return
	}
	t := m.sender(from)
	if t == nil {
		m.untracked++
		return
	}
	if n, ok := field.Get(p); ok {
		t.number(n, field.Width)
	} else {
		t.Short++
	}
}

// sender returns a sender's tracker, nil if there are too many.
func (m *meter) sender(from netip.AddrPort) *tracker {
	if m.latest != nil && m.latestOf == from {
		return m.latest
	}
	t := m.senders[from]
	if t == nil {
		if len(m.senders) >= maxSenders {
			return nil
		}
		if m.senders == nil {
			m.senders = make(map[netip.AddrPort]*tracker)
		}
		t = new(tracker)
		m.senders[from] = t
	}
	m.latest, m.latestOf = t, from
	return t
}

// sequence sums what the numbers of all senders tell.
func (m *meter) sequence() (s Sequence) {
	for _, t := range m.senders {
		s.add(t.Sequence)
	}
	return s
}
