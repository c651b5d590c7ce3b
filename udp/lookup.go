package udp

import "github.com/outband/outband/ipv4"

// Lookup returns the owner of the binding that a unicast datagram is for: from
// src and sport, to dst and dport, arrived on interface dev. With source and
// destination exchanged it finds the sender of a datagram that an ICMP error
// quotes.
//
// Bindings to dst come before bindings to 0.0.0.0. Among either, the score
// decides as in Linux' compute_score: 4 points each for a matching peer
// address, peer port and device, and a mismatch excludes. Among equals the
// latest bound wins; if it is in an SO_REUSEPORT group, a hash of the four
// addresses and ports chooses a member, so that a flow stays with one. Who
// prefers the CPU that the call runs on (SO_INCOMING_CPU) wins among equals. A
// group's program is not asked: see Steer.
//
// It is the hot path: no allocation, at most one probe of an index each for the
// peer and the address.
func (t *Table[T]) Lookup(dst ipv4.Addr, dport uint16, src ipv4.Addr, sport uint16, dev int32) (owner T, ok bool) {
	f := t.flags[dport]
	if f&hasConns != 0 {
		if b := onDevice(t.peers.get(peerKey(dst, dport, src, sport)), dev); b != nil {
			return b.Owner, true
		}
	}
	if f&hasChains != 0 {
		if c := t.locals.get(localKey(dst, dport)); c != nil {
			if c.simple {
				return c.owner, true
			}
			if b := t.pick(c, dst, dport, src, sport, dev); b != nil {
				return b.Owner, true
			}
		}
	}
	if f&hasWildConns != 0 {
		if b := onDevice(t.peers.get(peerKey(anyAddr, dport, src, sport)), dev); b != nil {
			return b.Owner, true
		}
	}
	if f&hasWild != 0 {
		c := &t.ports[dport].wild
		if c.simple {
			return c.owner, true
		}
		if b := t.pick(c, dst, dport, src, sport, dev); b != nil {
			return b.Owner, true
		}
	}
	return owner, false
}

// onDevice returns the best of the bindings to one peer: one bound to dev, or
// else the first that is bound to none.
func onDevice[T any](head *Binding[T], dev int32) *Binding[T] {
	var best *Binding[T]
	for b := head; b != nil; b = b.links[inReady].next {
		switch {
		case b.Device == 0:
			if best == nil {
				best = b
			}
		case b.Device == dev:
			return b
		}
	}
	return best
}

// pick returns the best of a chain's bindings that have no whole peer.
func (t *Table[T]) pick(c *chain[T], dst ipv4.Addr, dport uint16, src ipv4.Addr, sport uint16, dev int32) *Binding[T] {
	b := c.ready.head
	if c.special > 0 {
		return t.pickByScore(b, dst, dport, src, sport, dev)
	}
	// All score the same: the first wins.
	if b == nil || !b.shares() {
		return b
	}
	return t.member(b.group, dst, dport, src, sport)
}

// pickByScore is pick where not all bindings score the same (udp4_lib_lookup2).
func (t *Table[T]) pickByScore(head *Binding[T], dst ipv4.Addr, dport uint16, src ipv4.Addr, sport uint16, dev int32) *Binding[T] {
	var best *Binding[T]
	bestScore := -1
	for b := head; b != nil; b = b.links[inReady].next {
		score := 0
		if b.connected {
			if b.Remote != src {
				continue
			}
			score += 4
		}
		if b.Device != 0 {
			if b.Device != dev {
				continue
			}
			score += 4
		}
		if b.CPU != 0 && b.CPU == t.cpu()+1 {
			score++
		}
		if score <= bestScore {
			continue
		}
		best, bestScore = b, score
		if b.connected || !b.shares() {
			continue
		}
		best = t.member(b.group, dst, dport, src, sport)
		if !b.group.hadConns {
			return best // Linux looks no further either
		}
	}
	return best
}

// Each calls f for all bindings that a broadcast or multicast datagram to dst and dport
// that arrives on dev may be for: each whose address is dst or 0.0.0.0, and whose
// device, if it has one, is dev (__udp_is_mcast_sock). Whether the peer, if it has one,
// is the source, and whether a socket is a member of the group, is for the caller to
// ask. f must not change the table.
func (t *Table[T]) Each(dst ipv4.Addr, dport uint16, dev int32, f func(*Binding[T])) {
	s := t.ports[dport]
	if s == nil {
		return
	}
	chains := [2]*chain[T]{1: &s.wild}
	if s.chains > 0 && dst != anyAddr {
		chains[0] = t.locals.get(localKey(dst, dport))
	}
	for _, c := range chains {
		if c == nil {
			continue
		}
		for b := c.members.head; b != nil; b = b.links[inChain].next {
			if !b.reserved && b.takesDevice(dev) {
				f(b)
			}
		}
	}
}

// Taken reports whether anything is bound to a port.
func (t *Table[T]) Taken(port uint16) bool { return t.ports[port] != nil }
