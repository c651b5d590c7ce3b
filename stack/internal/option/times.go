package option

import (
	"sync"
	"sync/atomic"
)

// IOTimes says when a datagram passed three points on its way, in nanoseconds of
// CLOCK_MONOTONIC; 0 where nobody looked (EVL's struct evl_net_iotimes).
//
// On receive: the device had it, a receiver took it from the link, it was given
// to its socket. On send: the link had taken it, it was handed to the link, the
// call began.
type IOTimes struct{ Device, Queuing, Delivery int64 }

// maxTransmitTimes is how many records a socket keeps.
const maxTransmitTimes = 256

// SentTimes are the records of what a socket has sent, oldest first, while they are kept:
// the zero value keeps none.
type SentTimes struct {
	on atomic.Bool
	n  atomic.Int32 // records kept; changed with mu held

	mu   sync.Mutex
	ring []IOTimes // maxTransmitTimes long, from the first use on
	head int
	lost bool
}

// Keep says whether records are kept. Those of before are dropped.
func (x *SentTimes) Keep(on bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if on && x.ring == nil {
		x.ring = make([]IOTimes, maxTransmitTimes)
	}
	x.on.Store(on)
	x.head, x.lost = 0, false
	x.n.Store(0)
}

// Kept reports whether records are kept.
func (x *SentTimes) Kept() bool { return x.on.Load() }

// Len returns how many records there are.
func (x *SentTimes) Len() int { return int(x.n.Load()) }

// Push adds a record. If there is no room it is lost, and the next reader is told.
func (x *SentTimes) Push(t IOTimes) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := int(x.n.Load())
	if !x.on.Load() || n == len(x.ring) {
		x.lost = x.lost || x.on.Load()
		return
	}
	x.ring[(x.head+n)%len(x.ring)] = t
	x.n.Store(int32(n + 1))
}

// Pop takes the oldest records and returns how many; lost says that some have been lost
// since it was last called.
func (x *SentTimes) Pop(times []IOTimes) (n int, lost bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	have := int(x.n.Load())
	for n < have && n < len(times) {
		times[n] = x.ring[x.head]
		x.head = (x.head + 1) % len(x.ring)
		n++
	}
	x.n.Store(int32(have - n))
	lost, x.lost = x.lost, false
	return n, lost
}
