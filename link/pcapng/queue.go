package pcapng

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A transmitter is a link, or one of its queues.
type transmitter interface {
	Send(frame []byte) error
	SendBatch(frames []link.TxFrame) (int, error)
}

// Queue implements [link.Queuer]: the wrapped link's, nil if that has none.
func (l *Link) Queue() link.TxQueue {
	inner, ok := l.Link.(link.Queuer)
	if !ok {
		return nil
	}
	if q := inner.Queue(); q != nil {
		return queue{q, l}
	}
	return nil
}

// OpenQueue implements [link.Queuer]: the wrapped link's, EOPNOTSUPP if that has none.
func (l *Link) OpenQueue(buffer int) (link.TxQueue, error) {
	inner, ok := l.Link.(link.Queuer)
	if !ok {
		return nil, unix.EOPNOTSUPP
	}
	q, err := inner.OpenQueue(buffer)
	if err != nil {
		return nil, err
	}
	return queue{q, l}, nil
}

// A queue is a queue of the wrapped link whose frames are recorded.
type queue struct {
	link.TxQueue
	l *Link
}

// Send implements [link.TxQueue].
func (q queue) Send(frame []byte) error { return q.l.send(q.TxQueue, frame) }

// SendBatch implements [link.TxQueue].
func (q queue) SendBatch(frames []link.TxFrame) (int, error) { return q.l.sendBatch(q.TxQueue, frames) }
