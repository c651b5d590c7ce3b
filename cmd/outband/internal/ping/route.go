package ping

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"github.com/outband/outband/ipv4"
)

// RecordRoute is the IP option that has each hop enter its address, with room for
// nine (RFC 791, section 3.1), behind a no-op option that aligns it.
var RecordRoute = append([]byte{1, 7, 39, 4}, make([]byte, 36)...)

// recorded words the route that a reply has recorded, as ping(8) does; "" for none.
func (r *run) recorded(o ipv4.Options) string {
	hops := route(o)
	switch {
	case hops == nil:
		return ""
	case bytes.Equal(o, r.route):
		return "\t(same route)"
	}
	r.route = bytes.Clone(o)
	var text strings.Builder
	text.WriteString("\nRR: ")
	for _, hop := range hops {
		fmt.Fprintf(&text, "\t%s\n", hop)
	}
	return text.String()
}

// route returns the addresses that a record-route option holds, nil without one.
func route(o ipv4.Options) []netip.Addr {
	const noOp, end, record, first = 1, 0, 7, 4 // first: the least value of the pointer, counted from 1
	for i := 0; i < len(o) && o[i] != end; {
		if o[i] == noOp {
			i++
			continue
		}
		if i+2 > len(o) || o[i+1] < 2 || i+int(o[i+1]) > len(o) {
			return nil
		}
		option := o[i : i+int(o[i+1])]
		if option[0] == record && len(option) >= first {
			used := min(int(option[2])-1, len(option))
			var hops []netip.Addr
			for at := first - 1; at+4 <= used; at += 4 {
				hops = append(hops, netip.AddrFrom4([4]byte(option[at:at+4])))
			}
			return hops
		}
		i += len(option)
	}
	return nil
}
