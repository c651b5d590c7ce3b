package ioctl

import (
	"sync/atomic"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A Stamp is what SIOCGSTAMP and SIOCGSTAMPNS go by (sk_stamp in Linux): when the
// last datagram that was received had come.
type Stamp struct {
	state atomic.Uint32
	at    atomic.Int64 // nanoseconds since the Unix epoch; 0: not known
}

// States of a stamp.
const (
	stampNone uint32 = iota // nothing was received, no call has asked
	stampSeen               // something was received, no call has asked
	stampKept               // a call has asked: keep each datagram's
)

// Received notes a datagram. Hot: most sockets are never asked.
func (p *Stamp) Received(in *stack.Info) {
	if p.state.Load() != stampSeen {
		p.note(in)
	}
}

func (p *Stamp) note(in *stack.Info) {
	if in.Interface == 0 {
		return // a shut-down socket's nothing
	}
	if !p.state.CompareAndSwap(stampNone, stampSeen) {
		p.at.Store(in.Time)
	}
}

// Ask returns the time, given the time of day, and has it kept from now on. ENOENT: there was no
// datagram. As in Linux one whose time is not known has come just now.
func (p *Stamp) Ask(now func() int64) (int64, error) {
	was := p.state.Swap(stampKept)
	if was == stampNone {
		p.at.Store(-1)
	}
	switch at := p.at.Load(); at {
	case -1:
		return 0, unix.ENOENT
	case 0:
		now := now()
		p.at.CompareAndSwap(0, now)
		return now, nil
	default:
		return at, nil
	}
}
