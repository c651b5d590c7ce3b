package route

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/outband/outband/ipv4"
)

// Whatever the secret, the addresses of one network meet in a generation about as often
// as chance has it.
func TestGenerationsSpread(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, stride := range []uint32{1, 2, 16, 256, 65536} {
		for range 2000 {
			g := Generations{secret: r.Uint64()}
			met, base := 0, r.Uint32()
			of := func(i uint32) uint64 {
				var a ipv4.Addr
				binary.BigEndian.PutUint32(a[:], base+i*stride)
				return g.slot(a)
			}
			for i := range uint32(64) {
				if i > 0 && of(i) == of(0) {
					met++
				}
			}
			if met > 7 { // 1/4 on average
				t.Fatalf("secret %#x: %d of 63 addresses, %d apart, share the generation of the first", g.secret, met, stride)
			}
		}
	}
}
