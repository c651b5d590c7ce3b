package claim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// AttachFilter has a packet socket, of type SOCK_RAW, take only what is claimed, ARP,
// and what ICMP says of claims: before it is bound, so that it never takes anything else.
// Doing it again does no harm.
func (c *Claims) AttachFilter(fd int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errClosed
	case c.filter == nil:
		return fmt.Errorf("the ring's filter: %w", c.why)
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, c.filter.FD())
}

// RemoveFilter forgets a packet socket. Call it before the descriptor is closed.
func (c *Claims) RemoveFilter(fd int) {}
