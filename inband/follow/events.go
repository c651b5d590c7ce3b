package follow

// Events are what is told of the kernel. The functions are called one at a time, on a
// goroutine of the Kernel's own, and no lock is held meanwhile; what comes while one of
// them runs is told when it returns. Any may be nil. They must not call Close.
type Events struct {
	// Changed is told of devices and addresses, with all of them: at once, and whenever
	// they have changed. Several changes may be told as one, and are while they come faster
	// than they can be asked for. RoutesMoved follows each.
	Changed func(Snapshot)
	// RoutesMoved says that Route may answer otherwise than before: a device, address,
	// route, rule or nexthop object has changed. It is called at most 1,000 times a second,
	// and once after the last change.
	RoutesMoved func()
	// NeighbourChanged is told of neighbours that are permanent or need no ARP, of what
	// the administrator changes, and that a neighbour is gone, if the administrator has
	// deleted it or if it was permanent. The kernel's own learning and ageing is not told.
	NeighbourChanged func(n Neighbour, gone bool)
	// Neighbours is told of all neighbours, in whatever state, at once and when messages
	// about them were lost: then a permanent one that is not among them is gone.
	Neighbours func(all []Neighbour)
}

// Follow has f told from now on, in place of what was told before: first of all that is
// there, soon after Follow has returned.
func (k *Kernel) Follow(f Events) {
	k.events.Store(&f)
	k.loop.wake()
}

func (e *Events) changed(s Snapshot) {
	if e != nil && e.Changed != nil {
		e.Changed(s)
	}
}

func (e *Events) routesMoved() {
	if e != nil && e.RoutesMoved != nil {
		e.RoutesMoved()
	}
}

func (e *Events) neighbourChanged(n Neighbour, gone bool) {
	if e != nil && e.NeighbourChanged != nil {
		e.NeighbourChanged(n, gone)
	}
}

func (e *Events) neighbours(all []Neighbour) {
	if e != nil && e.Neighbours != nil {
		e.Neighbours(all)
	}
}
