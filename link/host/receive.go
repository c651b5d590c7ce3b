package host

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/link"
)

const (
	// slots is how many of the holders' datagrams one Receive hands out at most.
	slots = 32
	// headroom has room for what stands before the payload in a slot, Ethernet, IPv4 with
	// options and UDP, or those of an ICMP error, rounded up to where a payload is aligned.
	headroom = 96
	// maxPayload is the longest payload of a UDP datagram (RFC 768), or super-packet.
	maxPayload = ipMaxLen - ipMinHeaderLen - udpHeaderLen
	slotSize   = headroom + (maxPayload+63)&^63
	// clockEvery is every how many calls the clock is looked at, which takes longer than to
	// look at the ring, but for the first one after Prompt.
	clockEvery = 16
)

// Which of the two an event of the epoll is of.
const (
	eventRing int32 = iota
	eventSource
	eventTokens
)

// A receiver makes frames of the holders' datagrams. Its memory is some 2 MiB, of which
// only the pages that datagrams have reached are there.
type receiver struct {
	source Source
	epoll  int
	now    func() int64 // nanoseconds of a monotonic clock
	next   int64        // when it is time to look; 0: at once
	calls  uint32       // of Receive, since the clock was looked at
	every  uint32       // after how many it is
	events [eventTokens]unix.EpollEvent
	in     [slots]holder.Datagram
	memory []byte

	frames, bytes atomic.Uint64
	by            byDevice
}

// epoch is when the clock of receivers begins.
var epoch = time.Now()

func monotonic() int64 { return int64(time.Since(epoch)) }

func (r *receiver) init(s Source) {
	r.source, r.now, r.every, r.epoll = s, monotonic, clockEvery, -1
	if s == nil {
		return
	}
	r.memory = make([]byte, slots*slotSize)
	for i := range r.in {
		r.in[i].Buffer = r.memory[i*slotSize+headroom:][:maxPayload:maxPayload]
	}
}

// Receive hands out frames of the ring, and of the holders if it is time to look there: no
// more than half of what there is room for, so that neither can keep the other away. See
// [link.Link].
func (l *Link) Receive(frames []link.Frame) int {
	if l.closed.Load() || len(frames) == 0 {
		return 0
	}
	held := 0
	if l.rx.calls++; l.rx.calls >= l.rx.every || l.rx.next == 0 || l.due.Load() || l.prompted.Load() {
		held = l.lookInTime(frames)
	}
	if l.ring == nil {
		l.rx.again(held > 0)
		return held
	}
	ringed := 0
	if held < len(frames) {
		ringed = l.ring.Receive(frames[held:])
		l.rx.again(held > 0 && ringed == 0)
	}
	return held + ringed
}

// lookInTime looks at the holders if it is time to: a caller that has slept has been woken
// by them, maybe.
func (l *Link) lookInTime(frames []link.Frame) int {
	now := l.rx.now()
	l.rx.calls = 0
	l.prompted.Store(false)
	if l.due.Swap(false) || now >= l.rx.next {
		l.rx.next = now + int64(LookInterval)
		return l.look(frames)
	}
	return 0
}

// again has the next Receive look at once.
func (r *receiver) again(yes bool) {
	if yes {
		r.next = 0
	}
}

// Release gives all frames back that Receive handed out.
func (l *Link) Release() {
	if l.ring != nil {
		l.ring.Release()
	}
}

// look asks the epoll what there is, and takes what the holders have. The epoll tells of
// the ring's errors too, which a sleeper sees only as readable.
func (l *Link) look(frames []link.Frame) int {
	r := &l.rx
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(r.epoll), uintptr(unsafe.Pointer(&r.events[0])),
		uintptr(len(r.events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	held := 0
	for _, ev := range r.events[:n] {
		switch {
		case ev.Fd == eventSource:
			held = r.take(frames, l.ring != nil)
		case ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
			l.ring.PollError()
		}
	}
	return held
}

// take makes frames of what the holders have.
func (r *receiver) take(frames []link.Frame, shared bool) int {
	room := len(frames)
	if shared {
		room = (room + 1) / 2
	}
	n := r.source.Receive(r.in[:min(room, slots)])
	var bytes int
	for i := range n {
		r.frame(&frames[i], i)
		bytes += len(frames[i].Data)
		r.by.count(frames[i].Device)
	}
	r.frames.Add(uint64(n))
	r.bytes.Add(uint64(bytes))
	return n
}
