package option

import "sync/atomic"

// What sending has to look at.
const (
	NoCheck       = 1 << iota // no UDP checksum (SO_NO_CHECK)
	DontRoute                 // to hosts on a link only (SO_DONTROUTE)
	Segmented                 // cut what is sent into several datagrams (UDP_SEGMENT)
	IPOptions                 // there are IP options to send (IP_OPTIONS)
	Corked                    // what is sent adds up to one datagram (UDP_CORK)
	Held                      // there is a datagram that is being put together
	TransmitTimes             // keep the times of what is sent
	SendStamps                // stamp what is sent (SO_TIMESTAMPING)
)

// Paths are the ways that a socket's datagrams take, which depend on some options.
type Paths interface {
	// RenewPaths has them looked up anew for what is sent from now on.
	RenewPaths()
}

// Sending are the options of what a socket sends, whatever its kind.
type Sending struct {
	extras         *Extras
	paths          Paths
	priority, mark atomic.Uint32
}

// MakeSending returns options that enter in x what sending has to look at.
func MakeSending(x *Extras, paths Paths) Sending { return Sending{extras: x, paths: paths} }

// SetNoCheck sends UDP datagrams without a checksum (SO_NO_CHECK).
func (o *Sending) SetNoCheck(on bool) { o.extras.Put(NoCheck, on) }

// NoCheck returns what SetNoCheck set.
func (o *Sending) NoCheck() bool { return o.extras.Has(NoCheck) }

// SetDontRoute sends only to hosts on a link (SO_DONTROUTE): ENETUNREACH for others.
func (o *Sending) SetDontRoute(on bool) { o.extras.Put(DontRoute, on) }

// DontRoute returns what SetDontRoute set.
func (o *Sending) DontRoute() bool { return o.extras.Has(DontRoute) }

// SetPriority sets the priority of what is sent, for the queueing disciplines and
// VLAN devices below the link (SO_PRIORITY in socket(7)). SetTOS sets it too.
func (o *Sending) SetPriority(p uint32) { o.priority.Store(p); o.paths.RenewPaths() }

// Priority returns what SetPriority or SetTOS set.
func (o *Sending) Priority() uint32 { return o.priority.Load() }

// SetMark sets the mark of what is sent, for the packet filters below the link
// (SO_MARK in socket(7)). The stack's own routes do not look at it.
func (o *Sending) SetMark(mark uint32) { o.mark.Store(mark); o.paths.RenewPaths() }

// Mark returns what SetMark set.
func (o *Sending) Mark() uint32 { return o.mark.Load() }
