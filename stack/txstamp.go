package stack

import (
	"bytes"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// txStamps is what a socket wants to know of when its datagrams left
// (SO_TIMESTAMPING in Documentation/networking/timestamping.rst).
type txStamps struct {
	flags atomic.Uint32 // SOF_TIMESTAMPING_*
	key   atomic.Uint32 // the next datagram's number (OPT_ID)
}

// txStampFlags are those of SOF_TIMESTAMPING_* that sending looks at, and
// txStampRecord all that ask for the stamp of a datagram, which numbers it.
const (
	txStampFlags  = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_SCHED
	txStampRecord = txStampFlags | unix.SOF_TIMESTAMPING_TX_HARDWARE
)

// SetTimestamping sets which time stamps of sent datagrams go to the error queue,
// as SOF_TIMESTAMPING_* flags: TX_SCHED when a datagram is handed to the device,
// TX_SOFTWARE when that has taken it. OPT_ID numbers those that are stamped, from
// 0 on when it is turned on; OPT_TSONLY leaves the frame out of the entry. Of a
// datagram in fragments the first is stamped, of one of UDP_SEGMENT the first too.
// What waits for its neighbour is stamped when it leaves.
func (k *Endpoint) SetTimestamping(flags uint32) {
	x := &k.sendExtras.stamps
	if old := x.flags.Swap(flags); flags&^old&unix.SOF_TIMESTAMPING_OPT_ID != 0 {
		x.key.Store(0)
	}
	k.markSendExtras()
}

// A sentStamp is the stamp of one datagram on its way out. It is none without
// flags.
type sentStamp struct {
	flags, key uint32
	frame      []byte // with the flags that want it
}

// beginStamp finds out if a datagram is to be stamped, and numbers it. dropStamp
// or stampSent ends what it begins.
func (k *Endpoint) beginStamp(o *outgoing) (st sentStamp) {
	x := &k.sendExtras.stamps
	flags := x.flags.Load()
	if o.opts != nil && o.opts.Timestamping != 0 {
		flags = flags&^txStampRecord | o.opts.Timestamping
	}
	if flags&txStampRecord == 0 || o.segment {
		return sentStamp{}
	}
	st.flags = flags
	switch {
	case o.opts != nil && o.opts.HasStampID:
		st.key = o.opts.StampID
	case flags&unix.SOF_TIMESTAMPING_OPT_ID != 0:
		st.key = x.key.Add(1) - 1
	}
	return st
}

// dropStamp gives the number of a datagram back that is not sent.
func (k *Endpoint) dropStamp(st *sentStamp, o *outgoing) {
	if st.flags&unix.SOF_TIMESTAMPING_OPT_ID != 0 && (o.opts == nil || !o.opts.HasStampID) {
		k.sendExtras.stamps.key.Add(^uint32(0))
	}
}

// keep keeps the first frame of a datagram for its stamp.
func (st *sentStamp) keep(frame []byte) {
	if st.flags != 0 && st.frame == nil && st.flags&unix.SOF_TIMESTAMPING_OPT_TSONLY == 0 {
		st.frame = bytes.Clone(frame)
	}
}

// sendStamped sends what is built in tx, and stamps the datagram in it if that is
// wanted.
func (k *Endpoint) sendStamped(tx *txbuf, st *sentStamp) unix.Errno {
	if st.flags&txStampFlags == 0 {
		return 0
	}
	before := k.s.WallTime()
	if errno := tx.finish(); errno != 0 {
		return errno
	}
	k.tellStamp(st, before, k.s.WallTime())
	return 0
}

// tellStamp puts the time stamps of a datagram into the error queue: when it was
// handed to the device, and when that had taken it.
func (s *sender) tellStamp(st *sentStamp, before, after int64) {
	e := QueuedError{Errno: unix.ENOMSG, Origin: unix.SO_EE_ORIGIN_TIMESTAMPING, Data: st.key, Payload: st.frame}
	if st.flags&unix.SOF_TIMESTAMPING_TX_SCHED != 0 {
		e.Info, e.Time = unix.SCM_TSTAMP_SCHED, before
		s.host.queueError(e)
	}
	if st.flags&unix.SOF_TIMESTAMPING_TX_SOFTWARE != 0 {
		e.Info, e.Time = unix.SCM_TSTAMP_SND, after
		s.host.queueError(e)
	}
}
