package stack

import (
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// lostDevice returns what a route would have said to a datagram whose link says ENETDOWN:
// the device went down, or away, and the stack has not been told yet.
func (k *IPSocket) lostDevice() unix.Errno {
	return k.s.routes.Net().LostDevice(int32(k.Device()))
}

// linkChanged takes in the link's new properties. It is called by the link.
func (i *Interface) linkChanged() {
	s := i.s
	i.neighMu.Lock()
	old := i.dev.Info()
	info := i.dev.Link.Info()
	if info.State != link.Up {
		i.groups.lost.Store(true)
	}
	i.dev.SetInfo(&info)
	if k := stateEvents[info.State]; k != stateEvents[old.State] {
		i.untold = append(i.untold, k)
	}
	now := s.clock.Now()
	if info.HardwareAddr != old.HardwareAddr {
		i.neigh.SetHardwareAddr(info.HardwareAddr)
	}
	switch {
	case info.State == link.Up && old.State != link.Up:
		i.neigh.LinkUp(now)
	case info.State != link.Up && old.State == link.Up:
		i.neigh.LinkDown()
	}
	i.postEventsLocked()
	deadline := i.neigh.Deadline()
	i.neighMu.Unlock()
	s.timers.Set(i.neighTimer, deadline)
	if info.State != old.State {
		_ = s.configure(func(*route.Network) error { return nil }) // a stack that is closed has none
	}
	i.renewGroups()
	s.routes.Generations.Changed()
	i.tellStates()
	s.drive.WakeSleepers()
	s.rooms.look()
	i.s.sendOutbox()
	if !info.State.Enabled() && old.State.Enabled() {
		s.tapsDown(i, false)
	}
}
