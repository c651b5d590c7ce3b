package random

import "testing"

// TestNext fetches bits several times over: none come twice.
func TestNext(t *testing.T) {
	var s Source
	seen := make(map[uint64]bool)
	for n := range 200 {
		v := s.Next()
		if seen[v] {
			t.Fatalf("%x came twice, the second time after %d others", v, n)
		}
		seen[v] = true
	}
}
