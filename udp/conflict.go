package udp

// conflicts reports whether a binding on port keeps b, which is not bound, from
// binding to it.
//
// Two bindings overlap if a datagram could be for both: one address or a
// wildcard, one device or none; but not if both allow it by SO_REUSEADDR. Of
// those that overlap with b the latest bound decides: it shares the port if
// both have SO_REUSEPORT and one owner (udp_lib_lport_inuse).
func (t *Table[T]) conflicts(b *Binding[T], port uint16) bool {
	s := t.ports[port]
	if s == nil || b.ReuseAddr && s.strict == 0 {
		return false
	}
	var c *Binding[T]
	if b.Local == anyAddr {
		c = overlap(b, s.all.head, inSlot)
	} else {
		if !b.ReuseAddr || s.wild.strict > 0 {
			c = overlap(b, s.wild.members.head, inChain)
		}
		if l := t.locals.get(localKey(b.Local, port)); l != nil && (!b.ReuseAddr || l.strict > 0) {
			if d := overlap(b, l.members.head, inChain); d != nil && (c == nil || d.seq > c.seq) {
				c = d
			}
		}
	}
	// As in Linux one that has a group before it is bound (see Attach) joins none.
	return c != nil && !(c.ReusePort && b.ReusePort && b.group == nil && c.UID == b.UID)
}

// overlap returns the first binding of a list that overlaps with b, of those
// whose addresses do.
func overlap[T any](b, head *Binding[T], kind int) *Binding[T] {
	for c := head; c != nil; c = c.links[kind].next {
		if (!c.ReuseAddr || !b.ReuseAddr) && (c.Device == 0 || b.Device == 0 || c.Device == b.Device) {
			return c
		}
	}
	return nil
}
