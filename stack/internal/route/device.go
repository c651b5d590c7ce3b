// Package route knows a host's devices and addresses, and the ways that datagrams take
// from it: which device, as whom, to which neighbour, how large.
//
// A [Network] is the configuration at one moment. It is never changed once others see
// it: who configures clones it, changes the copy, and puts that in its place
// ([Routes.Set]). [Routes.Find] finds the way by it, and by what experience adds: the
// gateways that have failed ([Gateways]) and the MTUs that ICMP has taught. When any of
// these change, the [Generations] of the paths that may have become wrong change too.
//
// The package sends nothing and has no clock of its own. Of links it asks only what they
// are like, and that they keep our addresses from their hosts (claim.go).
package route

import (
	"sync/atomic"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// A Device is what an interface is to routes and to senders.
type Device struct {
	Index    int32 // what sockets and routes name it by; set by Network.Add
	Loopback bool
	// InBand says that nothing passes the link but by the operating system, which the
	// loopback device leads to (link.InBander).
	InBand bool
	Link   link.Link
	// Primary is the first address, for whoever takes in frames: it is guarded by the
	// lanes' locks. Network.Primary is the same for all others.
	Primary ipv4.Addr
	// Owner is what the device belongs to. Nothing here looks at it.
	Owner any

	info   atomic.Pointer[link.Info]
	losses link.LossTeller // the link, nil if it does not tell

	probes    bool  // addresses are probed for before use
	shares    bool  // addresses may be others' too
	keepsHost bool  // the host goes on receiving what is for the addresses
	unclaimed error // why the host answers for us; guarded by what guards the configuration
}

// A DeviceConfig is how a Device deals with addresses.
type DeviceConfig struct {
	// Probes has addresses probed for before use.
	Probes bool
	// Shares lets it have addresses that its host has too.
	Shares bool
	// KeepsHost asks nothing of a link.Claimer.
	KeepsHost bool
}

// Init makes d the device of a link. It gets its index when it is added to a network.
func (d *Device) Init(l link.Link, cfg DeviceConfig, owner any) {
	info := l.Info()
	d.Link, d.losses, d.Loopback, d.Owner = l, link.LossTellerOf(l), info.Caps&link.CapLoopback != 0, owner
	d.InBand = !d.Loopback && link.InBand(l)
	d.probes, d.shares, d.keepsHost = cfg.Probes, cfg.Shares, cfg.KeepsHost
	d.info.Store(&info)
}

// Info returns what the link is like, as of when the stack was told last.
func (d *Device) Info() *link.Info { return d.info.Load() }

// SetInfo takes in what the link is like now.
func (d *Device) SetInfo(info *link.Info) { d.info.Store(info) }

// Name returns the device's present name, which may change; while the device is gone,
// the one that the link waits for.
func (d *Device) Name() string { return d.Info().Name }

// Probes reports whether addresses are probed for before use.
func (d *Device) Probes() bool { return d.probes }

// Lost returns how many frames the device's link has lost for want of room in its ring.
func (d *Device) Lost() uint64 {
	if d.losses == nil {
		return 0
	}
	return d.losses.Lost()
}
