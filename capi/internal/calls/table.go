package calls

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/sockapi"
)

// maxHandles is how many sockets and epolls there are at most.
const (
	chunkBits  = 10
	chunkSize  = 1 << chunkBits
	maxHandles = 64 << chunkBits
)

// An object is what a handle stands for: a socket or an epoll.
type object struct {
	socket *sockapi.Socket
	epoll  *sockapi.Epoll
	values values // of an epoll that PollCtl has filled
}

// close ends it.
func (o *object) close() error {
	if o.socket != nil {
		return o.socket.Close()
	}
	return o.epoll.Close()
}

type chunk [chunkSize]atomic.Pointer[object]

// A table gives objects numbers, the lowest that is free, as the kernel does.
type table struct {
	chunks [maxHandles / chunkSize]atomic.Pointer[chunk]

	mu   sync.Mutex // a leaf
	next int        // no lower one is free
}

// get returns what a handle stands for, nil if that is nothing. Hot: no lock.
func (t *table) get(h int) *object {
	if uint(h) >= maxHandles {
		return nil
	}
	c := t.chunks[h>>chunkBits].Load()
	if c == nil {
		return nil
	}
	return c[h&(chunkSize-1)].Load()
}

// add gives an object a number, -1 if there is none left.
func (t *table) add(o *object) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := t.next; h < maxHandles; h++ {
		c := t.chunks[h>>chunkBits].Load()
		if c == nil {
			c = new(chunk)
			t.chunks[h>>chunkBits].Store(c)
		}
		if slot := &c[h&(chunkSize-1)]; slot.Load() == nil {
			slot.Store(o)
			t.next = h + 1
			return h
		}
	}
	t.next = maxHandles
	return -1
}

// take frees a number, and returns what it stood for.
func (t *table) take(h int) *object {
	if t.get(h) == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = min(t.next, h)
	return t.chunks[h>>chunkBits].Load()[h&(chunkSize-1)].Swap(nil)
}

// takeAll frees all numbers.
func (t *table) takeAll() (all []*object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = 0
	for i := range t.chunks {
		c := t.chunks[i].Load()
		if c == nil {
			break
		}
		for j := range c {
			if o := c[j].Swap(nil); o != nil {
				all = append(all, o)
			}
		}
	}
	return all
}
