package memory

import "github.com/outband/outband/link"

// A Pool recycles frame buffers in classes of size. What it keeps is bounded, so
// that a burst does not stay in memory for ever; what is beyond is the garbage
// collector's.
type Pool struct {
	free [len(classes)][][]byte
}

// classes are the sizes of a Pool's buffers in bytes: a small datagram, a frame of
// the usual MTU, one of a jumbo MTU, and the longest IPv4 datagram with its
// Ethernet header and a tag.
var classes = [...]int{256, 2048, 16 << 10, 65536 + 64}

// keepBytes is how much idle memory a Pool keeps in each class.
const keepBytes = 512 << 10

// Get returns a buffer of n bytes with arbitrary content.
func (p *Pool) Get(n int) []byte {
	for c, size := range classes {
		if n > size {
			continue
		}
		if k := len(p.free[c]); k > 0 {
			b := p.free[c][k-1]
			p.free[c] = p.free[c][:k-1]
			return b[:n]
		}
		return make([]byte, n, size)
	}
	return make([]byte, n)
}

// Put gives back a buffer from Get; it may have been cut in length, but not at
// the front. Get returns the one given back last, which is the one most likely
// to be in the processor's cache.
func (p *Pool) Put(b []byte) {
	for c, size := range classes {
		if cap(b) == size {
			if len(p.free[c])*size < keepBytes {
				p.free[c] = append(p.free[c], b)
			}
			return
		}
	}
}

// Kept returns how many bytes of idle buffers the pool holds.
func (p *Pool) Kept() int {
	n := 0
	for c, size := range classes {
		n += len(p.free[c]) * size
	}
	return n
}

// A Queue is a bounded queue of copied frames, and the receiving half of a link:
// Pop hands out views, Release takes them back.
type Queue struct {
	Pool Pool

	maxFrames, maxBytes int

	ring  []link.Frame // a power of two long
	head  int          // index of the oldest
	n     int          // frames queued
	bytes int          // bytes queued

	out [][]byte // handed out by the last Pop
}

// NewQueue returns a queue that holds at most the given number of frames and of
// bytes. It takes memory only as it is used.
func NewQueue(maxFrames, maxBytes int) Queue {
	return Queue{maxFrames: maxFrames, maxBytes: maxBytes}
}

// Len returns how many frames are queued.
func (q *Queue) Len() int { return q.n }

// Push copies a frame to the end of the queue. It returns false if the queue is
// full. A queue that is empty takes a frame of any length.
func (q *Queue) Push(data []byte, meta *link.Meta) bool {
	if q.n >= q.maxFrames || q.bytes+len(data) > q.maxBytes && q.n > 0 {
		return false
	}
	if q.n == len(q.ring) {
		q.grow()
	}
	b := q.Pool.Get(len(data))
	copy(b, data)
	slot := &q.ring[(q.head+q.n)&(len(q.ring)-1)]
	slot.Data, slot.Meta = b, *meta
	q.n++
	q.bytes += len(data)
	return true
}

// grow doubles the ring.
func (q *Queue) grow() {
	ring := make([]link.Frame, max(16, 2*len(q.ring)))
	k := copy(ring, q.ring[q.head:])
	copy(ring[k:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

// Pop moves the oldest frames out, as [link.Link.Receive] does.
func (q *Queue) Pop(frames []link.Frame) int {
	n := min(q.n, len(frames))
	mask := len(q.ring) - 1
	for i := range frames[:n] {
		slot := &q.ring[(q.head+i)&mask]
		frames[i] = *slot
		q.out = append(q.out, slot.Data)
		q.bytes -= len(slot.Data)
		slot.Data = nil
	}
	q.head = (q.head + n) & mask
	q.n -= n
	return n
}

// Release takes back what the last Pop handed out.
func (q *Queue) Release() {
	for i, b := range q.out {
		q.Pool.Put(b)
		q.out[i] = nil
	}
	q.out = q.out[:0]
}

// Clear drops all frames that are queued, and all idle memory.
func (q *Queue) Clear() {
	q.Pool = Pool{}
	q.ring, q.head, q.n, q.bytes = nil, 0, 0, 0
}
