package stack

import (
	"github.com/outband/outband/link"
)

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
