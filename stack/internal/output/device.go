package output

import (
	"sync/atomic"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
)

// A Device is an interface to whoever sends: where its frames leave, and its neighbours.
type Device struct {
	route.Device
	t          *Transmitter
	Host       DeviceHost
	Queue      *WayOut      // that all may use
	Sharers    atomic.Int32 // how many sockets do
	Neighbours Neighbours
}

// A DeviceHost is the interface that a device is of.
type DeviceHost interface {
	// Gone returns why the device is not to be used any more, nil if it is.
	Gone() error
	// IsMember reports whether what we send to a group is for us too.
	IsMember(group, src ipv4.Addr) bool
	// Loop takes in a datagram of our own to a group, or a broadcast. No lock is held.
	Loop(datagram []byte, kind link.PacketType)
	// NeighbourChanged takes in what has become of a neighbour, or of an address of ours.
	// No lock is held.
	NeighbourChanged(ev *arp.Event)
}

// Init makes d the device of a link.
func (d *Device) Init(t *Transmitter, host DeviceHost, l link.Link, routes route.DeviceConfig, cfg arp.Config) {
	d.t, d.Host = t, host
	d.Device.Init(l, routes, d)
	d.Queue = newWayOut(d)
	d.Neighbours.init(d, cfg)
}

// DeviceOf returns the device that routes know as d.
func DeviceOf(d *route.Device) *Device { return d.Owner.(*Device) }
