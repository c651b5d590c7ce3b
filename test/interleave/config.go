package interleave

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/oracle"
	"github.com/outband/outband/test/wire"
)

// added are the addresses that programs give to devices, and take away.
var added = []struct {
	netip.Prefix
	device int
}{
	{netip.MustParsePrefix("10.9.0.5/24"), 0},
	{netip.MustParsePrefix("10.7.0.1/24"), 1}, // moving
	{netip.MustParsePrefix("10.9.0.6/32"), 0},
	{netip.MustParsePrefix("10.9.0.1/24"), 0},
	{netip.MustParsePrefix("10.8.0.1/24"), 1},
}

// moving is the one of added that either device may have, and both at once.
const moving = 1

// routes are those that programs add and take away.
var routes = []wire.Route{
	{To: netip.MustParsePrefix("198.18.0.0/16"), Gateway: netip.AddrFrom4(wire.Far(1)), Device: 1, Metric: 5},
	{To: netip.MustParsePrefix("198.18.0.0/15"), Gateway: netip.AddrFrom4(wire.Far(0)), MTU: 560, Metric: 5},
	{To: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.AddrFrom4(wire.Far(0)), Metric: 20},
	{To: netip.MustParsePrefix("192.0.2.0/24"), Device: 1},
	{To: netip.MustParsePrefix("224.0.0.0/4"), Device: 1},
	{To: netip.MustParsePrefix("10.7.0.0/24"), Device: 1, Metric: 7},
	{To: netip.MustParsePrefix("198.19.0.0/16"), Gateway: netip.AddrFrom4(wire.Far(1)), Device: 1, Metric: 10, MTU: 1400},
}

// changed writes a change of configuration down.
func (p *play) changed(err error, format string, args ...any) {
	name := "ok"
	var errno unix.Errno
	if errors.As(err, &errno) {
		name = unix.ErrnoName(errno)
	} else if err != nil {
		name = err.Error()
	}
	p.Logf(format+" = "+name, args...)
	p.dirty = true
}

var configKinds = []stepKind{
	{name: "address", weight: 8, changes: true, do: func(p *play, _ *oracle.Sock, s *Step) {
		at := int(s.A) % len(added)
		d, a, remove := added[at].device, added[at].Prefix, s.B&1 == 1
		if at == moving {
			d = int(s.C>>7) & 1
		}
		p.changed(p.host.Address(d, a, remove), "%s: address %v, remove %t", wire.Device(d), a, remove)
	}},
	{name: "route", weight: 8, changes: true, do: func(p *play, _ *oracle.Sock, s *Step) {
		r, remove := pick(routes, s.A), s.B&1 == 1
		if p.state[r.Device].down {
			return // Linux has no routes by such a device; here they are back with it
		}
		p.changed(p.host.Route(r, remove), "route %+v, remove %t", r, remove)
	}},
	{name: "device-mtu", weight: 3, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.C>>7) & 1
		mtu := pick([][]int{{1500, 1400, 576, 1280}, {1500, 1400}}[d], s.A) // see wire.Deliberate
		p.changed(p.host.SetMTU(d, mtu), "%s: MTU %d", wire.Device(d), mtu)
	}},
	{name: "up", weight: 6, slow: true, changes: true, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.C>>7) & 1
		p.state[d].down = !p.state[d].down
		p.flip(d, func() { p.host.SetUp(d, !p.state[d].down) })
		p.changed(nil, "%s: up %t", wire.Device(d), !p.state[d].down)
	}},
	{name: "carrier", weight: 2, slow: true, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.C>>7) & 1
		if p.state[d].down {
			return // a device that is down has none
		}
		p.state[d].lost, p.lossy = !p.state[d].lost, true
		p.host.SetCarrier(d, !p.state[d].lost)
		p.changed(nil, "%s: carrier %t", wire.Device(d), !p.state[d].lost)
	}},
}

// flip sets a device up or down; before, it gets its carrier back.
func (p *play) flip(d int, f func()) {
	if p.state[d].lost {
		p.state[d].lost = false
		p.host.SetCarrier(d, true)
	}
	f()
}
