package memory

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// Modes counts how often each mode of a link was asked for. The zero value has
// none on. Any goroutine may use it.
type Modes struct {
	mu     sync.Mutex
	counts [link.Modes]int
}

// Add turns a mode on once more. EINVAL: there is no such mode.
func (m *Modes) Add(mode link.Mode) error {
	if mode >= link.Modes {
		return unix.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[mode]++
	return nil
}

// Drop undoes one Add. EADDRNOTAVAIL: the mode is not on.
func (m *Modes) Drop(mode link.Mode) error {
	if mode >= link.Modes {
		return unix.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts[mode] == 0 {
		return unix.EADDRNOTAVAIL
	}
	m.counts[mode]--
	return nil
}

// Count returns how often a mode is on.
func (m *Modes) Count(mode link.Mode) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[mode]
}
