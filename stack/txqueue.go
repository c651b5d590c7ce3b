package stack

import (
	"time"

	"github.com/outband/outband/link"
)

// A txQueue is a way out of an interface. Today that is the link's own, which all
// sockets share: what fills it for one fills it for all. A ring's link (tpacket) is no
// link.Queuer, so that room is nil there: who waits tries again every busyPause, and
// readiness does not see that the device is full.
type txQueue struct {
	ifc *Interface
	out transmitter
	// room tells when there is room again; nil: the link cannot tell.
	room link.TxQueue
}

// A transmitter is what of a link or a link.TxQueue sends.
type transmitter interface {
	Send(frame []byte) error
	SendBatch(frames []link.TxFrame) (int, error)
}

// busyPause is when to try again on a link that cannot tell that there is room: a
// few frames' time at 1 Gbit/s.
const busyPause = 50 * time.Microsecond

// newTxQueue returns the way out that the link itself is.
func newTxQueue(i *Interface) *txQueue {
	q := &txQueue{ifc: i, out: i.link}
	if l, ok := i.link.(link.Queuer); ok {
		q.room = l.Queue()
		q.room.SetRoom(i.s.rooms.look)
	}
	return q
}

// hasRoom reports whether a send has a chance.
func (q *txQueue) hasRoom() bool { return q.room == nil || q.room.Room() }

// sources returns what to sleep on for room, nil if there is no descriptor.
func (q *txQueue) sources() []link.Link {
	if q.room == nil {
		return nil
	}
	if q.room.RoomFD() < 0 {
		return nil
	}
	return []link.Link{roomLink{to: q.room}}
}

// A roomLink is a queue's descriptor for link.Poller, and nothing else of a link.
type roomLink struct {
	link.Link
	to link.TxQueue
}

// FD implements link.Link.
func (l roomLink) FD() int { return l.to.RoomFD() }

// PollError implements link.Link. The send that comes next says what is wrong.
func (l roomLink) PollError() {}

// queueFor returns the socket's way out of an interface: that of all. Where each has
// its own (link.Queuer.OpenQueue), this is where it is found.
func (k *Socket) queueFor(i *Interface) *txQueue { return i.queue }
