package output

import (
	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// Metadata is what goes along with a frame, for what is below the link to look at
// (link.TxFrame).
type Metadata struct {
	Priority, Mark uint32
	byLoopback     bool
	notLooped      bool  // by the operating system, to the host's members of a group
	device         int32 // that the operating system is to send by; 0: it does not, or by any
}

// Described reports whether the path's frames have metadata.
func (p *Path) Described() bool { return p.Metadata != Metadata{} }

// DescribeLast gives the frame that was added last metadata.
func (tx *Buffer) DescribeLast(t Metadata) {
	f := &tx.Batch[len(tx.Batch)-1]
	f.Priority, f.Mark, f.ByLoopback, f.NotLooped = t.Priority, t.Mark, t.byLoopback, t.notLooped
	if t.device != 0 {
		f.Device = t.device
		tx.Count[counter.SentInBand].Add(1)
	}
	tx.special = true
}

// AddAlong is add for a frame of a socket's that goes along a path, with what goes
// with it. One that has a time of its own is scheduled instead.
func (tx *Buffer) AddAlong(p *Path, frame []byte, pkt *Packet, message int) unix.Errno {
	if p.Later != nil {
		pkt.Queued = true
		return tx.AddLater(p.Dev, frame, pkt.Waiting(p.Metadata, p.Later), message)
	}
	tx.Add(frame, message)
	if p.Described() {
		tx.DescribeLast(p.Metadata)
	}
	return 0
}

// AddLater schedules a copy of a frame.
func (tx *Buffer) AddLater(d *Device, frame []byte, w waitingFrame, message int) unix.Errno {
	copied := tx.t.Pool.Get(len(frame))
	copy(copied, frame)
	e := tx.t.scheduleFrame(tx, d, w, copied, true)
	if !w.socket.host.WantsErrors() {
		e = 0 // as Linux' udp_send_skb: a datagram may be lost
	}
	if e == 0 && message >= 0 {
		tx.Sent = message + 1
	}
	return e
}
