// Package recent remembers which sockets sent to which destinations lately.
package recent

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/outband/outband/ipv4"
)

// sets times ways is how many destinations are remembered, four bytes each. The sets
// are a power of two.
const (
	sets = 1 << 12
	ways = 4
)

// Destinations remembers which sockets sent to whom lately: an ICMP error
// about a datagram to anybody else is forged. A server has many peers, so all
// sockets share one table, in which new ones push out old ones; it is asked for
// errors only, and written to when a path is made. Its methods may be called by any goroutines at once.
type Destinations struct {
	secret uint64
	sets   [sets][ways]atomic.Uint32
}

// Init makes ready. With a secret that is random nobody outside knows which destinations
// push out which.
func (r *Destinations) Init(secret uint64) { r.secret = secret }

// place returns the set of a destination, and what stands there for it: never 0.
func (r *Destinations) place(socket uint64, dst ipv4.Addr) (set *[ways]atomic.Uint32, tag uint32) {
	h := (socket<<32 ^ uint64(binary.BigEndian.Uint32(dst[:])) ^ r.secret) * 0x9e3779b97f4a7c15
	h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
	return &r.sets[h>>52], uint32(h) | 1
}

// Add notes that a socket sends to dst.
func (r *Destinations) Add(socket uint64, dst ipv4.Addr) {
	set, tag := r.place(socket, dst)
	free := tag >> 1 % ways // if the set is full, any of them goes
	for i := range set {
		switch set[i].Load() {
		case tag:
			return
		case 0:
			free = uint32(i)
		}
	}
	set[free].Store(tag)
}

// Has reports whether the socket sent to dst lately.
func (r *Destinations) Has(socket uint64, dst ipv4.Addr) bool {
	set, tag := r.place(socket, dst)
	for i := range set {
		if set[i].Load() == tag {
			return true
		}
	}
	return false
}
