package stack

import (
	"bytes"

	"github.com/outband/outband/arp"
	"golang.org/x/sys/unix"
)

// A waitingFrame is the owner of a frame that waits, and what goes with the frame
// when it leaves.
type waitingFrame struct {
	socket   *sender
	stamp    sentStamp
	metadata metadata
	later    *later // nil: it leaves as soon as it can
}

// ownerFor returns what a frame that begins to wait belongs to: the socket, if there
// is no more to say. The first frame of a datagram takes the datagram's stamp.
func (pkt *packet) ownerFor(p *path) any {
	if pkt.stamp.flags&txStampFlags == 0 && !p.described() && p.later == nil {
		return pkt.owner
	}
	o := pkt.waiting(p.metadata, p.later)
	return &o
}

// waiting takes all that goes with a frame of a datagram.
func (pkt *packet) waiting(t metadata, l *later) waitingFrame {
	o := waitingFrame{pkt.owner, pkt.stamp, t, l}
	pkt.stamp = sentStamp{}
	return o
}

// ownerOf returns the socket that a waiting frame belongs to, nil if there is none.
func ownerOf(p *arp.Pending) *sender {
	switch o := p.Owner.(type) {
	case *sender:
		return o
	case *waitingFrame:
		return o.socket
	default:
		return nil
	}
}

// sendWaited sends a frame that has waited for its neighbour, or has it wait for
// its time too.
func (d *device) sendWaited(tx *txbuf, p *arp.Pending) {
	o, ok := p.Owner.(*waitingFrame)
	switch {
	case !ok:
		d.sendFrame(tx, ownerOf(p), p.Frame, metadata{})
	case o.later != nil:
		d.t.scheduleFrame(tx, d, *o, p.Frame, false)
	default:
		d.sendStampedFrame(tx, o, p.Frame)
	}
}

// sendStampedFrame sends a frame that has waited, and stamps it if that is wanted.
func (d *device) sendStampedFrame(tx *txbuf, o *waitingFrame, frame []byte) {
	if o.stamp.flags&txStampFlags == 0 {
		d.sendFrame(tx, o.socket, frame, o.metadata)
		return
	}
	if o.stamp.flags&unix.SOF_TIMESTAMPING_OPT_TSONLY == 0 {
		o.stamp.frame = bytes.Clone(frame)
	}
	d.sendFrame(tx, o.socket, frame, o.metadata)
	before := d.t.clock.Wall()
	tx.flushOwned(o.socket)
	o.socket.tellStamp(&o.stamp, before, d.t.clock.Wall())
}

// sendFrame is addOwned for a frame of the pool's, which it gives back.
func (d *device) sendFrame(tx *txbuf, k *sender, frame []byte, t metadata) {
	d.addOwned(tx, k, frame, t)
	d.t.pool.Put(frame)
}

// addOwned sends a copy of a frame for a socket, nil for the stack itself. What
// begins with beginOwned ends with endOwned.
func (d *device) addOwned(tx *txbuf, k *sender, frame []byte, t metadata) {
	if tx.owner != k {
		tx.flushOwned(tx.owner)
		tx.owner = k
	}
	to := d.queue
	if k != nil {
		to = k.wayOut(d)
	}
	b, e := tx.room(to, len(frame))
	if e != 0 {
		tx.flushOwned(k)
		b, _ = tx.room(to, len(frame))
	}
	copy(b, frame)
	tx.add(b, -1)
	if t != (metadata{}) {
		tx.describeLast(t)
	}
}

// beginOwned returns a txbuf for frames of several sockets and of the stack itself.
func (t *transmitter) beginOwned() *txbuf {
	tx := t.acquireTx(0)
	tx.owner = nil
	return tx
}

// endOwned sends what is built, and gives tx back.
func (t *transmitter) endOwned(tx *txbuf) {
	tx.flushOwned(tx.owner)
	local := tx.local
	tx.local, tx.owner = false, nil
	t.releaseTx(tx, 0)
	if local {
		t.host.pumpLocal()
	}
}
