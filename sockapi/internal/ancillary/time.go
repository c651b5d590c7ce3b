package ancillary

import (
	"encoding/binary"

	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// putTime stores the time stamps that the socket wants. A datagram without one,
// since its link makes none, is stamped now, as Linux does when stamping was
// turned on after its arrival.
func putTime(s *option.State, w *cmsg.Writer, in *stack.Info, wants uint32) {
	ns := in.Time
	if in.Clock == link.ClockNone {
		ns = s.Stack.WallTime()
	}
	var data [timestampingDataLen]byte
	kinds := &oldStamps
	if wants&option.WantTimestampNew != 0 {
		kinds = &newStamps
	}
	switch {
	case wants&option.WantTimestampNS != 0:
		putTimespec(data[:], ns)
		w.Put(unix.SOL_SOCKET, kinds.nano, data[:16])
	case wants&option.WantTimestamp != 0:
		binary.NativeEndian.PutUint64(data[:], uint64(ns/1e9))
		binary.NativeEndian.PutUint64(data[8:], uint64(ns%1e9/1e3))
		w.Put(unix.SOL_SOCKET, kinds.micro, data[:16])
	}
	if wants&option.WantTimestamping == 0 {
		return
	}
	clear(data[:])
	flags := int(s.Timestamping.Load())
	hard := in.Clock == link.ClockHardware
	any := false
	// Without OPT_RX_FILTER a stamp that another socket has asked for is told too,
	// and links stamp whatever comes.
	receive := flags&unix.SOF_TIMESTAMPING_RX_SOFTWARE != 0 || flags&option.TimestampingOptRxFilter == 0
	if flags&unix.SOF_TIMESTAMPING_SOFTWARE != 0 && receive && !hard {
		putTimespec(data[:], ns)
		any = true
	}
	receive = flags&unix.SOF_TIMESTAMPING_RX_HARDWARE != 0 || flags&option.TimestampingOptRxFilter == 0
	if flags&unix.SOF_TIMESTAMPING_RAW_HARDWARE != 0 && receive && hard {
		putTimespec(data[32:], ns)
		any = true
	}
	if any {
		w.Put(unix.SOL_SOCKET, kinds.all, data[:])
	}
}

// timestampingDataLen is the length of a struct scm_timestamping: three times, of
// which the second is not used any more.
const timestampingDataLen = 3 * 16

// stampTypes are the types of the control messages with time stamps.
type stampTypes struct{ micro, nano, all int }

var (
	oldStamps = stampTypes{unix.SO_TIMESTAMP, unix.SO_TIMESTAMPNS, unix.SO_TIMESTAMPING}
	newStamps = stampTypes{unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW, unix.SO_TIMESTAMPING_NEW}
)

// putTimespec writes a struct timespec.
func putTimespec(b []byte, ns int64) {
	binary.NativeEndian.PutUint64(b, uint64(ns/1e9))
	binary.NativeEndian.PutUint64(b[8:], uint64(ns%1e9))
}
