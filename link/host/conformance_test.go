package host

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
)

// The link with a ring is a loopback, but for Ethernet addresses: whom a datagram is for
// its IPv4 header says.
func TestConformance(t *testing.T) {
	lb := newLab(t)
	for _, a := range []string{"192.0.2.1/32", "192.0.2.2/32"} {
		must(t, lb.near.AddAddress("lo", netip.MustParsePrefix(a)))
	}
	h := lb.holders(t)
	must(t, h.SetRings([]int32{1}))
	linktest.Test(t, func() (a, b link.Link) {
		k := lb.open(t, Options{Ring: lb.ring(t), Source: h})
		return k, k
	}, "Groups")
}
