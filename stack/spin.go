package stack

import (
	"time"

	"github.com/outband/outband/stack/internal/drive"
)

// Values of Config.Spin and Endpoint.SetSpin beside a fixed budget.
const (
	// SpinAdaptive spins shortly where datagrams come quickly and not at all
	// where they do not: the default.
	SpinAdaptive = drive.SpinAdaptive
	// SpinNever sleeps at once.
	SpinNever = drive.SpinNever
	// SpinAlways never sleeps.
	SpinAlways = drive.SpinAlways
)

// SetSpin sets the socket's own spin budget: a duration or one of SpinAdaptive,
// SpinNever and SpinAlways.
func (k *Endpoint) SetSpin(d time.Duration) { k.spin.Set(d) }

// Spin returns the socket's spin budget now: a duration or SpinNever or
// SpinAlways.
func (k *Endpoint) Spin() time.Duration {
	switch b := k.spin.Budget(); b {
	case never:
		return SpinAlways
	case 0:
		return SpinNever
	default:
		return time.Duration(b)
	}
}
