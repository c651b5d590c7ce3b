package ether

// A MAC is a hardware address (EUI-48), in the order in which its octets are sent. The
// zero MAC is nobody's. A [6]byte can be assigned to one, and one to a [6]byte.
type MAC [6]byte

// Broadcast is the address of all stations (IEEE 802.3, clause 3.2.3).
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsGroup reports whether the address is one of several stations: a multicast or the
// broadcast address (IEEE 802.3, clause 3.2.3: the first bit that is sent).
func (a MAC) IsGroup() bool { return a[0]&1 != 0 }

// String returns the address as six hexadecimal numbers: 02:00:0a:09:00:01.
func (a MAC) String() string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 17)
	for i, octet := range a {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[octet>>4], digits[octet&0xf])
	}
	return string(b)
}
