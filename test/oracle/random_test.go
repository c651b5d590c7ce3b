package oracle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestSequences compares random sequences of calls for OUTBAND_ORACLE_SECONDS,
// 3 if it is not set. They are the same each time, so that a change is judged by
// what it changes; with another OUTBAND_ORACLE_SEED they are others, and with -1
// always new ones.
func TestSequences(t *testing.T) {
	j := &Judge{Linux: NewStage(t, NewInBand(t)), Ours: NewStage(t, NewPipe(t))}
	end := time.Now().Add(time.Duration(setting(t, "OUTBAND_ORACLE_SECONDS", 3) * float64(time.Second)))
	seed := uint64(int64(setting(t, "OUTBAND_ORACLE_SEED", 1)))
	if int64(seed) == -1 {
		seed = uint64(time.Now().UnixNano() % 1e9)
	}
	n := 0
	for ; time.Now().Before(end); n++ {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		top := []Topology{Wire, Loopback, Own}[n%3]
		q := NewSequence(rng, 5+rng.IntN(30))
		diff := j.Compare(top, q.Run, true)
		j.Steady(t, &Case{Name: fmt.Sprintf("seed %d, sequence %d: %s\n", seed, n, q)})
		if diff == "" {
			continue
		}
		q = q.Shorten(func(q Sequence) bool { return j.Compare(top, q.Run, false) != "" })
		t.Errorf("seed %d, sequence %d: %s\n%s", seed, n, q, j.Compare(top, q.Run, false))
		if t.Failed() {
			break
		}
	}
	t.Logf("seed %d: %d sequences, %d calls compared with Linux", seed, n, j.Calls)
}

// setting returns a number of the environment.
func setting(t *testing.T, name string, otherwise float64) float64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
	return v
}
