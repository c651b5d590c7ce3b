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

// LinkChanged takes in the link's new properties. It is called by the link.
func (i *Interface) linkChanged() {
	s := i.s
	i.stateMu.Lock()
	old := i.dev.Info()
	info := i.dev.Link.Info()
	if info.State != link.Up {
		i.groups.WentDown()
	}
	i.dev.SetInfo(&info)
	if k := stateEvents[info.State]; k != stateEvents[old.State] {
		i.untold = append(i.untold, k)
	}
	i.dev.Neighbours.LinkChanged(old, &info)
	i.stateMu.Unlock()
	if info.State != old.State {
		_ = s.configure(func(*route.Network) error { return nil }) // a stack that is closed has none
	}
	i.renewGroups()
	s.routes.Generations.Changed()
	i.tellStates()
	s.drive.WakeSleepers()
	s.out.Rooms.Look()
	s.out.SendOutbox()
	if !info.State.Enabled() && old.State.Enabled() {
		s.tapsDown(i, false)
	}
}

// stateEvents are the kinds of event that tell of a link's state.
var stateEvents = map[link.State]EventKind{link.Up: LinkUp, link.Down: LinkDown, link.NoCarrier: LinkDown, link.Gone: LinkGone}

// tellStates tells of the changes of the link's state, in their order. By now they
// count: who hears of one finds the routes as they are with it.
func (i *Interface) tellStates() {
	i.stateMu.Lock()
	defer i.stateMu.Unlock()
	for _, k := range i.untold {
		i.tell(Event{Kind: k})
	}
	i.untold = i.untold[:0]
}
