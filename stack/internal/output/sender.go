package output

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
)

// A Sender is what a socket sends with: its send buffer, its ways out, and what of
// its messages has not left yet. The socket builds frames and says when a call may
// wait; the sender sees that they leave, in order and charged to the socket.
//
// charged is what waits in the stack: for a neighbour that does not answer yet, for
// its time, or in the backlog. What waits in the device is charged to the socket's own
// way out, if it has one (wayout.go).
type Sender struct {
	*Transmitter
	host  Socket
	id    uint64         // the socket's
	state *atomic.Uint32 // the socket's, of which a sender changes stateSendFull and stateSendBehind

	Charged atomic.Int64
	limit   atomic.Int64 // SO_SNDBUF in bytes
	missed  atomic.Bool  // somebody wanted space, and there was none
	// Until ends calls that wait to send, which spin and what wakes them.
	Until   drive.Deadline
	spin    drive.Spinner
	watches *drive.List // the socket's
	// waits are those for room in devices; guarded by rooms.mu.
	waits []*roomWait
	// full is the way out that has said EAGAIN last, until it has room.
	full atomic.Pointer[WayOut]
	// Own are the socket's own ways out; apart says that it is to have them.
	Own     ownQueues
	apart   atomic.Bool
	backlog backlog
	// scheduled is how many frames wait for their time (SO_TXTIME), guarded by
	// schedule.mu.
	scheduled int
}

// A Socket is the socket that a sender is of.
type Socket interface {
	// IsWatched reports whether anybody watches the socket. TellEvents tells those who do
	// that events may have begun to hold.
	IsWatched() bool
	TellEvents(events uint32)
	// PathsChanged has paths built anew, with the ways out that the sender has now.
	PathsChanged()
	// ErrorArrived puts an entry into the error queue.
	ErrorArrived(e queue.QueuedError)
	// WantsErrors reports whether all errors are wanted (IP_RECVERR).
	WantsErrors() bool

	// HasPort reports whether the socket has the port that sending takes.
	HasPort() bool
	// OutCounters are those that datagrams enter when they are built.
	OutCounters() []counter.Kind
	// LossCounter counts what the device has dropped. LossIsSent reports whether a
	// datagram that it has dropped counts as sent.
	LossCounter() counter.Kind
	LossIsSent() bool
	// NoAnswer takes in that a neighbour did not answer for a datagram, with the
	// error that says so.
	NoAnswer(e queue.QueuedError, datagram []byte)
}

// Init makes the sender that of a socket.
func (s *Sender) Init(t *Transmitter, host Socket, watches *drive.List, id uint64, state *atomic.Uint32) {
	s.Transmitter, s.host, s.watches, s.id, s.state = t, host, watches, id, state
	s.limit.Store(DefaultSndbuf)
	s.spin.Init(t.Drive)
}

// closed reports whether the socket is closed.
func (s *Sender) closed() bool { return s.state.Load()&StateClosed != 0 }

// SetSendBuffer sets how much may wait to be sent, in the bytes that Linux would
// charge: about twice the payload's (SO_SNDBUF).
func (s *Sender) SetSendBuffer(n int) {
	s.limit.Store(int64(n))
	if n != DefaultSndbuf {
		s.separate() // what all use has a size of its own
	}
	for q := range s.Own.all {
		q.room.SetBuffer(n)
	}
	s.markSendFull()
	if s.Writable() {
		s.host.TellEvents(drive.Out)
	}
}

// SendBuffer returns what SetSendBuffer set.
func (s *Sender) SendBuffer() int { return int(s.limit.Load()) }

// SendQueued returns how much is charged for what waits to be sent, in the stack and in
// the device (SIOCOUTQ in udp(7)). Of what the socket has sent by a way out that others
// use too it knows no more than what all have there, and nothing once it has its own:
// that it gets with the first call.
func (s *Sender) SendQueued() int {
	n := s.Queued()
	if list := s.Own.Shares.Load(); list != nil {
		for _, d := range *list {
			if d.Sharers.Load() > 1 {
				s.separate()
			}
		}
	}
	return n
}

// Queued is SendQueued, of which the socket does not notice anything.
func (s *Sender) Queued() int {
	n := int(s.Charged.Load())
	for q := range s.Own.all {
		n += q.room.Queued()
	}
	if list := s.Own.Shares.Load(); list != nil {
		for _, d := range *list {
			if d.Queue.room != nil && s.Own.of(d) == nil {
				n += d.Queue.room.Queued()
			}
			s.Own.leave(d)
		}
	}
	return n
}

// TakeMissed reports whether somebody has wanted to send, or asked if it is
// possible, and could not, since it was last called: who is told of space by a
// signal is told then only (SOCKWQ_ASYNC_NOSPACE in Linux).
func (s *Sender) TakeMissed() bool { return s.missed.Swap(false) }

// DefaultSndbuf is Linux' net.core.wmem_default in bytes.
const DefaultSndbuf = 212992
