// Package membership makes the kernel a member of groups for a stack that shares the
// kernel's addresses: so it is the kernel that reports them to routers (RFC 3376), and two
// stacks never contradict each other from one address.
//
// A membership is an option of an in-band UDP socket that is bound to no port and so
// receives nothing. A socket has at most net.ipv4.igmp_max_memberships of them (20), so
// there are as many sockets as it takes.
package membership

import (
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/internal/namespace"
)

// Groups are memberships in one network namespace. It keeps as many of them as it is told
// of: whoever does bounds them. Its methods may be called by several goroutines at once.
type Groups struct {
	space      *namespace.Namespace
	maxSources int // of one membership: net.ipv4.igmp_max_msf

	mu      sync.Mutex // guards what follows
	closed  bool
	sockets []*socket
	held    map[key]*held
}

// A key is a group on a device.
type key struct {
	group  [4]byte
	device int32
}

// A held is a group of which there are members: the parts together are its filter. There
// is more than one only if it has more sources than a membership may.
type held struct {
	filter Filter
	parts  []part
}

// A part is the membership of one socket.
type part struct {
	socket *socket
	filter Filter
}

// Open makes Groups in the calling thread's network namespace, where other threads open
// sockets later: those of another namespace need CAP_SYS_ADMIN for it.
func Open() (*Groups, error) {
	space, err := namespace.Current()
	if err != nil {
		return nil, err
	}
	return &Groups{space: space, maxSources: maxSources(), held: map[key]*held{}}, nil
}

// Set says what is wanted of a group on a device, for all of the caller's sockets together;
// NotMember ends it. The kernel merges that with what others on the host want. The error
// is the errno that setsockopt(2) gives an in-band socket, ENODEV without the device for
// one; then what was wanted before still is.
func (g *Groups) Set(group [4]byte, device int32, f Filter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return unix.ENETDOWN
	case device <= 0:
		return unix.ENODEV
	}
	return g.setLocked(key{group, device}, f.normal())
}

func (g *Groups) setLocked(k key, f Filter) error {
	h := g.held[k]
	if h == nil {
		h = &held{filter: NotMember}
	}
	err := g.applyLocked(k, h, f)
	if err != nil {
		g.applyLocked(k, h, h.filter)
	} else {
		h.filter = f
	}
	if len(h.parts) == 0 {
		delete(g.held, k)
	} else {
		g.held[k] = h
	}
	g.tidyLocked()
	return err
}

// applyLocked makes a group's parts a filter. What widens goes first, so that no source
// that is wanted before and afterwards is blocked between.
func (g *Groups) applyLocked(k key, h *held, f Filter) error {
	wanted := plan(h.parts, f, g.maxSources)
	for _, f := range wanted[len(h.parts):] {
		s, err := g.newPartLocked(k, f)
		if err != nil {
			return err
		}
		h.parts = append(h.parts, part{s, f})
	}
	for i := range h.parts {
		p := &h.parts[i]
		if !wanted[i].member() || p.filter.equal(wanted[i]) {
			continue
		}
		if err := p.socket.filter(k, wanted[i]); err != nil {
			return err
		}
		p.filter = wanted[i]
	}
	for i := len(h.parts) - 1; i >= 0; i-- {
		if !wanted[i].member() {
			h.parts[i].socket.leave(k)
			h.parts = slices.Delete(h.parts, i, i+1)
		}
	}
	return nil
}

// newPartLocked makes one more membership of a group.
func (g *Groups) newPartLocked(k key, f Filter) (*socket, error) {
	s, err := g.joinLocked(k, f)
	if err != nil || f.joined() {
		return s, err
	}
	if err := s.filter(k, f); err != nil {
		s.leave(k)
		return nil, err
	}
	return s, nil
}

// joinLocked has a socket join a group that is not a member of it yet.
func (g *Groups) joinLocked(k key, f Filter) (*socket, error) {
	for _, s := range g.sockets {
		if s.full || s.groups[k] {
			continue
		}
		err := s.join(k, f)
		if err == nil {
			return s, nil
		}
		if err != unix.ENOBUFS {
			return nil, err
		}
		s.full = true
	}
	s, err := g.openLocked()
	if err != nil {
		return nil, err
	}
	return s, s.join(k, f)
}

func (g *Groups) openLocked() (*socket, error) {
	s := &socket{groups: map[key]bool{}}
	err := g.space.Do(func() (err error) {
		s.fd, err = descriptor.Raised(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("a socket for memberships: %w", err)
	}
	g.sockets = append(g.sockets, s)
	return s, nil
}

// tidyLocked closes sockets without memberships.
func (g *Groups) tidyLocked() {
	g.sockets = slices.DeleteFunc(g.sockets, func(s *socket) bool {
		if len(s.groups) == 0 {
			unix.Close(s.fd)
			return true
		}
		return false
	})
}

// Own returns how many memberships a group on a device has: as many as /proc/net/igmp
// counts of its users.
func (g *Groups) Own(group [4]byte, device int32) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.held[key{group, device}]; h != nil {
		return len(h.parts)
	}
	return 0
}

// Rejoin makes all memberships on a device anew. A device that leaves the namespace, or is
// deleted, takes them with it, but the sockets do not notice; it may come back with the
// same index.
func (g *Groups) Rejoin(device int32) (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, h := range g.held {
		if k.device != device {
			continue
		}
		f := h.filter
		g.setLocked(k, NotMember)
		if e := g.setLocked(k, f); err == nil {
			err = e
		}
	}
	return err
}

// Close ends all memberships.
func (g *Groups) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.closed = true
	for _, s := range g.sockets {
		unix.Close(s.fd)
	}
	g.sockets, g.held = nil, nil
	g.space.Close()
}
