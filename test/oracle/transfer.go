package oracle

import (
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// Data returns n bytes that differ from place to place.
func Data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz"[i%26] ^ byte(i/26)
	}
	return b
}

// show writes bytes down: short ones as they are, long ones by a checksum.
func show(b []byte) string {
	if len(b) <= 32 {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%d bytes (%08x)", len(b), crc32.ChecksumIEEE(b))
}

// Send calls send.
func (k *Sock) Send(p []byte, flags int) {
	k.do(fmt.Sprintf("send(%s, %s)", show(p), flagNames(flags)), func() string {
		n, err := k.s.Send(p, flags)
		return count(n, err)
	})
}

// Sendto calls sendto.
func (k *Sock) Sendto(p []byte, flags int, to sockapi.Sockaddr) {
	k.do(fmt.Sprintf("sendto(%s, %s, %s)", show(p), flagNames(flags), k.r.addr(to)), func() string {
		n, err := k.s.Sendto(p, flags, to)
		return count(n, err)
	})
}

// Sendmsg calls sendmsg with pieces to gather and control messages.
func (k *Sock) Sendmsg(pieces [][]byte, control []byte, flags int, to sockapi.Sockaddr) {
	call := fmt.Sprintf("sendmsg(%s, control %s, %s, %s)", showAll(pieces), Control(k.r, control), flagNames(flags), k.r.addr(to))
	k.do(call, func() string {
		n, err := k.s.Sendmsg(&sockapi.Msghdr{Name: to, Iov: pieces, Control: control}, flags)
		return count(n, err)
	})
}

// Sendmmsg calls sendmmsg with one piece a message.
func (k *Sock) Sendmmsg(flags int, to sockapi.Sockaddr, pieces ...[]byte) {
	call := fmt.Sprintf("sendmmsg(%s, %s, %s)", showAll(pieces), flagNames(flags), k.r.addr(to))
	k.do(call, func() string {
		msgs := make([]sockapi.Mmsghdr, len(pieces))
		for i, p := range pieces {
			msgs[i].Hdr = sockapi.Msghdr{Name: to, Iov: [][]byte{p}}
		}
		n, err := k.s.Sendmmsg(msgs, flags)
		out := count(n, err)
		for i := range msgs[:max(n, 0)] {
			out += fmt.Sprintf(", %d", msgs[i].Len)
		}
		return out
	})
}

// Recv calls recv with a buffer of size bytes.
func (k *Sock) Recv(size, flags int) {
	k.do(fmt.Sprintf("recv(%d, %s)", size, flagNames(flags)), func() string {
		p := make([]byte, size)
		n, err := k.s.Recv(p, flags)
		return received(p, n, err)
	})
}

// Recvfrom calls recvfrom.
func (k *Sock) Recvfrom(size, flags int) {
	k.do(fmt.Sprintf("recvfrom(%d, %s)", size, flagNames(flags)), func() string {
		p := make([]byte, size)
		n, from, err := k.s.Recvfrom(p, flags)
		if err != nil {
			return errnoName(err)
		}
		return received(p, n, nil) + " from " + k.r.addr(from)
	})
}

// Recvmsg calls recvmsg with buffers of these sizes and room for control bytes
// of control messages.
func (k *Sock) Recvmsg(control, flags int, sizes ...int) {
	room := fmt.Sprint(sizes)
	if len(sizes) > 16 {
		room = fmt.Sprintf("%d pieces", len(sizes))
	}
	call := fmt.Sprintf("recvmsg(%s, control %d, %s)", room, control, flagNames(flags))
	k.do(call, func() string {
		m := message(control, sizes...)
		n, err := k.s.Recvmsg(&m, flags)
		if err != nil {
			return errnoName(err)
		}
		return k.r.message(&m, n)
	})
}

// Recvmmsg calls recvmmsg for n messages of one buffer each; a negative timeout
// is none.
func (k *Sock) Recvmmsg(n, size, flags int, timeout time.Duration) {
	call := fmt.Sprintf("recvmmsg(%d of %d, %s, %v)", n, size, flagNames(flags), timeout)
	k.do(call, func() string {
		msgs := make([]sockapi.Mmsghdr, n)
		for i := range msgs {
			msgs[i].Hdr = message(0, size)
		}
		got, err := k.s.Recvmmsg(msgs, flags, timeout)
		if err != nil {
			return errnoName(err)
		}
		out := fmt.Sprint(got)
		for i := range msgs[:got] {
			out += "; " + k.r.message(&msgs[i].Hdr, msgs[i].Len)
		}
		return out
	})
}

// Drain receives until nothing is left, whatever there is.
func (k *Sock) Drain() {
	for range 64 {
		before := len(k.r.lines)
		k.Recvfrom(1<<16, unix.MSG_DONTWAIT)
		if len(k.r.lines) == before || strings.HasSuffix(k.r.lines[before], "EAGAIN") {
			return
		}
	}
}

// Discard receives all that there is, and writes down how much that was.
func (k *Sock) Discard() {
	k.do("discard()", func() string {
		var b [1 << 16]byte
		datagrams, bytes := 0, 0
		for end := 0; end < 4; { // a pending error comes before what is queued
			n, err := k.s.Recv(b[:], unix.MSG_DONTWAIT)
			if err != nil || n == 0 {
				end++
			}
			if err == nil {
				datagrams, bytes = datagrams+1, bytes+n
			}
			if datagrams == maxDiscarded {
				break
			}
		}
		return fmt.Sprintf("%d datagrams, %d bytes", datagrams, bytes)
	})
}

// maxDiscarded bounds Discard: a socket that was shut down receives nothing for ever.
const maxDiscarded = 100

// message returns a message to receive.
func message(control int, sizes ...int) sockapi.Msghdr {
	m := sockapi.Msghdr{Control: make([]byte, control), Flags: 0x5a5a}
	for _, n := range sizes {
		m.Iov = append(m.Iov, make([]byte, n))
	}
	return m
}

// message writes down a received message.
func (r *Run) message(m *sockapi.Msghdr, n int) string {
	out := fmt.Sprintf("%d %s from %s, %s", n, showAll(stored(m.Iov, n)), r.addr(m.Name), flagNames(m.Flags))
	if len(m.Control) > 0 {
		out += ", control " + Control(r, m.Control[:min(m.ControlLen, len(m.Control))])
	}
	return out
}

// stored returns the part of buffers that n bytes fill.
func stored(bufs [][]byte, n int) (out [][]byte) {
	for _, b := range bufs {
		k := min(n, len(b))
		out = append(out, b[:k])
		n -= k
	}
	return out
}

func showAll(bufs [][]byte) string {
	if len(bufs) > 16 {
		return fmt.Sprintf("%d pieces", len(bufs))
	}
	out := make([]string, len(bufs))
	for i, b := range bufs {
		out[i] = show(b)
	}
	return "[" + strings.Join(out, " ") + "]"
}

// count writes down a number of bytes or an errno.
func count(n int, err error) string {
	if err != nil {
		return errnoName(err)
	}
	return fmt.Sprint(n)
}

// received writes down what recv returned: n may be more than fitted.
func received(p []byte, n int, err error) string {
	if err != nil {
		return errnoName(err)
	}
	return fmt.Sprintf("%d %s", n, show(p[:min(n, len(p))]))
}
