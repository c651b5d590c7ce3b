package stack

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

// queue holds the datagrams of one socket that nobody has asked for yet,
// oldest first. The leader appends, consumers take; neither needs the other's
// lock.
type queue struct {
	n     atomic.Int32 // datagrams queued, readable without mu
	drops atomic.Uint32
	limit atomic.Int64 // SO_RCVBUF: appends fail if more than this would be charged

	mu      sync.Mutex
	ring    []entry // a power of two long
	head    int
	charged int64 // as Linux charges: buffers and their overhead, not payload
	// reserved is how much of memory the queue has taken, at least charged.
	reserved int64
	memory   *receiveMemory
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

// charge returns what a datagram of n bytes weighs against SO_RCVBUF: what it
// weighs in Linux, on loopback and from a veth device.
func charge(n int) int64 {
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
		return charge(n)
	}
	piece := max(int(in.FragSize)-ipv4.MinHeaderLen, 8)
	whole, rest := (n+udp.HeaderLen)/piece, (n+udp.HeaderLen)%piece
	sum := int64(whole) * charge(piece-udp.HeaderLen)
	if rest > 0 {
		sum += charge(rest - udp.HeaderLen)
	}
	return sum
}

// headroom is the space that the headers in front of a payload take in a frame.
const headroom = link.HeaderLen + ipv4.MinHeaderLen + udp.HeaderLen

// push appends a copy of data. It returns false, and counts the drop, if the
// queue is full.
func (q *queue) push(pool *bufferPool, data []byte, in *Info) bool {
	weight := chargeReceived(len(data), in)
	q.mu.Lock()
	// As in Linux (6.18) an empty queue takes a datagram of any size.
	if q.charged > 0 && q.charged+weight > q.limit.Load() {
		q.mu.Unlock()
		q.drops.Add(1)
		return false
	}
	reserved, ok := q.memory.reserve(q.reserved, q.charged+weight)
	if !ok {
		q.mu.Unlock()
		q.drops.Add(1)
		return false
	}
	q.reserved = reserved
	n := int(q.n.Load())
	if n == len(q.ring) {
		q.growLocked(n)
	}
	e := &q.ring[(q.head+n)&(len(q.ring)-1)]
	e.info = *in
	e.data = pool.get(len(data))
	copy(e.data, data)
	q.charged += weight
	q.n.Store(int32(n + 1))
	q.mu.Unlock()
	return true
}

// growLocked doubles the ring, which holds n entries.
func (q *queue) growLocked(n int) {
	ring := make([]entry, max(4, 2*len(q.ring)))
	for i := range n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

// take moves queued datagrams to t until it is full or the queue is empty;
// with peek they stay queued. It returns false if there was none. left says that there is
// something for another call.
func (q *queue) take(pool *bufferPool, t *target, peek bool) (ok, left bool) {
	q.mu.Lock()
	n := int(q.n.Load())
	i := 0
	for ; i < n && !t.full(); i++ {
		e := &q.ring[(q.head+i)&(len(q.ring)-1)]
		t.store(e.data, &e.info)
		if !peek {
			q.charged -= chargeReceived(len(e.data), &e.info)
			pool.put(e.data)
			e.data = nil
		} else if len(e.data) == 0 {
			e.info.peeked = true
		}
	}
	if !peek && i > 0 {
		q.reserved = q.memory.release(q.reserved, q.charged)
		q.head = (q.head + i) & (len(q.ring) - 1)
		q.n.Store(int32(n - i))
	}
	q.mu.Unlock()
	return i > 0, n-i > 0 || peek && n > 0
}

// firstLen returns the length of the oldest datagram (FIONREAD, udp(7)).
func (q *queue) firstLen() (int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n.Load() == 0 {
		return 0, false
	}
	return len(q.ring[q.head].data), true
}

// purge drops all that is queued.
func (q *queue) purge(pool *bufferPool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range int(q.n.Load()) {
		pool.put(q.ring[(q.head+i)&(len(q.ring)-1)].data)
	}
	q.ring, q.head, q.charged = nil, 0, 0
	q.reserved = q.memory.releaseAll(q.reserved, 0)
	q.n.Store(0)
}

// peekAt stores the first datagram that reaches beyond an offset, from there on.
// As in Linux one without bytes is peeked at once.
func (q *queue) peekAt(t *target, off int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range int(q.n.Load()) {
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
