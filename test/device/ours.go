package device

import (
	"sync/atomic"
	"testing"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A witness is a packet ring that notes what its stack has been told.
type witness struct {
	*tpacket.Link
	told atomic.Pointer[link.Info]
}

// SetNotify has changed called, and then notes what it has seen at least.
func (w *witness) SetNotify(wake, changed func()) {
	if changed == nil {
		w.Link.SetNotify(wake, nil)
		return
	}
	w.Link.SetNotify(wake, func() {
		info := w.Info()
		changed()
		w.told.Store(&info)
	})
}

// newOurs returns the host whose stack is ours.
func newOurs(t testing.TB) *host {
	t.Helper()
	h := newHost(t, "ours", lab.Far)
	w := new(witness)
	h.near.In(t, func() (err error) {
		w.Link, err = tpacket.Open(h.near.Name, tpacket.Options{AllEtherTypes: true}) // as packet sockets see them
		return err
	})
	info := w.Info()
	w.told.Store(&info)
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	ifc, err := st.AddLink(w, stack.InterfaceConfig{})
	check(t, err)
	check(t, ifc.AddAddress(h.near.Prefix()))
	check(t, st.AddRoute(ipv4.Route{Prefix: beyond, Gateway: h.far.Addr.As4()}))
	h.ours = sockapi.New(st)
	h.taken = func(is, told func(netlab.Device) bool) bool {
		// Both: an event may still be on its way.
		return told(deviceOf(w.told.Load())) && h.deviceIs(h.near.Namespace, is)
	}
	h.probe(t, h)
	return h
}

// deviceOf returns what a link says as the kernel says it.
func deviceOf(i *link.Info) netlab.Device {
	if i.State == link.Gone {
		return netlab.Device{}
	}
	return netlab.Device{Name: i.Name, Index: i.Index, MTU: i.MTU, HardwareAddr: i.HardwareAddr,
		Up: i.State != link.Down, Running: i.State == link.Up}
}
