package pion

import (
	"net"

	"github.com/pion/transport/v4"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack"
)

// asInterface returns an interface as pion wants it.
func asInterface(i *stack.Interface) *transport.Interface {
	info := i.Link().Info()
	ifc := transport.NewInterface(net.Interface{
		Index: i.Index(), Name: i.Name(), MTU: info.MTU, HardwareAddr: info.HardwareAddr[:], Flags: flags(info),
	})
	for _, p := range i.Addresses() {
		ifc.AddAddress(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)})
	}
	return ifc
}

// flags returns the flags of an interface over a link.
func flags(info link.Info) net.Flags {
	f := net.FlagMulticast | net.FlagBroadcast
	if info.Caps&link.CapLoopback != 0 {
		f = net.FlagLoopback
	}
	if info.State == link.Up {
		f |= net.FlagUp | net.FlagRunning
	}
	return f
}
