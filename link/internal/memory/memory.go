// Package memory is what the links that live in memory have in common: a bounded
// queue of frames over recycled buffers, and what a network device would do with
// a frame in hardware (tell to whom it is addressed, fill in checksums, cut
// GSO packets).
//
// Nothing here locks but [Groups] and [Modes]; the link that owns a value does.
package memory

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
)

// TypeOf returns how a received frame of at least [link.HeaderLen] bytes is
// addressed, for a device whose own address is own (eth_type_trans in Linux).
func TypeOf(frame []byte, own link.MAC) link.PacketType {
	dst := ether.Header(frame).Destination()
	switch {
	case dst == own:
		return link.Host
	case !dst.IsGroup():
		return link.OtherHost
	case dst == ether.Broadcast:
		return link.Broadcast
	default:
		return link.Multicast
	}
}

// Groups counts the memberships of multicast hardware addresses. The zero value
// has none. Any goroutine may use it.
type Groups struct {
	mu     sync.Mutex
	counts map[link.MAC]int
}

// Join adds a membership. It returns EINVAL for an address that is no group.
func (g *Groups) Join(group link.MAC) error {
	if group[0]&1 == 0 {
		return unix.EINVAL
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.counts == nil {
		g.counts = make(map[link.MAC]int)
	}
	g.counts[group]++
	return nil
}

// Leave takes a membership back. It returns EADDRNOTAVAIL if there is none.
func (g *Groups) Leave(group link.MAC) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch n := g.counts[group]; {
	case n == 0:
		return unix.EADDRNOTAVAIL
	case n == 1:
		delete(g.counts, group)
	default:
		g.counts[group] = n - 1
	}
	return nil
}

// Counts returns the groups that are joined, and how often each is: a copy.
func (g *Groups) Counts() map[link.MAC]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	counts := make(map[link.MAC]int, len(g.counts))
	for group, n := range g.counts {
		counts[group] = n
	}
	return counts
}
