package device

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/test/lab"
)

// newKernel returns the host whose stack is the kernel's.
func newKernel(t testing.TB) *host {
	t.Helper()
	h := newHost(t, "Linux", lab.All)
	h.taken = func(is, _ func(netlab.Device) bool) bool { return h.deviceIs(h.near.Namespace, is) }
	h.configure()
	h.probe(t, h)
	return h
}

// deviceIs reports whether the near end's device, whatever it is called, is like that.
// One that is not there has no index.
func (h *host) deviceIs(at *netlab.Namespace, is func(netlab.Device) bool) bool {
	for _, name := range []string{h.near.Name, renamed} {
		d, err := at.Device(name)
		if err == nil {
			return is(d)
		}
		if !errors.Is(err, unix.ENODEV) {
			check(h.t, err)
		}
	}
	return is(netlab.Device{})
}

// configure is what an administrator's daemon does once a device is there and up:
// nothing on a host of ours.
func (h *host) configure() {
	if h.ours != nil && !h.shared {
		return
	}
	exists := func(err error) error {
		if errors.Is(err, unix.EEXIST) {
			return nil
		}
		return err
	}
	check(h.t, exists(h.near.AddAddress(h.near.Name, h.near.Prefix())))
	check(h.t, exists(h.near.AddRoute(beyond, h.far.Addr)))
}
