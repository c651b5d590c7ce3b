package stack

import (
	"golang.org/x/sys/unix"
)

// metadata is what goes along with a frame, for what is below the link to look at
// (link.TxFrame).
type metadata struct {
	priority, mark uint32
	byLoopback     bool
}

// described reports whether the path's frames have metadata.
func (p *path) described() bool { return p.metadata != metadata{} }

// describeLast gives the frame that was added last metadata.
func (tx *txbuf) describeLast(t metadata) {
	f := &tx.batch[len(tx.batch)-1]
	f.Priority, f.Mark, f.ByLoopback = t.priority, t.mark, t.byLoopback
	tx.special = true
}

// addAlong is add for a frame of a socket's that goes along a path, with what goes
// with it. One that has a time of its own is scheduled instead.
func (tx *txbuf) addAlong(p *path, frame []byte, pkt *packet, message int) unix.Errno {
	if p.later != nil {
		pkt.queued = true
		return tx.addLater(p.dev, frame, pkt.waiting(p.metadata, p.later), message)
	}
	tx.add(frame, message)
	if p.described() {
		tx.describeLast(p.metadata)
	}
	return 0
}

// addLater schedules a copy of a frame.
func (tx *txbuf) addLater(d *device, frame []byte, w waitingFrame, message int) unix.Errno {
	copied := tx.t.pool.Get(len(frame))
	copy(copied, frame)
	e := tx.t.scheduleFrame(tx, d, w, copied, true)
	if !w.socket.host.RecvErr() {
		e = 0 // as Linux' udp_send_skb: a datagram may be lost
	}
	if e == 0 && message >= 0 {
		tx.sent = message + 1
	}
	return e
}
