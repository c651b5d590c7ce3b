package stack

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// txStampFlags are those of SOF_TIMESTAMPING_* that sending looks at, and
// txStampRecord all that ask for the stamp of a datagram, which numbers it.
const (
	txStampFlags  = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_SCHED
	txStampRecord = txStampFlags | unix.SOF_TIMESTAMPING_TX_HARDWARE
)

// A sentStamp is the stamp of one datagram on its way out. It is none without
// flags.
type sentStamp struct {
	flags, key uint32
	frame      []byte // with the flags that want it
}

// keep keeps the first frame of a datagram for its stamp.
func (st *sentStamp) keep(frame []byte) {
	if st.flags != 0 && st.frame == nil && st.flags&unix.SOF_TIMESTAMPING_OPT_TSONLY == 0 {
		st.frame = bytes.Clone(frame)
	}
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
