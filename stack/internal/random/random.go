// Package random has a stack's unpredictable numbers.
package random

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
)

// A Source gives unpredictable bits, of which it fetches many at once. The zero Source is
// of use. Its methods may be called by any goroutines at once.
type Source struct {
	mu    sync.Mutex // a leaf
	bytes [256]byte
	left  int // of bytes, at their end
}

// Next returns unpredictable bits.
func (s *Source) Next() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		rand.Read(s.bytes[:])
		s.left = len(s.bytes)
	}
	v := binary.NativeEndian.Uint64(s.bytes[len(s.bytes)-s.left:])
	s.left -= 8
	return v
}
