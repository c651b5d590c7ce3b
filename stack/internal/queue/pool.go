package queue

import (
	"math/bits"
	"sync"
)

// Pool recycles the memory in which datagrams queue and frames are
// built, in classes of powers of two. The last buffer given back is the next
// one taken, so a queue that is short stays in the cache.
type Pool struct {
	mu   sync.Mutex
	free [poolClasses][][]byte
	Held int // bytes in free
	Max  int // of held
}

const (
	minBuffer   = 512       // the smallest class in bytes
	poolClasses = 9         // 512 B to 128 KiB
	maxBuffer   = 128 << 10 // the largest class in bytes
)

// bufferClass returns the class of buffers that hold n bytes.
func bufferClass(n int) int {
	if n <= minBuffer {
		return 0
	}
	return bits.Len(uint(n-1)) - 9
}

// Get returns a buffer of length n, with whatever it held before.
func (p *Pool) Get(n int) []byte {
	if n > maxBuffer {
		return make([]byte, n)
	}
	class := bufferClass(n)
	p.mu.Lock()
	if list := p.free[class]; len(list) > 0 {
		b := list[len(list)-1]
		p.free[class] = list[:len(list)-1]
		p.Held -= cap(b)
		p.mu.Unlock()
		return b[:n]
	}
	p.mu.Unlock()
	return make([]byte, n, minBuffer<<class)
}

// Put gives back a buffer that get returned. Other memory, and none at all, is left
// to the garbage collector: what get returns next must have room for what it asks for.
func (p *Pool) Put(b []byte) {
	class := bufferClass(cap(b))
	if class >= poolClasses || cap(b) != minBuffer<<class {
		return
	}
	p.mu.Lock()
	if p.Held+cap(b) <= p.Max {
		p.free[class] = append(p.free[class], b)
		p.Held += cap(b)
	}
	p.mu.Unlock()
}
