package stack

import (
	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
)

// What package output asks of a stack, an interface and a socket.

// senderKind is what is different for sockets of each kind: see output.Socket.
type senderKind interface {
	ported() bool
	counters() []counter.Kind
	lossCounter() counter.Kind
	forgivesLoss() bool
	unanswered(e QueuedError, datagram []byte)
}

// sendHost is a socket to its sender.
type sendHost struct{ k *Endpoint }

func (h sendHost) IsWatched() bool             { return h.k.watches.Watched() }
func (h sendHost) TellEvents(events uint32)    { h.k.watches.Tell(events) }
func (h sendHost) PathsChanged()               { h.k.RenewPaths() }
func (h sendHost) ErrorArrived(e QueuedError)  { h.k.errors.push(e) }
func (h sendHost) WantsErrors() bool           { return h.k.errors.RecvErr() }
func (h sendHost) HasPort() bool               { return h.k.kind.ported() }
func (h sendHost) OutCounters() []counter.Kind { return h.k.kind.counters() }
func (h sendHost) LossCounter() counter.Kind   { return h.k.kind.lossCounter() }
func (h sendHost) LossIsSent() bool            { return h.k.kind.forgivesLoss() }
func (h sendHost) NoAnswer(e QueuedError, datagram []byte) {
	h.k.kind.unanswered(e, datagram)
}

// sendInterface is an Interface to its device.
type sendInterface struct{ i *Interface }

func (h sendInterface) Gone() error                                { return h.i.removed() }
func (h sendInterface) IsMember(group, src ipv4.Addr) bool         { return h.i.hearsOwn(group, src) }
func (h sendInterface) Loop(datagram []byte, kind link.PacketType) { h.i.hear(datagram, kind) }
func (h sendInterface) NeighbourChanged(ev *arp.Event)             { h.i.neighbourChanged(ev) }

// sendStack is a Stack to its transmitter.
type sendStack struct{ s *Stack }

func (h sendStack) Closing() bool               { return h.s.isClosing() }
func (h sendStack) PumpLoopback()               { h.s.pumpLocal() }
func (h sendStack) Posted()                     { h.s.lanes.first.pending.posted = true }
func (h sendStack) TapFrames(tx *output.Buffer) { h.s.tap(tx) }
func (h sendStack) Fault(value any) {
	h.s.faults.Keep(Fault{At: h.s.Monotonic(), Work: "outbox"}, value, nil)
}

// hear takes in a datagram of our own to a group, or a broadcast. No lock is held.
func (i *Interface) hear(b []byte, kind link.PacketType) {
	i.lane.begin()
	i.lane.hear(i, b, kind)
	i.lane.end()
}

// hear takes in a datagram of ours to a group, or a broadcast.
func (l *lane) hear(ifc *Interface, b []byte, kind link.PacketType) {
	defer l.containFrame(ifc, b)
	l.stampTaken()
	l.heard = link.Meta{Type: kind, Checksum: link.ChecksumValid, WireLen: len(b)}
	l.ipv4Input(ifc, b, &l.heard, true)
}

// pumpLocal receives what was sent over loopback, so that it is there when the
// send call returns, as in Linux.
func (s *Stack) pumpLocal() {
	for range localBatches {
		l := &s.lanes.first
		l.begin()
		more := l.pump()
		l.end()
		if !more {
			return
		}
	}
	s.drive.WakeSleepers() // somebody floods us: others may do the rest
}

// localBatches bounds how much a sender over loopback receives for others.
const localBatches = 16
