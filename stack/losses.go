package stack

import (
	"slices"
	"sync/atomic"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
)

// Frames that found no room in a link's ring are lost before anybody has looked whom
// they were for. So each socket that they may have been for is told of all of them:
// those of the interface that it is bound to, or of all interfaces, since it was
// opened, beside what its own queue had no room for. What a socket is told is the most
// that it may have lost, and 0 says that it has lost nothing; sums over sockets mean
// nothing, but those over the stack's counters do, where each frame is counted once.

// lossAccount is what a socket knows of the frames that links have lost. It is changed
// with the locks of all lanes held.
type lossAccount struct {
	from atomic.Pointer[route.Device] // nil: all interfaces
	base atomic.Uint64                // what does not count, modulo 2^64
}

// lost returns how many frames links have lost: d's, or with nil all that the stack
// has or had.
func (s *Stack) lost(d *route.Device) uint64 {
	if d != nil {
		return d.Lost()
	}
	sum := s.lostBefore.Load()
	for _, d := range s.routes.Net().Devices {
		sum += d.Lost()
	}
	return sum
}

// lost returns how many frames that may have been for the socket links have lost. A
// configuration that changes meanwhile may make it less for a moment: never below 0.
func (k *Endpoint) lost() uint32 {
	n := int64(k.s.lost(k.losses.from.Load()) - k.losses.base.Load())
	return uint32(max(n, 0))
}

// loseFromLocked makes the losses of the interface of that index, or of all, the
// socket's from now on. What was lost before stays as it is. The locks
// of all lanes are held.
func (k *Endpoint) loseFromLocked(index int32) {
	before := k.lost()
	d := k.s.routes.Net().ByIndex(index)
	k.losses.from.Store(d)
	k.losses.base.Store(k.s.lost(d) - uint64(before))
}

// Drops returns how many datagrams the full receive queue and the socket's filter have
// cost, and how many frames that may have been for it, or not, found no room in a
// link's ring since it was opened: the most that the socket has lost. It wraps around.
func (k *Endpoint) Drops() uint32 { return k.queue.Drops.Load() + k.lost() }

// storeNetworkLocked makes n the configuration. What the links of interfaces that are
// not in it have lost stays counted. The locks of all lanes are held.
func (s *Stack) storeNetworkLocked(n *route.Network) {
	for _, d := range s.routes.Net().Devices {
		if n.ByIndex(d.Index) != d {
			s.lostBefore.Add(d.Lost())
		}
	}
	s.routes.Set(n)
	all := interfacesOf(n)
	for _, l := range *s.lanes.all.Load() {
		l.interfaces = slices.DeleteFunc(slices.Clone(all), func(i *Interface) bool { return i.lane != l })
	}
}

// linkTotals are the counters of all links that the stack has or had.
type linkTotals [len(linkCounterNames)]uint64

// linkCounterNames are the names of what linkTotals adds up, in its order.
var linkCounterNames = [...]string{
	"LinkRxFrames", "LinkRxBytes", "LinkRxRingFull", "LinkRxTruncated",
	"LinkTxFrames", "LinkTxBytes", "LinkTxErrors", "LinkTxQueueFull", "LinkTxNoCarrier", "LinkReopened",
}

// add adds one link's counters.
func (t *linkTotals) add(l link.Stats) {
	for i, n := range [len(linkCounterNames)]uint64{
		l.RxFrames, l.RxBytes, l.RxDropped, l.RxTruncated,
		l.TxFrames, l.TxBytes, l.TxErrors, l.TxDropped, l.TxLost, l.Reopened,
	} {
		t[i] += n
	}
}

// linkCounters returns the counters of all links but the loopback's own, whose frames
// are on no wire; what its queue had no room for is "OutbandLoopbackQueueFull".
func (s *Stack) linkCounters() []Counter {
	s.goneMu.Lock()
	t, loopback := s.gone, uint64(0)
	s.goneMu.Unlock()
	for _, i := range s.Interfaces() {
		if i.dev.Loopback {
			loopback += i.dev.Link.Stats().RxDropped
			continue
		}
		t.add(i.dev.Link.Stats())
	}
	out := make([]Counter, 0, len(t)+1)
	for i, n := range t {
		out = append(out, Counter{linkCounterNames[i], n})
	}
	return append(out, Counter{"OutbandLoopbackQueueFull", loopback})
}

// keepCounters adds the counters of a link that is closed to those of the gone ones.
func (s *Stack) keepCounters(i *Interface) {
	if i.dev.Loopback {
		return
	}
	s.goneMu.Lock()
	defer s.goneMu.Unlock()
	s.gone.add(i.dev.Link.Stats())
}
