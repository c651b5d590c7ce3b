package stack

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
)

// A sender is what a socket sends with: its send buffer, its ways out, and what of
// its messages has not left yet. The socket builds frames and says when a call may
// wait; the sender sees that they leave, in order and charged to the socket.
//
// charged is what waits in the stack: for a neighbour that does not answer yet, for
// its time, or in the backlog. What waits in the device is charged to the socket's own
// way out, if it has one (txqueue.go).
type sender struct {
	*transmitter
	host  senderHost
	kind  senderKind
	id    uint64         // the socket's
	state *atomic.Uint32 // the socket's, of which a sender changes stateSendFull and stateSendBehind

	charged atomic.Int64
	limit   atomic.Int64 // SO_SNDBUF in bytes
	missed  atomic.Bool  // somebody wanted space, and there was none
	// until ends calls that wait to send, which spin and what wakes them.
	until   drive.Deadline
	spin    drive.Spinner
	watches *drive.List // the socket's
	// waits are those for room in devices; guarded by rooms.mu.
	waits []*roomWait
	// full is the way out that has said EAGAIN last, until it has room.
	full atomic.Pointer[txQueue]
	// own are the socket's own ways out; apart says that it is to have them.
	own     ownQueues
	apart   atomic.Bool
	backlog backlog
	// scheduled is how many frames wait for their time (SO_TXTIME), guarded by
	// schedule.mu.
	scheduled int
}

// A senderHost is what a sender needs of its socket.
type senderHost interface {
	// watched reports whether anybody watches the socket. tell tells those who do that
	// events may have begun to hold, changed only if there are any.
	watched() bool
	tell(events uint32)
	changed(events uint32)
	// dropPaths has paths built anew, with the ways out that the sender has now.
	dropPaths()
	// queueError puts an entry into the error queue.
	queueError(e QueuedError)
	// RecvErr reports whether all errors are wanted (IP_RECVERR).
	RecvErr() bool
}

// A senderKind is what is different for sockets of each kind.
type senderKind interface {
	// ported reports whether the socket has the port that sending takes.
	ported() bool
	// counters are those that datagrams enter when they are built.
	counters() []counter.Kind
	// lossCounter counts what the device has dropped. forgivesLoss reports whether a
	// datagram that it has dropped counts as sent.
	lossCounter() counter.Kind
	forgivesLoss() bool
	// unanswered takes in that a neighbour did not answer for a datagram, with the
	// error that says so.
	unanswered(e QueuedError, datagram []byte)
}

// init makes the sender that of a socket.
func (s *sender) init(t *transmitter, host senderHost, kind senderKind, id uint64, state *atomic.Uint32) {
	s.transmitter, s.host, s.kind, s.id, s.state = t, host, kind, id, state
	s.limit.Store(defaultSndbuf)
	s.spin.Init(t.drive)
}

// closed reports whether the socket is closed.
func (s *sender) closed() bool { return s.state.Load()&stateClosed != 0 }

// SetSendBuffer sets how much may wait to be sent, in the bytes that Linux would
// charge: about twice the payload's (SO_SNDBUF).
func (s *sender) SetSendBuffer(n int) {
	s.limit.Store(int64(n))
	if n != defaultSndbuf {
		s.separate() // what all use has a size of its own
	}
	for q := range s.own.all {
		q.room.SetBuffer(n)
	}
	s.markSendFull()
	if s.writable() {
		s.host.changed(EventsOut)
	}
}

// SendBuffer returns what SetSendBuffer set.
func (s *sender) SendBuffer() int { return int(s.limit.Load()) }

// SendQueued returns how much is charged for what waits to be sent, in the stack and in
// the device (SIOCOUTQ in udp(7)). Of what the socket has sent by a way out that others
// use too it knows no more than what all have there, and nothing once it has its own:
// that it gets with the first call.
func (s *sender) SendQueued() int {
	n := s.sendQueued()
	if list := s.own.shares.Load(); list != nil {
		for _, d := range *list {
			if d.sharers.Load() > 1 {
				s.separate()
			}
		}
	}
	return n
}

// sendQueued is SendQueued, of which the socket does not notice anything.
func (s *sender) sendQueued() int {
	n := int(s.charged.Load())
	for q := range s.own.all {
		n += q.room.Queued()
	}
	if list := s.own.shares.Load(); list != nil {
		for _, d := range *list {
			if d.queue.room != nil && s.own.of(d) == nil {
				n += d.queue.room.Queued()
			}
			s.own.leave(d)
		}
	}
	return n
}

// TakeMissed reports whether somebody has wanted to send, or asked if it is
// possible, and could not, since it was last called: who is told of space by a
// signal is told then only (SOCKWQ_ASYNC_NOSPACE in Linux).
func (s *sender) TakeMissed() bool { return s.missed.Swap(false) }
