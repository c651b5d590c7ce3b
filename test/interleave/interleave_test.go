package interleave

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

var (
	bound  = flag.Duration("interleave.for", 15*time.Second, "how long to try programs made by chance")
	seed   = flag.Uint64("interleave.seed", 1, "of programs made by chance")
	most   = flag.Int("interleave.failures", 3, "how many programs that differ to look for")
	length = flag.Int("interleave.steps", 25, "how many steps a program has at most")
)

// TestRandom compares programs made by chance, the same each time. One that differs is
// shortened, and shown as text: it belongs into testdata/seeds when it is mended.
func TestRandom(t *testing.T) {
	j := NewJudge(t)
	failed := 0
	for i, end := uint64(0), time.Now().Add(*bound); time.Now().Before(end) && failed < *most; i++ {
		r := rand.New(rand.NewPCG(*seed, i))
		p := Random(r, 1+r.IntN(*length))
		if j.Compare(t, p) == "" {
			continue
		}
		failed++
		p = p.Shorten(func(p Program) bool { return j.once(t, p) != "" })
		t.Errorf("seed %d, program %d:\n%s\n%s", *seed, i, p, j.once(t, p))
	}
	t.Logf("%d programs, %d lines compared with Linux, %d unsteady", j.Programs, j.Lines, j.Unsteady)
	if j.Unsteady > 0 {
		t.Errorf("%d differences did not come again", j.Unsteady)
	}
}

// seeds returns the programs that failed once, by the names of their files.
func seeds(t testing.TB) map[string]Program {
	t.Helper()
	files, err := filepath.Glob("testdata/seeds/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]Program)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = p
	}
	return all
}

// TestSeeds compares the programs that failed once.
func TestSeeds(t *testing.T) {
	j := NewJudge(t)
	for name, p := range seeds(t) {
		if diff := j.Compare(t, p); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// FuzzInterleave compares programs that are steered by what of the stack they reach:
//
//	go test ./test/interleave -run - -fuzz Interleave -parallel 1 -fuzztime 60s -fuzzminimizetime 1x
func FuzzInterleave(f *testing.F) {
	j := NewJudge(f)
	for _, p := range seeds(f) {
		f.Add(p.Encode())
	}
	for i := range uint64(50) {
		f.Add(Random(rand.New(rand.NewPCG(i, 0)), maxSteps).Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Decode(b)
		if diff := j.Compare(t, p); diff != "" {
			t.Errorf("%s\n%s", p, diff)
		}
	})
}

// What is written as text, or as bytes, is read as the same.
func TestProgramText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		p := Random(r, r.IntN(maxSteps))
		text, err := Parse(p.String())
		if err != nil || text.String() != p.String() {
			t.Fatalf("%v: %q as text is %q", err, p, text)
		}
		if b := Decode(p.Encode()); b.String() != p.String() {
			t.Fatalf("%q as bytes is %q", p, b)
		}
	}
}
