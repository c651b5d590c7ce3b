package stack

import (
	"encoding/binary"
	"github.com/outband/outband/ipv4"
	"sync/atomic"
)

// generations tell whether cached paths still hold. What strangers can bring about
// changes the generation of one destination only, which that shares with some others
// that nobody can foretell: else one forged ICMP error would cost every socket of the
// stack a look at the routes.
type generations struct {
	config atomic.Uint32 // changes with the configuration
	secret uint64        // odd
	slots  [1 << generationBits]atomic.Uint32
}

const generationBits = 8

// of returns the generation of the paths to a destination.
func (g *generations) of(dst ipv4.Addr) *atomic.Uint32 {
	return &g.slots[uint64(binary.NativeEndian.Uint32(dst[:]))*g.secret>>(64-generationBits)]
}

// changed says that any path may have become wrong.
func (g *generations) changed() {
	g.config.Add(1)
	for i := range g.slots {
		g.slots[i].Add(1)
	}
}

// changedTo says that paths to one destination may have become wrong.
func (g *generations) changedTo(dst ipv4.Addr) { g.of(dst).Add(1) }
