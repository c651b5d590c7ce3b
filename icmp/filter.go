package icmp

// An ICMPFilter is a set of message types that a raw socket does not receive:
// bit n is type n, raw(7), ICMP_FILTER. The zero filter blocks nothing.
type ICMPFilter uint32

// Blocks reports whether messages of a type are kept from the socket. Types
// from 32 on, which have no bit, never are, as in Linux (icmp_filter).
func (f ICMPFilter) Blocks(typ uint8) bool { return f>>typ&1 != 0 }
