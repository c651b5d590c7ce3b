package loss

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/route"
)

// Frames that found no room in a link's ring are lost before anybody has looked whom
// they were for. So each socket that they may have been for is told of all of them:
// those of the interface that it is bound to, or of all interfaces, since it was
// opened, beside what its own queue had no room for. What a socket is told is the most
// that it may have lost, and 0 says that it has lost nothing; sums over sockets mean
// nothing, but those over the stack's counters do, where each frame is counted once.

// An Account is what a socket knows of the frames that links have lost. It is changed
// with the locks of all lanes held.
type Account struct {
	from atomic.Pointer[route.Device] // nil: all interfaces
	base atomic.Uint64                // what does not count, modulo 2^64
}

// Open begins to count, for all interfaces.
func (a *Account) Open(l *Links) { a.base.Store(l.Lost(nil)) }

// Lost returns how many frames that may have been for the socket links have lost. A
// configuration that changes meanwhile may make it less for a moment: never below 0.
func (a *Account) Lost(l *Links) uint32 {
	n := int64(l.Lost(a.from.Load()) - a.base.Load())
	return uint32(max(n, 0))
}

// Of makes the losses of a device, nil for all, the socket's from now on. What was lost
// before stays as it is.
func (a *Account) Of(l *Links, d *route.Device) {
	before := a.Lost(l)
	a.from.Store(d)
	a.base.Store(l.Lost(d) - uint64(before))
}
