package tpacket

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/namespace"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/device"
)

// A Link is a link over a network device. Its methods are as [link.Link] says.
//
// Locking: Receive and Release belong to one goroutine at a time and take no
// lock. Send and SendBatch pass a gate, which Close shuts. All else is under mu, and
// the functions that SetNotify registered are called without it.
type Link struct {
	rx ring
	_  [64]byte // what receiving writes is not on a cache line that sending reads
	tx sender
	_  [64]byte

	dev    device.Device
	closed atomic.Bool
	guest  *inband.Guest
	opts   Options
	space  *namespace.Namespace // of the device

	mu      sync.Mutex // guards what follows, and descriptors against Close
	control control
	filters filters
	queues  []*queue // all that are open
}

var (
	_ link.Link       = (*Link)(nil)
	_ link.LossTeller = (*Link)(nil)
)

// Open opens a link over the device of that name, which must be an Ethernet
// device or the loopback device. It need not be up.
//
// Errors wrap errnos: ENODEV (no such device), EINVAL (an option, or the device,
// cannot be used; the message says which), EPERM (CAP_NET_RAW is missing in the
// user namespace that owns the network namespace, or CAP_SYS_ADMIN to enter it;
// the message says which), ENOMEM (not even one block for the ring).
func Open(name string, opts Options) (*Link, error) {
	l := &Link{opts: opts}
	l.rx.fd = -1
	l.tx.init(&opts)
	err := opts.check()
	if err == nil {
		err = inNetNS(opts.NetNS, func() error { return l.open(name, &opts) })
	}
	if err != nil {
		l.shut()
		return nil, fmt.Errorf("tpacket: %s: %w", name, err)
	}
	return l, nil
}

// open opens everything, on a thread in the device's network namespace.
func (l *Link) open(name string, o *Options) error {
	var err error
	if l.filters, err = o.filters(); err != nil {
		return invalid("filter: %v", err)
	}
	if l.space, err = namespace.Current(); err != nil {
		return err
	}
	var on []link.Mode // for good
	if o.Promiscuous {
		on = append(on, link.Promiscuous)
	}
	if err := l.dev.Open(name, &l.mu, hold{l}, on...); err != nil {
		return err
	}
	info := l.dev.Info()
	g, err := geometryFor(info.MTU, or(o.Slots, DefaultSlots), o.SlotSize, o.BlockSize)
	if err != nil {
		return err
	}
	fd, err := openRing(l.filters.usual, o)
	if err != nil {
		return err
	}
	l.rx.fd = fd
	if err := l.rx.open(fd, g); err != nil {
		return err
	}
	ifi := &net.Interface{Index: info.Index, Name: info.Name}
	if err := l.control.open(ifi); err != nil {
		return err
	}
	if err := l.tx.open(ifi, o); err != nil {
		return err
	}
	if err := l.openGuest(o); err != nil {
		return err
	}
	return l.dev.Start()
}

// Info returns the device's properties as they are now.
func (l *Link) Info() link.Info { return l.dev.Info() }

// Slots returns how many frames the receive ring holds: [Options.Slots] rounded up
// to full blocks, or less if memory was short.
func (l *Link) Slots() int { return l.rx.slots }

// SlotSize returns the bytes of a slot of the receive ring.
func (l *Link) SlotSize() int { return int(l.rx.slotSize) }

// Receive hands out the frames that have arrived. See [link.Link].
func (l *Link) Receive(frames []link.Frame) int {
	if l.closed.Load() {
		return 0
	}
	return l.rx.receive(frames)
}

// Release gives all frames back that Receive handed out.
func (l *Link) Release() { l.rx.release() }

// Stats returns the link's counters. RxFrames and RxBytes count what Receive
// handed out. TxErrors counts every frame that could not be sent, TxDropped those
// among them for which the device's queue was full, TxLost those that were sent without
// a carrier.
func (l *Link) Stats() link.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed.Load() {
		l.rx.countLost()
	}
	s := link.Stats{
		RxFrames: l.rx.frames.Load(), RxBytes: l.rx.bytes.Load(),
		RxDropped: l.rx.lost.Load(), RxTruncated: l.rx.truncated.Load(),
		Reopened: l.dev.Reopened(),
	}
	l.tx.addTo(&s)
	return s
}

// Lost returns how many frames the ring had no room for, as far as Receive or Stats
// has seen: those before a frame are counted when Receive hands it out.
func (l *Link) Lost() uint64 { return l.rx.lost.Load() }

// SetNotify registers changed, which is called when Info would give another
// answer, and when Close begins. It may still be running when Close returns.
// readable is not needed, since the link has a descriptor.
func (l *Link) SetNotify(_, changed func()) { l.dev.SetNotify(changed) }

// FD returns the ring's descriptor, or -1 while the device is gone and after
// Close. It must not be given to Go's netpoller: see the package comment.
func (l *Link) FD() int {
	if l.dev.State() == link.Gone {
		return -1
	}
	return l.rx.fd
}

// Close ends the link: it wakes pollers by calling changed with FD at -1, waits
// for sends that are under way, and gives back memory and descriptors. Calls
// after the first do nothing.
func (l *Link) Close() error {
	l.mu.Lock()
	if l.closed.Load() {
		l.mu.Unlock()
		return nil
	}
	l.rx.countLost()
	l.closed.Store(true)
	l.dev.EndLocked()
	l.mu.Unlock()
	l.dev.Tell()

	l.tx.gate.shut()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut()
	return nil
}

// shut gives back all that is open.
func (l *Link) shut() {
	l.dev.Close()
	if l.guest != nil {
		l.guest.Close()
	}
	if s := l.opts.Share; s != nil && l.rx.fd >= 0 {
		s.RemoveFilter(l.rx.fd)
	}
	l.tx.room.close()
	l.rx.close()
	l.space.Close()
	// To close a packet socket takes the kernel a grace period of RCU, tens of
	// milliseconds: all wait for the same one.
	var wg sync.WaitGroup
	for _, q := range l.queues {
		wg.Go(q.shut)
	}
	l.queues = nil
	for _, fd := range append(l.tx.fds(), l.rx.fd) {
		if fd >= 0 {
			wg.Go(func() { unix.Close(fd) })
		}
	}
	wg.Go(l.control.close)
	wg.Wait()
}
