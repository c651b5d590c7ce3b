package shared

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/inband/follow"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// reporters has the kernel be in the groups that the stack's sockets are in: it reports
// them to routers.
type reporters struct {
	kernel *follow.Groups

	mu      sync.Mutex // a leaf
	members map[member]bool
}

// A reporter is that for one device: a stack.GroupReporter.
type reporter struct {
	of     *reporters
	device int32
}

var _ stack.GroupReporter = (*reporter)(nil)

// SetGroup implements [stack.GroupReporter].
func (r *reporter) SetGroup(group ipv4.Addr, f igmp.Filter) error {
	m := member{group, r.device}
	if f.Mode == igmp.Include && len(f.Sources) == 0 {
		r.of.note(m, false)
		return r.of.kernel.Leave(group, r.device)
	}
	sources := make([][4]byte, len(f.Sources))
	for at, s := range f.Sources {
		sources[at] = s
	}
	err := r.of.kernel.Set(group, r.device, f.Mode == igmp.Exclude, sources)
	if errnoOf(err) == unix.ENOBUFS { // more sources than the kernel lets a socket have
		err = r.of.kernel.Set(group, r.device, true, nil)
	}
	if err == nil {
		r.of.note(m, true)
	}
	return err
}

// note takes in that the kernel is in a group for us, or is not any more.
func (r *reporters) note(m member, in bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members == nil {
		r.members = make(map[member]bool)
	}
	if in {
		r.members[m] = true
	} else {
		delete(r.members, m)
	}
}

// count returns how many of the host's memberships in a group are ours.
func (r *reporters) count(m member) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m] {
		return 1
	}
	return 0
}

func (r *reporters) close() {
	if r.kernel != nil {
		r.kernel.Close()
	}
}
