package holder

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/namespace"
)

// A Holders is all in-band sockets that hold one stack's ports in one network namespace.
// Its methods, and those of its Holds, may be called by several goroutines at once.
//
// Locking: mu is held while a socket is opened, changed or closed, and is taken first;
// the receiver's lock guards the table of those that are received from, and is never held
// while a socket is bound.
type Holders struct {
	space *namespace.Namespace

	mu     sync.Mutex
	closed bool
	rings  []int32
	own    [][4]byte // nil: not known
	many   [][4]byte // broadcast addresses
	// filters are those of sockets bound to an address, of others, and of ports that others
	// may have too.
	filters struct{ bound, wild, shared []unix.SockFilter }
	joined  map[Request]*socket // those that a Hold with the same request joins; Port is the one that is held

	rx receiver
}

// Open makes a Holders for the calling thread's network namespace: all its sockets are
// opened there. It takes no privilege. The error wraps a unix errno.
func Open() (*Holders, error) {
	space, err := namespace.Current()
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	h := &Holders{space: space, joined: make(map[Request]*socket)}
	h.assembleLocked()
	if err := h.rx.open(); err != nil {
		space.Close()
		return nil, fmt.Errorf("holder: %w", err)
	}
	return h, nil
}

// Hold holds a port. The errno is what bind(2), or the setsockopt(2) before it, returns
// in-band: EADDRINUSE, EACCES (a port below 1024), EADDRNOTAVAIL, EPERM (Transparent),
// EMFILE, ...; ENOPROTOOPT: the kernel (before 6.3) knows no PortLow and PortHigh.
func (h *Holders) Hold(r Request) (*Hold, unix.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, unix.EBADF
	}
	if s := h.joined[r]; s != nil {
		s.holds++
		return &Hold{h: h, s: s}, 0
	}
	s, e := h.openLocked(r, false)
	if e != 0 {
		return nil, e
	}
	h.letJoinLocked(s)
	return &Hold{h: h, s: s}, 0
}

// letJoinLocked lets other Holds join a socket, if that may be.
func (h *Holders) letJoinLocked(s *socket) {
	key := s.key()
	if !s.asked.ReusePort || h.joined[key] != nil {
		s.alone = true
		return
	}
	h.joined[key] = s
}

// key is the request by which others join a socket.
func (s *socket) key() Request {
	r := s.asked
	r.Port = s.port
	return r
}

// keepOffLocked keeps other Holds off a socket.
func (h *Holders) keepOffLocked(s *socket) {
	if !s.alone {
		delete(h.joined, s.key())
		s.alone = true
	}
}

// SetRings says by which devices what comes is the stack's rings' to receive, by their
// indexes, all of them each time. E2BIG: more than MaxRings. The error wraps the errno of
// the first socket whose filter could not be replaced; the others' were.
func (h *Holders) SetRings(indexes []int32) error {
	if len(indexes) > MaxRings {
		return fmt.Errorf("holder: %d devices with a ring, more than %d: %w", len(indexes), MaxRings, unix.E2BIG)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return unix.EBADF
	}
	h.rings = slices.Clone(indexes)
	h.rx.setRings(h.rings)
	h.assembleLocked()
	return h.attachAllLocked(func(*socket) bool { return true })
}

// SetAddresses says which addresses the host has, and to which others, beside
// 255.255.255.255 and groups, datagrams are for every socket: all of them each time. Of what
// comes by a device with a ring, those are the ring's. E2BIG: more than MaxAddresses, and the
// ring is taken to have them all. Else the error is as that of SetRings.
func (h *Holders) SetAddresses(own, broadcasts [][4]byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return unix.EBADF
	}
	var many error
	if n := len(own) + len(broadcasts); n > MaxAddresses {
		many = fmt.Errorf("holder: %d addresses, more than %d: %w", n, MaxAddresses, unix.E2BIG)
		own, broadcasts = nil, broadcasts[:min(len(broadcasts), MaxAddresses)]
	}
	if slices.Equal(own, h.own) && slices.Equal(broadcasts, h.many) {
		return many
	}
	h.own, h.many = slices.Clone(own), slices.Clone(broadcasts)
	h.assembleLocked()
	return cmp.Or(many, h.attachAllLocked(func(s *socket) bool { return s.shared || s.wild() }))
}

// assembleLocked makes the filters.
func (h *Holders) assembleLocked() {
	h.filters.bound = ringFilter(h.rings)
	h.filters.wild = h.filters.bound
	if len(h.own) > 0 {
		h.filters.wild = wildFilter(h.rings, h.own, h.many)
	}
	h.filters.shared = sharedFilter(h.rings, h.many)
}

// attachAllLocked replaces the filters of some sockets.
func (h *Holders) attachAllLocked(which func(*socket) bool) (failed error) {
	for _, s := range h.rx.all() {
		if !which(s) {
			continue
		}
		if err := attach(s.fd, h.filterLocked(s)); err != nil && failed == nil {
			failed = fmt.Errorf("holder: filter of port %d: %w", s.port, err)
		}
	}
	return failed
}

// filterLocked returns a socket's filter.
func (h *Holders) filterLocked(s *socket) []unix.SockFilter {
	switch {
	case s.shared:
		return h.filters.shared
	case s.wild():
		return h.filters.wild
	}
	return h.filters.bound
}

// FD returns an epoll(7) descriptor that is readable while there is something to Receive,
// -1 after Close. It stays the Holders'.
func (h *Holders) FD() int { return int(h.rx.fd.Load()) }

// Close closes all sockets: the ports are free, and the Holds are of no use any more.
// Another Close does nothing.
func (h *Holders) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	var errs []error
	for _, s := range h.rx.close() {
		errs = append(errs, unix.Close(s.fd))
	}
	clear(h.joined)
	errs = append(errs, h.space.Close())
	return errors.Join(errs...)
}

// all returns the sockets of the table.
func (r *receiver) all() []*socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.table), func(s *socket) bool { return s == nil })
}
