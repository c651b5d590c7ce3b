package sockapi

import (
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// expired returns ETIMEDOUT for EAGAIN if that is why a call has ended.
func (a *API) expired(err error, flags int, deadline int64) error {
	if err == unix.EAGAIN && flags&unix.MSG_DONTWAIT == 0 && deadline != stack.NoDeadline && a.st.Deadline(0) >= deadline {
		return unix.ETIMEDOUT
	}
	return err
}

func (s *stackSocket) oobRecvmsg(iov [][]byte, control []byte, flags int, end int64) (r received, err error) {
	flags |= int(s.nonblock.Load())
	if flags&MSG_TIMESTAMP != 0 {
		return s.recvTransmitTimes(iov, end, flags)
	}
	timed := s.OobTimes.Load()&EVL_SOF_TIMESTAMP_RX != 0 && len(control) > 0
	switch {
	case timed && len(control) < IOTimesLen:
		return received{}, s.orClosed(unix.EINVAL)
	case len(iov) > maxBuffers:
		return received{}, s.orClosed(unix.EMSGSIZE)
	}
	b := s.api.batch(1)
	defer s.api.release(b)
	b.in[0].Buffers = iov
	if _, err := s.K.RecvMessages(b.in[:1], flags&recvStackFlags, end); err != nil {
		return received{}, s.api.expired(err, flags, end)
	}
	if !timed {
		s.tell(&r, &b.in[0], control, 0)
		return r, nil
	}
	s.tell(&r, &b.in[0], nil, 0)
	r.flags &^= unix.MSG_CTRUNC
	r.controlLen = s.putReceiveTimes(control, &b.in[0].Info)
	return r, nil
}

func (s *stackSocket) oobSendmsg(to Sockaddr, iov [][]byte, control []byte, flags int, end int64) (int, error) {
	flags |= int(s.nonblock.Load())
	b := s.api.batch(1)
	defer s.api.release(b)
	n, err := b.fill(s, 0, &to, iov, control)
	if err != nil {
		return 0, s.orClosed(err)
	}
	const asks = MSG_PROBE | unix.MSG_DONTROUTE
	if out := &b.out[0]; flags&asks != 0 {
		if out.Options == nil {
			b.opts[0] = stack.SendOptions{}
			out.Options = &b.opts[0]
		}
		out.Options.Direct = flags&unix.MSG_DONTROUTE != 0
	}
	if _, err := s.K.SendMessages(b.out[:1], flags&sendStackFlags&^unix.MSG_DONTROUTE, end); err != nil {
		return 0, s.api.expired(err, flags, end)
	}
	if flags&MSG_PROBE != 0 && b.opts[0].Queued {
		return 0, unix.EINPROGRESS
	}
	return n, nil
}

// solicitTimeout is how long solicit waits: EVL's net/ipv4_solicit_timeout.
const solicitTimeout = 5 * time.Second

func (s *stackSocket) solicit(peer Sockaddr, flags int) error {
	switch {
	case s.K.Closed():
		return unix.EBADF
	case peer.Family != unix.AF_INET:
		return unix.EAFNOSUPPORT
	}
	return s.K.Solicit(peer.AddrPort().Addr(), solicitTimeout, stack.SolicitFlags(flags))
}
