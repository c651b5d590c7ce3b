package igmp_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
)

// A socket joins a group for one source of it: the report is due at once, and once more
// within a second.
func ExampleHost() {
	h := igmp.New(igmp.DefaultConfig(), func() uint64 { return 4 })
	h.SetAddress(0, ipv4.Addr{10, 9, 0, 1})
	h.LinkUp(0)
	group := ipv4.Addr{232, 9, 0, 1}
	h.Update(0, group, igmp.NotMember, igmp.Filter{Mode: igmp.Include, Sources: []ipv4.Addr{{10, 9, 0, 2}}})
	now := h.Deadline()
	h.Advance(now)
	for {
		out, ok := h.Next(make([]byte, 1500))
		if !ok {
			break
		}
		m, _ := igmp.Parse(out.Message)
		r := m.FirstRecord()
		fmt.Println(time.Duration(now), "to", netip.AddrFrom4(out.Dst), r.Type(), netip.AddrFrom4(r.Group()), netip.AddrFrom4(r.Source(0)))
	}
	// Output: 2ms to 224.0.0.22 ALLOW 232.9.0.1 10.9.0.2
}
