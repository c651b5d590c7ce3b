package stack

import (
	"bytes"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// txStamps is what a socket wants to know of when its datagrams left
// (SO_TIMESTAMPING in Documentation/networking/timestamping.rst).
type txStamps struct {
	flags atomic.Uint32 // SOF_TIMESTAMPING_*
	key   atomic.Uint32 // the next datagram's number (OPT_ID)
}

// txStampFlags are those of SOF_TIMESTAMPING_* that sending looks at.
const txStampFlags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_SCHED

// SetTimestamping sets which time stamps of sent datagrams go to the error queue,
// as SOF_TIMESTAMPING_* flags: TX_SCHED when a datagram is handed to the device,
// TX_SOFTWARE when that has taken it. OPT_ID numbers them, from 0 on when it is
// turned on; OPT_TSONLY leaves the frame out of the entry. A datagram that waits
// for its neighbour leaves later, and gets no stamp.
func (k *Socket) SetTimestamping(flags uint32) {
	x := &k.sendExtras.stamps
	if old := x.flags.Swap(flags); flags&^old&unix.SOF_TIMESTAMPING_OPT_ID != 0 {
		x.key.Store(0)
	}
	k.markSendExtras()
}

// sendStamped sends what is built in tx, whose last frame is the datagram's, and
// puts the time stamps into the error queue. overriding are the call's own flags
// if they are not 0.
func (k *Socket) sendStamped(tx *txbuf, overriding uint32) unix.Errno {
	flags := k.sendExtras.stamps.flags.Load()
	if overriding != 0 {
		flags = flags&^txStampFlags | overriding
	}
	key := uint32(0)
	if flags&unix.SOF_TIMESTAMPING_OPT_ID != 0 {
		key = k.sendExtras.stamps.key.Add(1) - 1
	}
	if flags&txStampFlags == 0 || len(tx.batch) == 0 {
		return 0
	}
	e := QueuedError{Errno: unix.ENOMSG, Origin: unix.SO_EE_ORIGIN_TIMESTAMPING, Data: key}
	if flags&unix.SOF_TIMESTAMPING_OPT_TSONLY == 0 {
		e.Payload = bytes.Clone(tx.batch[len(tx.batch)-1].Data)
	}
	before := time.Now().UnixNano()
	if errno := tx.flush(); errno != 0 {
		return errno
	}
	if flags&unix.SOF_TIMESTAMPING_TX_SCHED != 0 {
		e.Info, e.Time = unix.SCM_TSTAMP_SCHED, before
		k.queueError(e)
	}
	if flags&unix.SOF_TIMESTAMPING_TX_SOFTWARE != 0 {
		e.Info, e.Time = unix.SCM_TSTAMP_SND, time.Now().UnixNano()
		k.queueError(e)
	}
	return 0
}
