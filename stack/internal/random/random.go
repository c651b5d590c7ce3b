// Package random has a stack's unpredictable numbers.
package random

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"
)

// Read fills b with unpredictable bits. It asks the kernel itself: package crypto/rand brings
// all of a certified generator into a program.
func Read(b []byte) {
	for len(b) > 0 {
		n, err := unix.Getrandom(b, 0)
		if err == nil {
			b = b[n:]
		} else if err != unix.EINTR {
			panic("getrandom: " + err.Error()) // which Linux has since 3.17
		}
	}
}

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
		Read(s.bytes[:])
		s.left = len(s.bytes)
	}
	v := binary.NativeEndian.Uint64(s.bytes[len(s.bytes)-s.left:])
	s.left -= 8
	return v
}
