package sockapi

import (
	"encoding/binary"

	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// SO_TIMESTAMP_OOB is EVL's option of SOL_SOCKET for times of CLOCK_MONOTONIC: an
// int of EVL_SOF_TIMESTAMP_*. EINVAL: other bits. Setting it drops the records of
// what was sent.
//
// With EVL_SOF_TIMESTAMP_RX, OobRecvmsg stores an [IOTimes] in Control. With
// EVL_SOF_TIMESTAMP_TX, each datagram that is sent leaves a record; OobRecvmsg with
// MSG_TIMESTAMP takes as many as fit in Iov, one after the other, and returns their
// bytes. It waits for the first as for a datagram, and EPOLLIN tells of them too.
// MSG_TRUNC in Flags: more were sent since the last time than the 256 that are
// kept. EINVAL: EVL_SOF_TIMESTAMP_TX is off. A datagram that had to wait for its
// neighbour leaves no record.
const SO_TIMESTAMP_OOB = option.TimestampOOB

// The bits of SO_TIMESTAMP_OOB. The time of delivery is always there; those of the
// device and of queuing are 0 unless asked for.
const (
	EVL_SOF_TIMESTAMP_RX      = option.OobReceive
	EVL_SOF_TIMESTAMP_TX      = option.OobTransmit
	EVL_SOF_TIMESTAMP_DEVICE  = option.OobDevice
	EVL_SOF_TIMESTAMP_QUEUING = option.OobQueuing

	EVL_SOF_TIMESTAMPS = option.OobAll
)

// IOTimesLen is the length of a struct evl_net_iotimes in bytes.
const IOTimesLen = 24

// IOTimes is when a datagram passed three points, in nanoseconds of
// CLOCK_MONOTONIC, 0 where it was not stamped (struct evl_net_iotimes).
type IOTimes struct {
	// Device: on receive, when the kernel had it from its device; on send, when
	// the link had accepted it.
	Device int64
	// Queuing: on receive, when it was read from the link; on send, when it was
	// handed to the link.
	Queuing int64
	// Delivery: on receive, when the socket was given it; on send, when the call
	// began.
	Delivery int64
}

// ParseIOTimes reads the first record in b; ok is false if there is none. What
// follows is b[IOTimesLen:].
func ParseIOTimes(b []byte) (t IOTimes, ok bool) {
	if len(b) < IOTimesLen {
		return IOTimes{}, false
	}
	return IOTimes{
		Device:   int64(binary.NativeEndian.Uint64(b)),
		Queuing:  int64(binary.NativeEndian.Uint64(b[8:])),
		Delivery: int64(binary.NativeEndian.Uint64(b[16:])),
	}, true
}

// putIOTimes stores a record, with what the flags ask for.
func putIOTimes(b []byte, t stack.IOTimes, flags uint32) {
	if flags&EVL_SOF_TIMESTAMP_DEVICE == 0 {
		t.Device = 0
	}
	if flags&EVL_SOF_TIMESTAMP_QUEUING == 0 {
		t.Queuing = 0
	}
	binary.NativeEndian.PutUint64(b, uint64(t.Device))
	binary.NativeEndian.PutUint64(b[8:], uint64(t.Queuing))
	binary.NativeEndian.PutUint64(b[16:], uint64(t.Delivery))
}

// putReceiveTimes stores a datagram's times, and returns how many bytes: none if it
// came before they were asked for.
func (s *stackSocket) putReceiveTimes(control []byte, in *stack.Info) int {
	if in.Delivered == 0 {
		return 0
	}
	putIOTimes(control, s.api.st.ReceiveTimes(in), s.OobTimes.Load())
	return IOTimesLen
}

// timesAtOnce is how many records are copied at once.
const timesAtOnce = 16

// recvTransmitTimes is OobRecvmsg with MSG_TIMESTAMP. A record that does not fit
// whole in a buffer is left for the next.
func (s *stackSocket) recvTransmitTimes(iov [][]byte, end int64, flags int) (received, error) {
	room := 0
	for _, b := range iov {
		room += len(b) / IOTimesLen
	}
	if room == 0 {
		return received{}, s.orClosed(unix.EINVAL)
	}
	r, asked := received{flags: MSG_TIMESTAMP}, s.OobTimes.Load()
	var times [timesAtOnce]stack.IOTimes
	for _, b := range iov {
		for len(b) >= IOTimesLen {
			n, lost, err := s.K.Times().TransmitTimes(times[:min(len(b)/IOTimesLen, timesAtOnce)], flags, end)
			if err != nil {
				if r.n > 0 {
					return r, nil
				}
				return received{}, s.api.expired(err, flags, end)
			}
			if n == 0 && !lost { // shut down
				return r, nil
			}
			if lost {
				r.flags |= unix.MSG_TRUNC
			}
			for _, t := range times[:n] {
				putIOTimes(b, t, asked)
				b = b[IOTimesLen:]
				r.n += IOTimesLen
			}
			flags |= unix.MSG_DONTWAIT
		}
	}
	return r, nil
}
