package output

import (
	"bytes"

	"github.com/outband/outband/arp"
	"golang.org/x/sys/unix"
)

// A waitingFrame is the owner of a frame that waits, and what goes with the frame
// when it leaves.
type waitingFrame struct {
	socket   *Sender
	stamp    Stamp
	metadata Metadata
	later    *Later // nil: it leaves as soon as it can
}

// ownerFor returns what a frame that begins to wait belongs to: the socket, if there
// is no more to say. The first frame of a datagram takes the datagram's stamp.
func (pkt *Packet) ownerFor(p *Path) any {
	if pkt.Stamp.Flags&StampFlags == 0 && !p.Described() && p.Later == nil {
		return pkt.Owner
	}
	o := pkt.Waiting(p.Metadata, p.Later)
	return &o
}

// Waiting takes all that goes with a frame of a datagram.
func (pkt *Packet) Waiting(t Metadata, l *Later) waitingFrame {
	o := waitingFrame{pkt.Owner, pkt.Stamp, t, l}
	pkt.Stamp = Stamp{}
	return o
}

// ownerOf returns the socket that a waiting frame belongs to, nil if there is none.
func ownerOf(p *arp.Pending) *Sender {
	switch o := p.Owner.(type) {
	case *Sender:
		return o
	case *waitingFrame:
		return o.socket
	default:
		return nil
	}
}

// sendWaited sends a frame that has waited for its neighbour, or has it wait for
// its time too.
func (d *Device) sendWaited(tx *Buffer, p *arp.Pending) {
	o, ok := p.Owner.(*waitingFrame)
	switch {
	case !ok:
		d.sendFrame(tx, ownerOf(p), p.Frame, Metadata{})
	case o.later != nil:
		d.t.scheduleFrame(tx, d, *o, p.Frame, false)
	default:
		d.sendStampedFrame(tx, o, p.Frame)
	}
}

// sendStampedFrame sends a frame that has waited, and stamps it if that is wanted.
func (d *Device) sendStampedFrame(tx *Buffer, o *waitingFrame, frame []byte) {
	if o.stamp.Flags&StampFlags == 0 {
		d.sendFrame(tx, o.socket, frame, o.metadata)
		return
	}
	if o.stamp.Flags&unix.SOF_TIMESTAMPING_OPT_TSONLY == 0 {
		o.stamp.frame = bytes.Clone(frame)
	}
	d.sendFrame(tx, o.socket, frame, o.metadata)
	before := d.t.Clock.Wall()
	tx.flushOwned(o.socket)
	o.socket.TellStamp(&o.stamp, before, d.t.Clock.Wall())
}

// sendFrame is addOwned for a frame of the pool's, which it gives back.
func (d *Device) sendFrame(tx *Buffer, k *Sender, frame []byte, t Metadata) {
	d.addOwned(tx, k, frame, t)
	d.t.Pool.Put(frame)
}

// addOwned sends a copy of a frame for a socket, nil for the stack itself. What
// begins with beginOwned ends with endOwned.
func (d *Device) addOwned(tx *Buffer, k *Sender, frame []byte, t Metadata) {
	if tx.Owner != k {
		tx.flushOwned(tx.Owner)
		tx.Owner = k
	}
	to := d.Queue
	if k != nil {
		to = k.WayOutOf(d)
	}
	b, e := tx.Room(to, len(frame))
	if e != 0 {
		tx.flushOwned(k)
		b, _ = tx.Room(to, len(frame))
	}
	copy(b, frame)
	tx.Add(b, -1)
	if t != (Metadata{}) {
		tx.DescribeLast(t)
	}
}

// beginOwned returns a Buffer for frames of several sockets and of the stack itself.
func (t *Transmitter) beginOwned() *Buffer {
	tx := t.Acquire(0)
	tx.Owner = nil
	return tx
}

// endOwned sends what is built, and gives tx back.
func (t *Transmitter) endOwned(tx *Buffer) {
	tx.flushOwned(tx.Owner)
	local := tx.Local
	tx.Local, tx.Owner = false, nil
	t.Release(tx, 0)
	if local {
		t.Host.PumpLoopback()
	}
}
