package shared

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/follow"
	"github.com/outband/outband/inband/membership"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// routes is whom the stack asks for routes: the kernel.
type routes struct {
	kernel  *follow.Kernel
	uid     uint32
	noLocal bool // multicasts are not for the host's other members (Config.NoLocalMulticast)
	groups  *membership.Groups
	changed func() // what was answered does not hold any more

	mu     sync.Mutex // a leaf
	beside map[member]bool
	timer  *time.Timer // while beside has anything
}

// A member is a group on a device.
type member struct {
	group  ipv4.Addr
	device int32
}

const (
	// maxBeside is of how many groups it is remembered whether others are members.
	maxBeside = 1024
	// besideEvery is how often that is looked at.
	besideEvery = time.Second
)

var _ stack.RouteSource = (*routes)(nil)

// Route implements [stack.RouteSource].
func (r *routes) Route(q stack.RouteQuery) (stack.RouteAnswer, unix.Errno) {
	a, e := r.kernel.Route(follow.Query{Dst: q.Dst, Src: q.Src, TOS: q.TOS, Mark: q.Mark, UID: r.uid, Device: q.Device})
	if e != 0 {
		return stack.RouteAnswer{}, e
	}
	if q.OnLink && a.Gateway != ([4]byte{}) {
		return stack.RouteAnswer{}, unix.ENETUNREACH // as Linux looks for routes of scope link only
	}
	out := stack.RouteAnswer{Local: a.Kind == follow.Local, Device: a.Device, Gateway: a.Gateway, Src: a.Src,
		MTU: a.MTU, MTULocked: a.MTULocked, Learnt: a.Expires > 0, InBand: a.KernelOnly}
	switch a.Kind {
	case follow.Broadcast:
		// The host's own sockets hear it too, ours by their holders, as far as it is UDP.
		out.Kind, out.InBand = stack.ToBroadcast, out.InBand || q.Protocol == ipv4.ProtocolUDP
	case follow.Multicast:
		out.Kind = stack.ToMulticast
		out.InBand = out.InBand || q.Loop && !r.noLocal && q.Protocol == ipv4.ProtocolUDP && r.membersBeside(member{q.Dst, a.Device})
	}
	if out.MTU == 0 {
		if d, ok := r.kernel.Snapshot().Device(a.Device); ok {
			out.MTU, out.Learnt = d.MTU, false
		}
	}
	return out, 0
}

// membersBeside reports whether a group has members on the host beside the stack's, and has
// that looked at again from time to time.
func (r *routes) membersBeside(m member) bool {
	yes := r.kernel.MembersBeside(m.group, m.device, r.groups.Own(m.group, m.device))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.beside == nil {
		return yes // closed
	}
	if len(r.beside) == 0 {
		r.timer.Reset(besideEvery)
	}
	if _, known := r.beside[m]; known || len(r.beside) < maxBeside {
		r.beside[m] = yes
		return yes
	}
	return true // which is right in any case
}

// open begins to remember groups.
func (r *routes) open() {
	r.beside = make(map[member]bool)
	r.timer = time.AfterFunc(time.Hour, r.lookBeside)
	r.timer.Stop()
}

// lookBeside looks whether others have joined or left groups that were asked for.
func (r *routes) lookBeside() {
	r.mu.Lock()
	was := make(map[member]bool, len(r.beside))
	for m, yes := range r.beside {
		was[m] = yes
	}
	r.mu.Unlock()
	moved := false
	for m, yes := range was {
		moved = moved || r.kernel.MembersBeside(m.group, m.device, r.groups.Own(m.group, m.device)) != yes
	}
	r.mu.Lock()
	if moved {
		clear(r.beside)
	}
	if len(r.beside) > 0 {
		r.timer.Reset(besideEvery)
	}
	r.mu.Unlock()
	if moved {
		r.changed()
	}
}

// forget is for when all paths are asked for again anyway.
func (r *routes) forget() {
	r.mu.Lock()
	clear(r.beside)
	r.mu.Unlock()
}

// close ends looking.
func (r *routes) close() {
	r.mu.Lock()
	r.beside = nil
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
}
