// Package loopback is a link on which what is sent is received again: the stack's
// "lo".
//
// It is a bounded queue in memory: no kernel, no descriptor, no goroutine. Sending
// and receiving a small datagram takes well under 100 ns and allocates nothing. A
// checksum that the sender left to the link (see [link.CapChecksum]) is never
// computed, since no receiver needs it: the frame arrives with [link.ChecksumPartial].
//
// Frames keep their Ethernet header, as on Linux' loopback device, whose hardware
// address is all zero.
package loopback

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// Defaults for what Options leaves 0.
const (
	DefaultMTU    = 65536   // bytes, as Linux' loopback device
	DefaultFrames = 1000    // frames, as net.core.netdev_max_backlog
	DefaultBytes  = 4 << 20 // bytes
)

// Options are the properties of a loopback link. The zero value is of use.
type Options struct {
	Name   string // "" means "lo"
	Index  int    // Info.Index
	MTU    int    // bytes behind the Ethernet header; 0 means DefaultMTU
	Frames int    // how many frames may wait; 0 means DefaultFrames
	Bytes  int    // how many bytes of frames may wait; 0 means DefaultBytes

	// Now is the clock of the time stamps of received frames, in nanoseconds
	// since the Unix epoch. nil means that frames have none, which saves the
	// time that reading a clock takes.
	Now func() int64
}

// A Link is a loopback link.
type Link struct {
	info    link.Info
	now     func() int64
	pending atomic.Bool // queue holds frames; false lets an empty Receive go without the lock
	closed  atomic.Bool
	notify  atomic.Pointer[notify]
	groups  memory.Groups
	modes   memory.Modes

	mu    sync.Mutex
	queue memory.Queue
	stats link.Stats
}

var _ link.Link = (*Link)(nil)

type notify struct{ readable, changed func() }

// New returns a loopback link. It is up until it is closed.
func New(opts Options) *Link {
	if opts.Name == "" {
		opts.Name = "lo"
	}
	l := &Link{
		info: link.Info{Name: opts.Name, Index: opts.Index, MTU: orDefault(opts.MTU, DefaultMTU),
			State: link.Up, Caps: link.CapLoopback | link.CapChecksum | link.CapMark},
		now:   opts.Now,
		queue: memory.NewQueue(orDefault(opts.Frames, DefaultFrames), orDefault(opts.Bytes, DefaultBytes)),
	}
	if opts.Now != nil {
		l.info.Caps |= link.CapTimestamps
	}
	return l
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// Receive implements [link.Link].
func (l *Link) Receive(frames []link.Frame) int {
	if !l.pending.Load() {
		return 0
	}
	l.mu.Lock()
	n := l.queue.Pop(frames)
	if l.queue.Len() == 0 {
		l.pending.Store(false)
	}
	l.mu.Unlock()
	return n
}

// Release implements [link.Link].
func (l *Link) Release() {
	l.mu.Lock()
	l.queue.Release()
	l.mu.Unlock()
}

// Send implements [link.Link]. If the queue is full the frame is dropped and
// counted as RxDropped, and Send returns nil, as on Linux' loopback device. Beside
// the errors of link.Link it returns EINVAL for a frame shorter than an Ethernet
// header.
func (l *Link) Send(frame []byte) error {
	f := link.TxFrame{Data: frame}
	return l.send(&f)
}

// SendBatch implements [link.Link]; see Send. A GSO packet gives EOPNOTSUPP.
func (l *Link) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		if err := l.send(&frames[i]); err != nil {
			return i, err
		}
	}
	return len(frames), nil
}

// send is the hot path: one lock, one copy.
func (l *Link) send(f *link.TxFrame) error {
	if err := memory.CheckTx(f, l.info.Caps, l.info.MTU); err != nil {
		return l.fail(err)
	}
	meta := link.Meta{WireLen: len(f.Data), Type: memory.TypeOf(f.Data, link.MAC{}), Priority: f.Priority, Mark: f.Mark,
		ByLoopback: f.ByLoopback}
	if f.PartialChecksum {
		meta.Checksum = link.ChecksumPartial
	}
	if l.now != nil {
		meta.Time, meta.Clock = l.now(), link.ClockSoftware
	}
	l.mu.Lock()
	if l.closed.Load() {
		l.mu.Unlock()
		return l.fail(unix.ENETDOWN)
	}
	first := l.queue.Len() == 0
	size := uint64(len(f.Data))
	l.stats.TxFrames++
	l.stats.TxBytes += size
	if l.queue.Push(f.Data, &meta) {
		l.stats.RxFrames++
		l.stats.RxBytes += size
	} else {
		l.stats.RxDropped++
	}
	if first {
		l.pending.Store(true)
	}
	l.mu.Unlock()
	if first {
		if n := l.notify.Load(); n != nil && n.readable != nil {
			n.readable()
		}
	}
	return nil
}

// fail counts a frame that was not sent.
func (l *Link) fail(err error) error {
	l.mu.Lock()
	l.stats.TxErrors++
	l.mu.Unlock()
	if l.closed.Load() {
		return unix.ENETDOWN
	}
	return err
}

// Info implements [link.Link]. The hardware address is all zero. The state is Up,
// and Gone after Close.
func (l *Link) Info() link.Info {
	info := l.info
	if l.closed.Load() {
		info.State = link.Gone
	}
	return info
}

// Stats implements [link.Link].
func (l *Link) Stats() link.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Lost implements [link.LossTeller].
func (l *Link) Lost() uint64 { return l.Stats().RxDropped }

// SetNotify implements [link.Link]. readable is called when a frame is sent and
// none was waiting, on the goroutine that sends.
func (l *Link) SetNotify(readable, changed func()) {
	l.notify.Store(&notify{readable, changed})
}

// FD implements [link.Link]: there is none.
func (l *Link) FD() int { return -1 }

// PollError implements [link.Link]: it has no descriptor that could have one.
func (l *Link) PollError() {}

// JoinGroup implements [link.Link]. All groups' frames come back in any case;
// memberships are only counted. It returns EINVAL for an address that is no group.
func (l *Link) JoinGroup(group link.MAC) error { return l.groups.Join(group) }

// LeaveGroup implements [link.Link]. It returns EADDRNOTAVAIL for a group that is
// not joined.
func (l *Link) LeaveGroup(group link.MAC) error { return l.groups.Leave(group) }

// AddMode implements [link.Link]. All frames come back in any
// case; modes are only counted. It returns EINVAL for what is no mode.
func (l *Link) AddMode(m link.Mode) error { return l.modes.Add(m) }

// DropMode implements [link.Link]. It returns EADDRNOTAVAIL for a mode that is not
// on.
func (l *Link) DropMode(m link.Mode) error { return l.modes.Drop(m) }

// Close implements [link.Link]. Frames that wait are dropped. A second Close does
// nothing.
func (l *Link) Close() error {
	l.mu.Lock()
	first := !l.closed.Swap(true)
	l.queue.Clear()
	l.pending.Store(false)
	l.mu.Unlock()
	if n := l.notify.Load(); first && n != nil && n.changed != nil {
		n.changed()
	}
	return nil
}
