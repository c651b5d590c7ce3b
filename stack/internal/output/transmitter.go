package output

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/stack/internal/times"
)

// A Transmitter is the transmit side of a stack: what its senders share.
type Transmitter struct {
	Config
	Rooms    rooms
	Outbox   outbox
	schedule schedule
	Tapped   atomic.Bool // Host.TapFrames wants what is sent

	tx     [Slots]atomic.Pointer[Buffer]
	txMu   sync.Mutex // a leaf
	TxAll  []*Buffer
	txFree []*Buffer
	txGone counter.Set // of the Buffers that were given up
}

// A Config is what a Transmitter has of the stack, which is set before it is used.
type Config struct {
	Host   Host
	Clock  times.Times
	Random func() uint64
	Pool   *queue.Pool
	Drive  *drive.Driver
	Timers *drive.Timers
	Routes *route.Routes
	Ident  *ipv4.Identifier
	// Panics lets a panic over what is in the outbox go on (Config.Panics).
	Panics bool
	Limits Limits
	// Slack is Config.TxTimeSlack, in nanoseconds.
	Slack int64
}

// Limits are those of a stack's limits that a Transmitter keeps to.
type Limits struct{ Buffers, Outbox, Scheduled, ScheduledPerSocket int }

// A Host is the stack that a Transmitter is of.
type Host interface {
	// Closing reports whether the stack is to be closed.
	Closing() bool
	// PumpLoopback takes in what was sent over loopback. No lock is held.
	PumpLoopback()
	// Posted says that something is in the outbox, for whoever has the first lane's lock,
	// which is held.
	Posted()
	// TapFrames is given frames that are about to be sent, if Transmitter.Tapped.
	TapFrames(tx *Buffer)
	// Fault takes in that a panic over what is in the outbox was contained.
	Fault(value any)
}

// Init makes t ready for use.
func (t *Transmitter) Init(cfg Config) {
	t.Config = cfg
	t.Rooms.init()
	t.schedule.timer = drive.NewTimer(t.scheduleTimer)
	if t.Slack == 0 {
		t.Slack = defaultTxTimeSlack
	}
}

// Acquire returns a Buffer for the caller alone. The same socket gets the same
// one as a rule, so that the paths in it are its own.
func (t *Transmitter) Acquire(id uint64) *Buffer {
	for i := range uint64(Slots) {
		if tx := t.tx[(id+i)&txSlotsMask].Swap(nil); tx != nil {
			return tx
		}
	}
	t.txMu.Lock()
	defer t.txMu.Unlock()
	if n := len(t.txFree); n > 0 {
		tx := t.txFree[n-1]
		t.txFree = t.txFree[:n-1]
		return tx
	}
	tx := &Buffer{t: t, arena: make([]byte, txFirst), at: len(t.TxAll)}
	t.TxAll = append(t.TxAll, tx)
	return tx
}

// Release gives a Buffer back.
func (t *Transmitter) Release(tx *Buffer, id uint64) {
	if slot := &t.tx[id&txSlotsMask]; slot.Load() == nil && slot.CompareAndSwap(nil, tx) {
		return
	}
	for i := range uint64(Slots) {
		if t.tx[(id+i)&txSlotsMask].CompareAndSwap(nil, tx) {
			return
		}
	}
	t.txMu.Lock()
	defer t.txMu.Unlock()
	if len(t.txFree) < t.Limits.Buffers {
		t.txFree = append(t.txFree, tx)
		return
	}
	// So many senders at once as there were are not there any more.
	for i := range tx.Count {
		t.txGone[i] += tx.Count[i].Load()
	}
	last := len(t.TxAll) - 1
	t.TxAll[tx.at] = t.TxAll[last]
	t.TxAll[tx.at].at = tx.at
	t.TxAll[last] = nil
	t.TxAll = t.TxAll[:last]
}

// AddTransmitCounters adds the senders' counters to sum.
func (t *Transmitter) AddTransmitCounters(sum *counter.Set) {
	t.txMu.Lock()
	defer t.txMu.Unlock()
	for i, n := range t.txGone {
		sum[i] += n
	}
	for _, tx := range t.TxAll {
		for i := range tx.Count {
			sum[i] += tx.Count[i].Load()
		}
	}
	sum[counter.IPOutRequests] += sum[counter.UDPOutDatagrams]
	t.schedule.mu.Lock()
	defer t.schedule.mu.Unlock()
	sum[counter.DropTxTimeClosed] = t.schedule.purged
}

// contain, deferred, ends a panic over what is sent from the outbox. What is built in tx
// and not yet sent goes with it.
func (tx *Buffer) contain() {
	if tx.t.Panics {
		return
	}
	if v := recover(); v != nil {
		if len(tx.Batch) > 0 {
			tx.empty()
		}
		tx.Failed, tx.Midway = 0, false
		tx.t.Host.Fault(v)
	}
}
