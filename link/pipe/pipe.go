// Package pipe is a pair of links in memory: what one end sends, the other
// receives, as over a veth pair.
//
// It needs no privileges, no goroutines and no file descriptors, so it serves as
// the test double of a network device. In a testing/synctest bubble its time
// stamps are simulated ones, and a sleep that only a frame can end lets the
// bubble's clock go on:
//
//	a, b := pipe.New(pipe.Options{})
//	a.Send(frame)
//	var frames [8]link.Frame
//	n := b.Receive(frames[:])
//	... frames[:n] ...
//	b.Release()
//
// A pair with [link.CapChecksum] and [link.CapGSO] behaves as veth does between
// two hosts that leave checksums and segmentation to the device: a frame sent with
// a partial checksum arrives with [link.ChecksumPartial] and the bytes as they
// were, and a UDP GSO packet arrives whole, with its segment size.
//
// What a wire may do to frames (loss, delay and so on) is link/fault's to add.
package pipe

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// DefaultMTU is the MTU of a pair for which none is given, in bytes: Ethernet's
// (RFC 894).
const DefaultMTU = 1500

// DefaultQueue is how many frames wait at an end for which no number is given.
// It is about what a ring of the default size holds.
const DefaultQueue = 1024

// Options are the properties of a pair. The zero value is of use.
type Options struct {
	A, B End // the ends in the order in which New returns them

	MTU   int // bytes of payload behind the Ethernet header; 0 means DefaultMTU
	Queue int // frames that wait at each end before newer ones are dropped; 0 means DefaultQueue

	// Caps is what both ends can do: any of link.CapChecksum and link.CapGSO.
	// link.CapTimestamps is always there; other bits have no effect.
	Caps link.Caps

	// Now is the clock of the time stamps, in nanoseconds since the Unix epoch.
	// nil means time.Now, which a testing/synctest bubble simulates.
	Now func() int64
}

// End is the identity of one end of a pair.
type End struct {
	Name  string   // "" means "pipe0" for A and "pipe1" for B
	Index int      // Info.Index
	MAC   link.MAC // all zero means 02:00:00:00:00:01 for A and ...:02 for B
}

// A Link is one end of a pair.
type Link struct {
	peer *Link
	now  func() int64
	caps link.Caps

	up      atomic.Bool // as set by SetUp
	closed  atomic.Bool
	mtu     atomic.Int64
	pending atomic.Bool // rx holds frames, or had some lately
	notify  atomic.Pointer[notify]
	groups  memory.Groups
	modes   memory.Modes

	// mu guards the rest: all that the peer writes when it sends to this end,
	// and this end's own identity.
	mu    sync.Mutex
	rx    memory.Queue
	stats rxStats
	index int
	mac   link.MAC
	name  string

	txFrames, txBytes, txErrors, txLost atomic.Uint64
}

var _ link.Link = (*Link)(nil)

type notify struct{ readable, changed func() }

type rxStats struct{ frames, bytes, dropped uint64 }

// supported are the capabilities that Options may ask for.
const supported = link.CapChecksum | link.CapGSO

// New returns the two ends of a new pair. Both are up.
func New(opts Options) (a, b *Link) {
	opts.setDefaults()
	a, b = newEnd(&opts, opts.A), newEnd(&opts, opts.B)
	a.peer, b.peer = b, a
	return a, b
}

func (o *Options) setDefaults() {
	if o.MTU == 0 {
		o.MTU = DefaultMTU
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Now == nil {
		o.Now = func() int64 { return time.Now().UnixNano() }
	}
	o.A.setDefaults("pipe0", 1)
	o.B.setDefaults("pipe1", 2)
}

func (e *End) setDefaults(name string, last byte) {
	if e.Name == "" {
		e.Name = name
	}
	if e.MAC == (link.MAC{}) {
		e.MAC = link.MAC{0x02, 0, 0, 0, 0, last} // locally administered
	}
}

func newEnd(o *Options, e End) *Link {
	l := &Link{
		now:  o.Now,
		caps: o.Caps&supported | link.CapTimestamps,
		// The number of frames is the bound: every one may be of full length.
		rx:   memory.NewQueue(o.Queue, o.Queue*memory.MaxFrame),
		name: e.Name, index: e.Index, mac: e.MAC,
	}
	l.up.Store(true)
	l.mtu.Store(int64(o.MTU))
	return l
}

// Receive implements [link.Link].
func (l *Link) Receive(frames []link.Frame) int {
	if !l.pending.Load() {
		return 0
	}
	l.mu.Lock()
	n := l.rx.Pop(frames)
	if l.rx.Len() == 0 {
		l.pending.Store(false)
	}
	l.mu.Unlock()
	return n
}

// Release implements [link.Link].
func (l *Link) Release() {
	l.mu.Lock()
	l.rx.Release()
	l.mu.Unlock()
}

// Send implements [link.Link]. A frame for which the peer has no room is dropped
// there, as veth does: Send returns nil, and the peer counts it. Beside the errors
// of link.Link it returns EINVAL for a frame shorter than an Ethernet header.
func (l *Link) Send(frame []byte) error {
	f := link.TxFrame{Data: frame}
	return l.send(&f)
}

// SendBatch implements [link.Link]; see Send. A frame that asks for what Caps does
// not have gives EOPNOTSUPP.
func (l *Link) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		if err := l.send(&frames[i]); err != nil {
			return i, err
		}
	}
	return len(frames), nil
}

func (l *Link) send(f *link.TxFrame) error {
	state := l.state()
	if !state.Enabled() {
		l.txErrors.Add(1)
		return unix.ENETDOWN
	}
	if err := memory.CheckTx(f, l.caps, int(l.mtu.Load())); err != nil {
		l.txErrors.Add(1)
		return err
	}
	if state == link.NoCarrier {
		l.txLost.Add(1)
		return nil
	}
	meta := link.Meta{Time: l.now(), Clock: link.ClockSoftware, WireLen: len(f.Data)}
	if f.PartialChecksum {
		meta.Checksum = link.ChecksumPartial
	}
	if f.GSOSize != 0 {
		meta.GSO, meta.GSOSize = link.GSOUDP, f.GSOSize
	}
	l.txFrames.Add(1)
	l.txBytes.Add(uint64(len(f.Data)))
	l.peer.arrive(f.Data, &meta, true)
	return nil
}

// Inject puts a frame into this end's queue as if it had arrived, with whatever
// metadata the caller likes: for tests of what no peer would send. The bytes are
// copied. A WireLen of 0 stands for len(f.Data). It returns false if the queue is
// full, the link closed, or the frame longer than 65553 bytes.
func (l *Link) Inject(f link.Frame) bool {
	if len(f.Data) > memory.MaxFrame {
		return false
	}
	if f.WireLen == 0 {
		f.WireLen = len(f.Data)
	}
	return l.arrive(f.Data, &f.Meta, false)
}

// arrive queues a frame at this end, the receiver's.
func (l *Link) arrive(data []byte, meta *link.Meta, classify bool) bool {
	l.mu.Lock()
	if classify {
		meta.Type = memory.TypeOf(data, l.mac)
	}
	first := l.rx.Len() == 0
	ok := !l.closed.Load() && l.rx.Push(data, meta)
	if ok {
		l.stats.frames++
		l.stats.bytes += uint64(len(data))
		l.pending.Store(true)
	} else {
		l.stats.dropped++
	}
	l.mu.Unlock()
	if ok && first {
		if n := l.notify.Load(); n != nil && n.readable != nil {
			n.readable()
		}
	}
	return ok
}

// state returns the state of this end: without a peer that is up and open it has no
// carrier.
func (l *Link) state() link.State {
	switch {
	case l.closed.Load():
		return link.Gone
	case !l.up.Load():
		return link.Down
	case !l.peer.up.Load() || l.peer.closed.Load():
		return link.NoCarrier
	default:
		return link.Up
	}
}

// SetUp sets this end administratively up or down, as ip-link(8) does. Frames pass
// while both ends are up: with one down the other has no carrier.
func (l *Link) SetUp(up bool) {
	if l.up.Swap(up) != up {
		l.changed()
		l.peer.changed()
	}
}

// SetName renames this end, as ip-link(8) does.
func (l *Link) SetName(name string) {
	l.mu.Lock()
	old := l.name
	l.name = name
	l.mu.Unlock()
	if old != name {
		l.changed()
	}
}

// SetMTU changes the MTU of this end.
func (l *Link) SetMTU(mtu int) {
	if l.mtu.Swap(int64(mtu)) != int64(mtu) {
		l.changed()
	}
}

// SetHardwareAddr changes the MAC address of this end.
func (l *Link) SetHardwareAddr(mac link.MAC) {
	l.mu.Lock()
	old := l.mac
	l.mac = mac
	l.mu.Unlock()
	if old != mac {
		l.changed()
	}
}

// changed calls what is registered for a change of Info.
func (l *Link) changed() {
	if n := l.notify.Load(); n != nil && n.changed != nil {
		n.changed()
	}
}

// Info implements [link.Link]. The state is Up while both ends are up, Down while this
// end is down, NoCarrier while only the other is, or is closed, and Gone after Close.
func (l *Link) Info() link.Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	return link.Info{Name: l.name, Index: l.index, MTU: int(l.mtu.Load()), HardwareAddr: l.mac, Caps: l.caps,
		State: l.state()}
}

// Stats implements [link.Link].
func (l *Link) Stats() link.Stats {
	l.mu.Lock()
	rx := l.stats
	l.mu.Unlock()
	return link.Stats{
		RxFrames: rx.frames, RxBytes: rx.bytes, RxDropped: rx.dropped,
		TxFrames: l.txFrames.Load(), TxBytes: l.txBytes.Load(), TxErrors: l.txErrors.Load(), TxLost: l.txLost.Load(),
	}
}

// Lost implements [link.LossTeller].
func (l *Link) Lost() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats.dropped
}

// SetNotify implements [link.Link]. readable is called when a frame arrives and
// none was waiting, on the goroutine that sends.
func (l *Link) SetNotify(readable, changed func()) {
	l.notify.Store(&notify{readable, changed})
}

// FD implements [link.Link]: there is none.
func (l *Link) FD() int { return -1 }

// PollError implements [link.Link]: it has no descriptor that could have one.
func (l *Link) PollError() {}

// JoinGroup implements [link.Link]. As veth, a pipe filters nothing: groups are
// only recorded. It returns EINVAL for an address that is no group.
func (l *Link) JoinGroup(group link.MAC) error { return l.groups.Join(group) }

// LeaveGroup implements [link.Link]. It returns EADDRNOTAVAIL for a group that is
// not joined.
func (l *Link) LeaveGroup(group link.MAC) error { return l.groups.Leave(group) }

// AddMode implements [link.Link]. As veth, a pipe filters
// nothing: modes are only recorded. It returns EINVAL for what is no mode.
func (l *Link) AddMode(m link.Mode) error { return l.modes.Add(m) }

// DropMode implements [link.Link]. It returns EADDRNOTAVAIL for a mode that is not
// on.
func (l *Link) DropMode(m link.Mode) error { return l.modes.Drop(m) }

// Groups returns the groups that are joined, and how often each is: a copy.
func (l *Link) Groups() map[link.MAC]int { return l.groups.Counts() }

// Mode returns how often a mode is on.
func (l *Link) Mode(m link.Mode) int { return l.modes.Count(m) }

// Close implements [link.Link]. Frames that wait are dropped, and the peer loses
// its carrier. A second Close does nothing.
func (l *Link) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.mu.Lock()
	l.rx.Clear()
	l.pending.Store(false)
	l.mu.Unlock()
	l.changed()
	l.peer.changed()
	return nil
}
