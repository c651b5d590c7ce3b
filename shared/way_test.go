package shared

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/stack"
)

// A socket says by which way its datagrams go.
func TestWay(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	device, err := w.Near().Device("near0")
	check(t, err)
	w.ip("link", "add", "other0", "type", "veth", "peer", "name", "other1")
	w.ip("address", "add", "198.51.100.1/24", "dev", "other0")
	w.ip("link", "set", "other0", "up")
	w.ip("link", "set", "other1", "up")
	other, err := w.Near().Device("other0")
	check(t, err)
	w.eventually("the other device's address", func() bool {
		k := w.socket("")
		defer k.Close()
		return k.Bind(netip.MustParseAddrPort("198.51.100.1:0")) == nil
	})
	for _, c := range []struct {
		name, local, peer string
		want              stack.Way
	}{
		{"to nobody", "0.0.0.0:0", "", stack.Way{}},
		{"at the device's address", "10.9.0.1:0", "", stack.Way{Interface: device.Index}},
		{"to a neighbour", "", "10.9.0.2:9", stack.Way{Interface: device.Index}},
		{"to the host", "", "10.9.0.1:9", stack.Way{Interface: 1}},
		{"by a device without a ring", "", "198.51.100.2:9", stack.Way{InBand: true, Interface: other.Index}},
	} {
		k := w.socket(c.local)
		if c.peer != "" {
			check(t, k.Connect(netip.MustParseAddrPort(c.peer)))
		}
		if got := k.Way(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	for addr, want := range map[string]stack.Way{"10.9.0.1:0": {InBand: true}, "0.0.0.0:0": {InBand: true}, "233.252.0.7:0": {}} {
		k := w.socket("")
		k.SetReuse(true, false)
		check(t, k.Bind(netip.MustParseAddrPort(addr)))
		if got := k.Way(); got != want {
			t.Errorf("at a port that others may have too, %s: %+v, want %+v", addr, got, want)
		}
	}

	without := worldOf(t, w.Lab, Config{Devices: []string{"near0"}, NoLo: true})
	k := without.socket("")
	check(t, k.Connect(netip.MustParseAddrPort("127.0.0.1:9")))
	if got := k.Way(); !got.InBand {
		t.Errorf("to the host without a ring on lo: %+v", got)
	}
}
