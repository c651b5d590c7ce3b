package stack

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
)

// txStamps is what a socket wants to know of when its datagrams left
// (SO_TIMESTAMPING in Documentation/networking/timestamping.rst).
type txStamps struct {
	flags atomic.Uint32 // SOF_TIMESTAMPING_*
	key   atomic.Uint32 // the next datagram's number (OPT_ID)
}

// SetTimestamping sets which time stamps of sent datagrams go to the error queue,
// as SOF_TIMESTAMPING_* flags: TX_SCHED when a datagram is handed to the device,
// TX_SOFTWARE when that has taken it. OPT_ID numbers those that are stamped, from
// 0 on when it is turned on; OPT_TSONLY leaves the frame out of the entry. Of a
// datagram in fragments the first is stamped, of one of UDP_SEGMENT the first too.
// What waits for its neighbour is stamped when it leaves.
func (k *Endpoint) SetTimestamping(flags uint32) {
	x := &k.stamps
	if old := x.flags.Swap(flags); flags&^old&unix.SOF_TIMESTAMPING_OPT_ID != 0 {
		x.key.Store(0)
	}
	k.sendExtras.Follow(option.SendStamps, func() bool { return x.flags.Load()&output.StampRecord != 0 })
}

// beginStamp finds out if a datagram is to be stamped, and numbers it. dropStamp
// or stampSent ends what it begins.
func (k *Endpoint) beginStamp(o *outgoing) (st output.Stamp) {
	x := &k.stamps
	flags := x.flags.Load()
	if o.opts != nil && o.opts.Timestamping != 0 {
		flags = flags&^output.StampRecord | o.opts.Timestamping
	}
	if flags&output.StampRecord == 0 || o.segment {
		return output.Stamp{}
	}
	st.Flags = flags
	switch {
	case o.opts != nil && o.opts.HasStampID:
		st.Key = o.opts.StampID
	case flags&unix.SOF_TIMESTAMPING_OPT_ID != 0:
		st.Key = x.key.Add(1) - 1
	}
	return st
}

// dropStamp gives the number of a datagram back that is not sent.
func (k *Endpoint) dropStamp(st *output.Stamp, o *outgoing) {
	if st.Flags&unix.SOF_TIMESTAMPING_OPT_ID != 0 && (o.opts == nil || !o.opts.HasStampID) {
		k.stamps.key.Add(^uint32(0))
	}
}

// sendStamped sends what is built in tx, and stamps the datagram in it if that is
// wanted.
func (k *Endpoint) sendStamped(tx *output.Buffer, st *output.Stamp) unix.Errno {
	if st.Flags&output.StampFlags == 0 {
		return 0
	}
	before := k.s.WallTime()
	if errno := tx.Finish(); errno != 0 {
		return errno
	}
	k.out.TellStamp(st, before, k.s.WallTime())
	return 0
}
