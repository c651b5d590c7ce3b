package recent

import (
	"testing"

	"github.com/outband/outband/ipv4"
)

// TestNewDestinationsPushOutOldOnes has a socket send to more destinations than are
// remembered.
func TestNewDestinationsPushOutOldOnes(t *testing.T) {
	var r Destinations
	r.Init(1)
	addr := func(n int) ipv4.Addr { return ipv4.Addr{10, byte(n >> 16), byte(n >> 8), byte(n)} }
	const all = 4 * sets * ways
	for n := range all {
		r.Add(1, addr(n))
		if !r.Has(1, addr(n)) {
			t.Fatalf("destination %d is not there", n)
		}
	}
	old, foreign := 0, 0
	for n := range all / 4 {
		if r.Has(1, addr(n)) {
			old++
		}
		if r.Has(2, addr(n)) {
			foreign++
		}
	}
	if old > all/40 || foreign > 2 {
		t.Errorf("%d of the oldest %d are there still, and %d of another socket's", old, all/4, foreign)
	}
}
