package output

import (
	"bytes"

	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// StampFlags are those of SOF_TIMESTAMPING_* that sending looks at, and
// StampRecord all that ask for the stamp of a datagram, which numbers it.
const (
	StampFlags  = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_SCHED
	StampRecord = StampFlags | unix.SOF_TIMESTAMPING_TX_HARDWARE
)

// A Stamp is the stamp of one datagram on its way out. It is none without
// flags.
type Stamp struct {
	Flags, Key uint32
	frame      []byte // with the flags that want it
}

// Keep keeps the first frame of a datagram for its stamp.
func (st *Stamp) Keep(frame []byte) {
	if st.Flags != 0 && st.frame == nil && st.Flags&unix.SOF_TIMESTAMPING_OPT_TSONLY == 0 {
		st.frame = bytes.Clone(frame)
	}
}

// TellStamp puts the time stamps of a datagram into the error queue: when it was
// handed to the device, and when that had taken it.
func (s *Sender) TellStamp(st *Stamp, before, after int64) {
	e := queue.QueuedError{Errno: unix.ENOMSG, Origin: unix.SO_EE_ORIGIN_TIMESTAMPING, Data: st.Key, Payload: st.frame}
	if st.Flags&unix.SOF_TIMESTAMPING_TX_SCHED != 0 {
		e.Info, e.Time = unix.SCM_TSTAMP_SCHED, before
		s.host.ErrorArrived(e)
	}
	if st.Flags&unix.SOF_TIMESTAMPING_TX_SOFTWARE != 0 {
		e.Info, e.Time = unix.SCM_TSTAMP_SND, after
		s.host.ErrorArrived(e)
	}
}
