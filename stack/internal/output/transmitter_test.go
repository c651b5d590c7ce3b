package output

import (
	"testing"

	"github.com/outband/outband/link"
)

// countedFaults is a Host that counts the panics that were contained.
type countedFaults struct {
	Host
	n int
}

func (h *countedFaults) Fault(any) { h.n++ }

// A panic is contained whether anything was built in the Buffer or not: one that nothing
// was ever built in has no way out.
func TestContain(t *testing.T) {
	for _, built := range []int{0, 1} {
		h := &countedFaults{}
		tx := &Buffer{t: &Transmitter{Config: Config{Host: h}}, Failed: 1, Midway: true}
		if built > 0 {
			tx.To = &WayOut{Dev: &Device{}}
			tx.Batch, tx.Ends = make([]link.TxFrame, built), make([]frameEnd, built)
		}
		func() {
			defer tx.contain()
			panic("mistake")
		}()
		if h.n != 1 || len(tx.Batch) != 0 || tx.Failed != 0 || tx.Midway {
			t.Errorf("%d built: %d faults, %d frames left, %v, midway %v", built, h.n, len(tx.Batch), tx.Failed, tx.Midway)
		}
	}
}
