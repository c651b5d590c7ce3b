package queue

import "testing"

// TestPoolTakesAnything gives the pool what is none of its buffers: what comes out
// after that has the length that was asked for.
func TestPoolTakesAnything(t *testing.T) {
	p := Pool{Max: 1 << 20}
	for _, b := range [][]byte{nil, {}, make([]byte, 0, 1), make([]byte, 511), make([]byte, 513), make([]byte, 1000, 1023),
		make([]byte, maxBuffer-1), make([]byte, maxBuffer+1), make([]byte, 2*maxBuffer), make([]byte, 4*maxBuffer), p.Get(maxBuffer + 1)} {
		for range 3 {
			p.Put(b)
		}
	}
	if p.Held != 0 {
		t.Errorf("it holds %d bytes that are not of its own", p.Held)
	}
	for n := 0; n <= 2*maxBuffer; n = max(n+1, n*17/16) {
		b := p.Get(n)
		if len(b) != n {
			t.Fatalf("get(%d) returned %d bytes", n, len(b))
		}
		p.Put(b)
	}
	if p.Held > p.Max {
		t.Errorf("it holds %d bytes, more than %d", p.Held, p.Max)
	}
}
