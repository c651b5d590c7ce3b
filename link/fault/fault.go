// Package fault wraps a link so that it behaves as a bad wire: it loses, delays,
// duplicates, reorders, corrupts, truncates and refuses frames, and limits their rate,
// in each direction by its own settings and its own seeded random sequence.
//
//	bad := fault.Wrap(l, fault.Config{
//		Seed: 1,
//		Rx:   fault.Faults{Loss: 0.01, Delay: 5 * time.Millisecond},
//	})
//
// The wrapper is a link too. With a zero [Config] every call goes straight through
// to the wrapped link, views and all. Otherwise each frame is copied, so that it can
// be held; UDP GSO packets are cut into the datagrams that a wire would carry.
//
// # The way of a frame
//
// Out: Send decides what becomes of the frame. What is due at once is sent before
// Send returns, with the error of the wrapped link; what is held is sent by a timer,
// and an error then is only counted. Frames that the link would refuse in any case
// (EMSGSIZE, ENETDOWN, ...) are refused at once.
//
// In: Receive takes all that waits on the wrapped link, decides, and hands out what
// is due. For what is held a timer calls SetNotify's readable. So a sleeper needs
// both: the descriptor of the wrapped link, if it has one, for frames that arrive,
// and readable for frames that become due. A sleeper has them that gives
// readable to [link.Poller.Wake] and passes the wrapper to Wait. A frame's delay counts from the Receive
// that found it.
//
// # Time
//
// Time is the monotonic clock's, or [Config].Now's. In a testing/synctest bubble a
// second of delay takes no time at all, and a test of it is exact.
package fault

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
)

// A Link is a link whose frames suffer.
type Link struct {
	inner  link.Link
	now    func() int64
	notify atomic.Pointer[notify]

	// info is what the wrapped link is, for the checks of Send; nil when it has
	// changed since. changes counts how often it did.
	info    atomic.Pointer[link.Info]
	changes atomic.Uint64

	configMu sync.Mutex
	config   Config

	alarms sync.WaitGroup
	closed atomic.Bool
	rx     receiver
	tx     sender

	refusals refusals
}

var _ link.Queuer = (*Link)(nil)

type notify struct{ readable, changed func() }

// Wrap returns a link that passes the frames of l on with faults. It takes over l:
// it registers with l's SetNotify, and its Close closes l.
func Wrap(l link.Link, cfg Config) *Link {
	f := &Link{inner: l, now: cfg.Now}
	if f.now == nil {
		start := time.Now()
		f.now = func() int64 { return int64(time.Since(start)) }
	}
	f.rx.init(&f.alarms, f.rxDue)
	f.tx.init(&f.alarms, f.txDue)
	f.rx.seed(cfg.Seed, rxStream)
	f.tx.seed(cfg.Seed, txStream)
	f.SetConfig(cfg)
	l.SetNotify(f.innerReadable, f.innerChanged)
	return f
}

// The random sequence of each direction is a stream of its own, so that frames of
// one do not change the fate of the other's.
const (
	txStream = 1
	rxStream = 2
)

// SetConfig replaces the faults while frames pass. Frames that are held keep the
// time at which they are due. The random sequences go on, unless the seed is
// another: then they start anew.
func (l *Link) SetConfig(cfg Config) {
	l.configMu.Lock()
	defer l.configMu.Unlock()
	if cfg.Seed != l.config.Seed {
		l.rx.seed(cfg.Seed, rxStream)
		l.tx.seed(cfg.Seed, txStream)
	}
	l.config = cfg
	l.tx.configure(cfg.Tx)
	l.rx.configure(cfg.Rx)
}

// Config returns the configuration that holds now.
func (l *Link) Config() Config {
	l.configMu.Lock()
	defer l.configMu.Unlock()
	return l.config
}

// Counters returns how often each fault has been applied since Wrap.
func (l *Link) Counters() Totals {
	return Totals{Tx: l.tx.count(), Rx: l.rx.count()}
}

func (w *wire) count() Counters {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counters
}

// Held returns how many frames of each direction are on their way.
func (l *Link) Held() (tx, rx int) {
	l.tx.mu.Lock()
	tx = l.tx.frames.Len()
	l.tx.mu.Unlock()
	l.rx.mu.Lock()
	rx = l.rx.frames.Len()
	l.rx.mu.Unlock()
	return tx, rx
}

// Unwrap returns the wrapped link.
func (l *Link) Unwrap() link.Link { return l.inner }

// Info implements [link.Link]: the wrapped link's.
func (l *Link) Info() link.Info { return l.inner.Info() }

// Stats implements [link.Link]: the wrapped link's, which do not know of faults.
// Counters does.
func (l *Link) Stats() link.Stats { return l.inner.Stats() }

// SetNotify implements [link.Link]. readable is called when a held frame becomes
// due too, also if there is a descriptor.
func (l *Link) SetNotify(readable, changed func()) {
	l.notify.Store(&notify{readable, changed})
}

func (l *Link) innerReadable() {
	if n := l.notify.Load(); n != nil && n.readable != nil {
		n.readable()
	}
}

func (l *Link) innerChanged() {
	l.changes.Add(1)
	l.info.Store(nil)
	if n := l.notify.Load(); n != nil && n.changed != nil {
		n.changed()
	}
}

// FD implements [link.Link]: the wrapped link's descriptor, which tells of frames
// that arrive there, before their faults.
func (l *Link) FD() int { return l.inner.FD() }

// PollError implements [link.Link].
func (l *Link) PollError() { l.inner.PollError() }

// JoinGroup implements [link.Link].
func (l *Link) JoinGroup(group link.MAC) error { return l.inner.JoinGroup(group) }

// LeaveGroup implements [link.Link].
func (l *Link) LeaveGroup(group link.MAC) error { return l.inner.LeaveGroup(group) }

// AddMode implements [link.Link].
func (l *Link) AddMode(m link.Mode) error { return l.inner.AddMode(m) }

// DropMode implements [link.Link].
func (l *Link) DropMode(m link.Mode) error { return l.inner.DropMode(m) }

// Close implements [link.Link]. Frames that are held are dropped and counted, the
// timers have ended when it returns, and the wrapped link is closed.
func (l *Link) Close() error {
	l.closed.Store(true)
	l.tx.mu.Lock()
	if l.refusals.alarm != nil {
		l.refusals.alarm.Stop()
	}
	l.tx.mu.Unlock()
	l.tx.shut()
	l.rx.shut()
	l.alarms.Wait()
	return l.inner.Close()
}
