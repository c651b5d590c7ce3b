package device

import (
	"testing"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// newShared returns the host whose stack is ours, on the addresses of the kernel's, which is
// kept off its datagrams by a rung.
func newShared(rung claim.Rung) func(testing.TB) *host {
	return func(t testing.TB) *host {
		t.Helper()
		h := newHost(t, "ours on shared addresses, "+rung.String(), lab.All)
		h.shared = true
		h.configure()
		var s *shared.Host
		h.near.In(t, func() (err error) {
			s, err = shared.Open(shared.Config{Devices: []string{h.near.Name}, Only: rung, Stack: stack.Config{Panics: true}})
			return err
		})
		t.Cleanup(func() { check(t, s.Close()) })
		h.ours = sockapi.New(s.Stack())
		h.taken = func(is, told func(netlab.Device) bool) bool {
			return told(deviceIn(s.Stack())) && h.deviceIs(h.near.Namespace, is)
		}
		h.probe(t, h)
		return h
	}
}

// deviceIn returns what a stack knows of the device, whatever it is called.
func deviceIn(st *stack.Stack) netlab.Device {
	const loIndex = 1
	for _, i := range st.Interfaces() {
		if i.Index() != loIndex {
			info := i.Link().Info()
			return deviceOf(&info)
		}
	}
	return netlab.Device{}
}
