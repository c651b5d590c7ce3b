package route

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/outband/outband/ipv4"
)

// Generations tell whether cached paths still hold. What strangers can bring about
// changes the generation of one destination only, which that shares with some others
// that nobody can foretell: else one forged ICMP error would cost every socket of the
// stack a look at the routes.
type Generations struct {
	config atomic.Uint32 // changes with the configuration
	secret uint64
	slots  [1 << generationBits]atomic.Uint32
}

const generationBits = 8

// Of returns the generation of the paths to a destination.
func (g *Generations) Of(dst ipv4.Addr) *atomic.Uint32 { return &g.slots[g.slot(dst)] }

// slot mixes the secret and all of the address into each bit (the finalizer of
// SplitMix64): neighbouring addresses meet no more often than any others.
func (g *Generations) slot(dst ipv4.Addr) uint64 {
	h := uint64(binary.NativeEndian.Uint32(dst[:])) ^ g.secret
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h >> (64 - generationBits)
}

// Config returns the generation of the configuration.
func (g *Generations) Config() uint32 { return g.config.Load() }

// Changed says that any path may have become wrong.
func (g *Generations) Changed() {
	g.config.Add(1)
	for i := range g.slots {
		g.slots[i].Add(1)
	}
}

// ChangedTo says that paths to one destination may have become wrong.
func (g *Generations) ChangedTo(dst ipv4.Addr) { g.Of(dst).Add(1) }
