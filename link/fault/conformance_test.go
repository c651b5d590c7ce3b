package fault_test

import (
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/loopback"
	"github.com/outband/outband/link/pipe"
)

func TestConformance(t *testing.T) {
	// Harmless faults take every frame through the queues all the same.
	slow := fault.Config{
		Tx: fault.Faults{Rate: 1 << 62, Limit: 1 << 20},
		Rx: fault.Faults{Delay: 1, Limit: 1 << 20},
	}
	for name, cfg := range map[string]fault.Config{"zero": {}, "busy": slow} {
		t.Run(name, func(t *testing.T) {
			linktest.Test(t, func() (a, b link.Link) {
				x, y := pipe.New(pipe.Options{Caps: link.CapChecksum | link.CapGSO})
				return fault.Wrap(x, cfg), fault.Wrap(y, cfg)
			})
		})
	}
	t.Run("twice", func(t *testing.T) {
		linktest.Test(t, func() (a, b link.Link) {
			x, y := pipe.New(pipe.Options{})
			return fault.Wrap(fault.Wrap(x, slow), slow), fault.Wrap(fault.Wrap(y, slow), fault.Config{})
		})
	})
	t.Run("loopback", func(t *testing.T) {
		linktest.Test(t, func() (a, b link.Link) {
			l := fault.Wrap(loopback.New(loopback.Options{}), slow)
			return l, l
		})
	})
}
