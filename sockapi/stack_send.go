package sockapi

import (
	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// sendStackFlags are the flags of sending calls that the stack knows. Others are
// ignored, as Linux ignores them.
const sendStackFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL | unix.MSG_OOB | unix.MSG_MORE |
	unix.MSG_DONTROUTE | unix.MSG_CONFIRM

// maxBuffers is how many buffers a message has at most (UIO_MAXIOV).
const maxBuffers = 1024

// maxMessages is how many messages sendmmsg takes at most (UIO_MAXIOV).
const maxMessages = 1024

// send is a hot path: no allocation.
func (s *stackSocket) send(p []byte, flags int) (int, error) {
	err := s.K.Send(p, flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.SndTimeout))
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *stackSocket) sendto(p []byte, flags int, to Sockaddr) (int, error) {
	switch {
	case to.IsZero():
		return s.send(p, flags)
	case s.IsPacket():
		return s.sendFrame(p, flags, to)
	case to.Family != unix.AF_INET:
		s.IP.Autobind()
		return 0, s.orClosed(to.notInet())
	}
	err := s.K.SendTo(p, flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.SndTimeout), to.AddrPort())
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *stackSocket) sendmsg(to Sockaddr, iov [][]byte, control []byte, flags int) (int, error) {
	b := s.api.batch(1)
	n, err := b.fill(s, 0, &to, iov, control)
	if err != nil {
		err = s.orClosed(err)
	} else {
		_, err = s.K.SendMessages(b.out[:1], flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.SndTimeout))
	}
	s.api.release(b)
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (s *stackSocket) sendmmsg(msgs []Mmsghdr, flags int) (int, error) {
	msgs = msgs[:min(len(msgs), maxMessages)]
	b := s.api.batch(len(msgs))
	defer s.api.release(b)
	fit := len(msgs)
	for i := range msgs {
		m := &msgs[i].Hdr
		n, err := b.fill(s, i, &m.Name, m.Iov, m.Control)
		if err != nil {
			if i == 0 {
				return 0, s.orClosed(err)
			}
			fit = i
			break
		}
		msgs[i].Len = n
	}
	return s.K.SendMessages(b.out[:fit], flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.SndTimeout))
}

// fill makes the stack's message i, and returns its length.
func (b *batch) fill(s *stackSocket, i int, to *Sockaddr, iov [][]byte, control []byte) (int, error) {
	out := &b.out[i]
	if len(iov) > maxBuffers {
		return 0, unix.EMSGSIZE
	}
	if s.IsPacket() {
		return lenOf(iov), b.fillFrame(s, i, to, iov, control)
	}
	if !to.IsZero() && to.Family != unix.AF_INET {
		s.IP.Autobind()
		return 0, to.notInet()
	}
	out.Buffers, out.To, out.Options, out.Link = iov, to.AddrPort(), nil, nil
	if len(control) > 0 {
		o := &b.opts[i]
		*o = stack.SendOptions{}
		if err := ancillary.Parse(&s.State, control, o); err != nil {
			s.IP.Autobind()
			return 0, err
		}
		out.Options = o
	}
	return lenOf(iov), nil
}

// lenOf returns the length of what is gathered.
func lenOf(iov [][]byte) int {
	n := 0
	for _, b := range iov {
		n += len(b)
	}
	return n
}

// batch is the stack's view of messages, reused from call to call.
type batch struct {
	in    []stack.Message
	out   []stack.OutMessage
	opts  []stack.SendOptions // of out
	links []stack.LinkAddr    // of out, if a packet socket has used it
}

func (a *API) batch(n int) *batch {
	b := a.msgs.Get().(*batch)
	if len(b.in) < n {
		b.in = make([]stack.Message, n)
		b.out = make([]stack.OutMessage, n)
		b.opts = make([]stack.SendOptions, n)
	}
	return b
}

// release gives a batch back, without the caller's buffers.
func (a *API) release(b *batch) {
	for i := range b.in {
		if b.in[i].Buffers == nil && b.out[i].Buffers == nil {
			break
		}
		b.in[i].Buffers, b.out[i].Buffers = nil, nil
	}
	a.msgs.Put(b)
}
