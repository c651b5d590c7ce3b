package route

import (
	"testing"

	"github.com/outband/outband/ipv4"
)

// What is known of a gateway is no news: nobody is told, and no path looked up anew.
func TestGatewaysKnown(t *testing.T) {
	var g Gateways
	a, b := Gateway{Addr: ipv4.Addr{10, 9, 0, 254}}, Gateway{Addr: ipv4.Addr{10, 9, 0, 253}}
	for _, step := range []struct {
		at             Gateway
		failed         bool
		changed, first bool
	}{
		{a, false, false, false}, // there all the time
		{a, true, true, true},
		{a, true, false, false},
		{b, true, true, false},
		{a, false, true, false},
		{a, false, false, false},
		{b, false, true, false},
	} {
		if changed, first := g.Set(step.at, step.failed); changed != step.changed || first != step.first {
			t.Errorf("%v failed %v: changed %v, first %v", step.at, step.failed, changed, first)
		}
	}
	if g.any.Load() {
		t.Error("some have failed at the end")
	}
}
