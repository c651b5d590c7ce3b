package stack

import (
	"sync/atomic"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
)

// A device is an interface to whoever sends: where its frames leave, and its neighbours.
type device struct {
	route.Device
	t          *transmitter
	host       deviceHost
	queue      *txQueue     // that all may use
	sharers    atomic.Int32 // how many sockets do
	neighbours neighbours
}

// A deviceHost is the interface that a device is of.
type deviceHost interface {
	// removed returns why the device is not to be used any more, nil if it is.
	removed() error
	// hearsOwn reports whether what we send to a group is for us too.
	hearsOwn(group, src ipv4.Addr) bool
	// hear takes in a datagram of our own to a group, or a broadcast. No lock is held.
	hear(datagram []byte, kind link.PacketType)
	// neighbourChanged takes in what has become of a neighbour, or of an address of ours.
	// No lock is held.
	neighbourChanged(ev *arp.Event)
}

// init makes d the device of a link.
func (d *device) init(t *transmitter, host deviceHost, l link.Link, routes route.DeviceConfig, cfg arp.Config) {
	d.t, d.host = t, host
	d.Device.Init(l, routes, d)
	d.queue = newTxQueue(d)
	d.neighbours.init(d, cfg)
}

// deviceOf returns the device that routes know as d.
func deviceOf(d *route.Device) *device { return d.Owner.(*device) }
