package shared

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/inband/membership"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// A reporter has the kernel be in the groups that the stack's sockets are in on a device:
// it reports them to routers.
type reporter struct {
	groups *membership.Groups
	device int32
}

var _ stack.GroupReporter = (*reporter)(nil)

// SetGroup implements [stack.GroupReporter].
func (r *reporter) SetGroup(group ipv4.Addr, f igmp.Filter) error {
	err := r.groups.Set(group, r.device, filterOf(f))
	if errnoOf(err) == unix.ENOBUFS && len(f.Sources) > 0 {
		// All sockets together want more sources than the kernel lets one have
		// (net.ipv4.igmp_max_msf): the host hears all of them, the sockets what they want.
		err = r.groups.Set(group, r.device, membership.Filter{Mode: membership.Exclude})
	}
	return err
}

// filterOf returns a filter as the kernel's memberships have it.
func filterOf(f igmp.Filter) membership.Filter {
	out := membership.Filter{Mode: membership.Include}
	if f.Mode == igmp.Exclude {
		out.Mode = membership.Exclude
	}
	for _, s := range f.Sources {
		out.Sources = append(out.Sources, s)
	}
	return out
}
