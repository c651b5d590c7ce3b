// Package loss counts what links have counted, of links that are no more too, and what of
// that each socket may have lost.
package loss

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
)

// Links has the counters of all links that a stack has or had. Its methods may be called
// by any goroutines at once.
type Links struct {
	devices func() []*route.Device
	before  atomic.Uint64 // frames lost by links that are in no configuration any more

	mu   sync.Mutex // a leaf
	gone totals     // of links that are closed
}

// Init makes ready. devices returns the devices of the configuration.
func (l *Links) Init(devices func() []*route.Device) { l.devices = devices }

// Lost returns how many frames links have lost: d's, or with nil all that the stack
// has or had.
func (l *Links) Lost(d *route.Device) uint64 {
	if d != nil {
		return d.Lost()
	}
	sum := l.before.Load()
	for _, d := range l.devices() {
		sum += d.Lost()
	}
	return sum
}

// Removed keeps what the link of a device has lost that leaves the configuration.
func (l *Links) Removed(d *route.Device) { l.before.Add(d.Lost()) }

// Closed adds the counters of a link that is closed to those of the gone ones.
func (l *Links) Closed(d *route.Device) {
	if d.Loopback {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone.add(d.Link.Stats())
}

// totals are the counters of several links.
type totals [len(names)]uint64

// names are the names of what totals adds up, in its order.
var names = [...]string{
	"LinkRxFrames", "LinkRxBytes", "LinkRxRingFull", "LinkRxTruncated",
	"LinkTxFrames", "LinkTxBytes", "LinkTxErrors", "LinkTxQueueFull", "LinkTxNoCarrier", "LinkReopened",
}

// add adds one link's counters.
func (t *totals) add(l link.Stats) {
	for i, n := range [len(names)]uint64{
		l.RxFrames, l.RxBytes, l.RxDropped, l.RxTruncated,
		l.TxFrames, l.TxBytes, l.TxErrors, l.TxDropped, l.TxLost, l.Reopened,
	} {
		t[i] += n
	}
}

// Each calls f for the counters of all links but the loopback's own, whose frames
// are on no wire; what its queue had no room for is "OutbandLoopbackQueueFull".
func (l *Links) Each(f func(name string, n uint64)) {
	l.mu.Lock()
	t, loopback := l.gone, uint64(0)
	l.mu.Unlock()
	for _, d := range l.devices() {
		if d.Loopback {
			loopback += d.Link.Stats().RxDropped
			continue
		}
		t.add(d.Link.Stats())
	}
	for i, n := range t {
		f(names[i], n)
	}
	f("OutbandLoopbackQueueFull", loopback)
}
