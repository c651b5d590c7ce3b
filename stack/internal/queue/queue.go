// Package queue holds what has come for a socket and was not asked for yet: datagrams
// and errors, the buffers they are in, and what bounds the memory of all of them.
package queue

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/udp"
)

// entry is a datagram in a queue.
type entry struct {
	info Info
	data []byte // the pool's
}

// Datagrams holds the datagrams of one socket that nobody has asked for yet,
// oldest first. The leader appends, consumers take; neither needs the other's
// lock.
type Datagrams struct {
	N     atomic.Int32  // datagrams queued, to be read without a lock
	Drops atomic.Uint32 // datagrams that found no room
	Limit atomic.Int64  // SO_RCVBUF: appends fail if more than this would be charged

	mu      sync.Mutex
	ring    []entry // a power of two long
	head    int
	charged int64 // as Linux charges: buffers and their overhead, not payload
	// reserved is how much of memory the queue has taken, at least charged.
	reserved int64
	Memory   *Memory // of all queues together
}

// What Linux 6.18 charges a socket for a datagram (skb->truesize) on 64-bit
// machines, in bytes.
const (
	skbOverhead = 256 // struct sk_buff
	skbHeadroom = 379 // the headers, rounded up, and struct skb_shared_info
	skbSmall    = 576 // the smallest buffer; larger ones are powers of two
	skbLargest  = 16384
	skbPaged    = 832 // what pages cost beside what is in them
)

// Charge returns what a datagram of n bytes weighs against SO_RCVBUF: what it
// weighs in Linux, on loopback and from a veth device.
func Charge(n int) int64 {
	switch need := n + skbHeadroom; {
	case need <= skbSmall:
		return skbSmall + skbOverhead
	case need <= skbLargest:
		return int64(1<<bits.Len(uint(need-1))) + skbOverhead
	default:
		return int64(n) + skbPaged
	}
}

// chargeReceived is charge for what has come: fragments weigh each for itself.
func chargeReceived(n int, in *Info) int64 {
	if in.FragSize == 0 {
		return Charge(n)
	}
	piece := max(int(in.FragSize)-ipv4.MinHeaderLen, 8)
	whole, rest := (n+udp.HeaderLen)/piece, (n+udp.HeaderLen)%piece
	sum := int64(whole) * Charge(piece-udp.HeaderLen)
	if rest > 0 {
		sum += Charge(rest - udp.HeaderLen)
	}
	return sum
}

// Headroom is the space that the headers in front of a payload take in a frame.
const Headroom = link.HeaderLen + ipv4.MinHeaderLen + udp.HeaderLen

// Push appends a copy of data. It returns false, and counts the drop, if the
// queue is full.
func (q *Datagrams) Push(pool *Pool, data []byte, in *Info) bool {
	weight := chargeReceived(len(data), in)
	q.mu.Lock()
	// As in Linux (6.18) an empty queue takes a datagram of any size.
	if q.charged > 0 && q.charged+weight > q.Limit.Load() {
		q.mu.Unlock()
		q.Drops.Add(1)
		return false
	}
	reserved, ok := q.Memory.reserve(q.reserved, q.charged+weight)
	if !ok {
		q.mu.Unlock()
		q.Drops.Add(1)
		return false
	}
	q.reserved = reserved
	n := int(q.N.Load())
	if n == len(q.ring) {
		q.growLocked(n)
	}
	e := &q.ring[(q.head+n)&(len(q.ring)-1)]
	e.info = *in
	e.data = pool.Get(len(data))
	copy(e.data, data)
	q.charged += weight
	q.N.Store(int32(n + 1))
	q.mu.Unlock()
	return true
}

// growLocked doubles the ring, which holds n entries.
func (q *Datagrams) growLocked(n int) {
	ring := make([]entry, max(4, 2*len(q.ring)))
	for i := range n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

// Take moves queued datagrams to t until it is full or the queue is empty;
// with peek they stay queued. It returns false if there was none. left says that there is
// something for another call.
func (q *Datagrams) Take(pool *Pool, t *Target, peek bool) (ok, left bool) {
	q.mu.Lock()
	n := int(q.N.Load())
	i := 0
	for ; i < n && !t.Full(); i++ {
		e := &q.ring[(q.head+i)&(len(q.ring)-1)]
		t.Store(e.data, &e.info)
		if !peek {
			q.charged -= chargeReceived(len(e.data), &e.info)
			pool.Put(e.data)
			e.data = nil
		} else if len(e.data) == 0 {
			e.info.peeked = true
		}
	}
	if !peek && i > 0 {
		q.reserved = q.Memory.release(q.reserved, q.charged)
		q.head = (q.head + i) & (len(q.ring) - 1)
		q.N.Store(int32(n - i))
	}
	q.mu.Unlock()
	return i > 0, n-i > 0 || peek && n > 0
}

// Charged returns what is charged for all that is queued, in bytes.
func (q *Datagrams) Charged() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.charged
}

// FirstLen returns the length of the oldest datagram (FIONREAD, udp(7)).
func (q *Datagrams) FirstLen() (int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.N.Load() == 0 {
		return 0, false
	}
	return len(q.ring[q.head].data), true
}

// Purge drops all that is queued.
func (q *Datagrams) Purge(pool *Pool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range int(q.N.Load()) {
		pool.Put(q.ring[(q.head+i)&(len(q.ring)-1)].data)
	}
	q.ring, q.head, q.charged = nil, 0, 0
	q.reserved = q.Memory.releaseAll(q.reserved, 0)
	q.N.Store(0)
}

// PeekAt stores the first datagram that reaches beyond an offset, from there on.
// As in Linux one without bytes is peeked at once.
func (q *Datagrams) PeekAt(t *Target, off int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range int(q.N.Load()) {
		e := &q.ring[(q.head+i)&(len(q.ring)-1)]
		if n := len(e.data); off >= n && (off > 0 || e.info.peeked) {
			off -= n
			continue
		}
		e.info.peeked = e.info.peeked || len(e.data) == 0
		t.storeFrom(e.data, off, &e.info)
		return true
	}
	return false
}
