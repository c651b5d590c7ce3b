package stack

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

// A transmitter is the transmit side of a stack: what its senders share.
type transmitter struct {
	transmitConfig
	rooms    rooms
	outbox   outbox
	schedule schedule
	tapped   atomic.Bool // host.tap wants what is sent

	tx     [txSlots]atomic.Pointer[txbuf]
	txMu   sync.Mutex // a leaf
	txAll  []*txbuf
	txFree []*txbuf
	txGone counter.Set // of the txbufs that were given up
}

// A transmitConfig is what a transmitter has of the stack, which is set before it is used.
type transmitConfig struct {
	host   transmitHost
	clock  times.Times
	random func() uint64
	pool   *queue.Pool
	drive  *drive.Driver
	timers *drive.Timers
	routes *route.Routes
	ident  *ipv4.Identifier
	// panics lets a panic over what is in the outbox go on (Config.Panics).
	panics bool
	limits transmitLimits
	// slack is Config.TxTimeSlack, in nanoseconds.
	slack int64
}

// transmitLimits are those of Limits that a transmitter keeps to.
type transmitLimits struct{ txBuffers, outbox, scheduled, scheduledPerSocket int }

// A transmitHost is the stack that a transmitter is of.
type transmitHost interface {
	// isClosing reports whether the stack is to be closed.
	isClosing() bool
	// pumpLocal takes in what was sent over loopback. No lock is held.
	pumpLocal()
	// posted says that something is in the outbox, for whoever has the first lane's lock,
	// which is held.
	posted()
	// tap is given frames that are about to be sent, if transmitter.tapped.
	tap(tx *txbuf)
	// contained takes in that a panic over what is in the outbox was contained.
	contained(value any)
}

// init makes t ready for use.
func (t *transmitter) init(cfg transmitConfig) {
	t.transmitConfig = cfg
	t.rooms.init()
	t.schedule.timer = drive.NewTimer(t.scheduleTimer)
	if t.slack == 0 {
		t.slack = defaultTxTimeSlack
	}
}

// acquireTx returns a txbuf for the caller alone. The same socket gets the same
// one as a rule, so that the paths in it are its own.
func (t *transmitter) acquireTx(id uint64) *txbuf {
	for i := range uint64(txSlots) {
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
	tx := &txbuf{t: t, arena: make([]byte, txFirst), at: len(t.txAll)}
	t.txAll = append(t.txAll, tx)
	return tx
}

// releaseTx gives a txbuf back.
func (t *transmitter) releaseTx(tx *txbuf, id uint64) {
	if slot := &t.tx[id&txSlotsMask]; slot.Load() == nil && slot.CompareAndSwap(nil, tx) {
		return
	}
	for i := range uint64(txSlots) {
		if t.tx[(id+i)&txSlotsMask].CompareAndSwap(nil, tx) {
			return
		}
	}
	t.txMu.Lock()
	defer t.txMu.Unlock()
	if len(t.txFree) < t.limits.txBuffers {
		t.txFree = append(t.txFree, tx)
		return
	}
	// So many senders at once as there were are not there any more.
	for i := range tx.count {
		t.txGone[i] += tx.count[i].Load()
	}
	last := len(t.txAll) - 1
	t.txAll[tx.at] = t.txAll[last]
	t.txAll[tx.at].at = tx.at
	t.txAll[last] = nil
	t.txAll = t.txAll[:last]
}

// addTransmitCounters adds the senders' counters to sum.
func (t *transmitter) addTransmitCounters(sum *counter.Set) {
	t.txMu.Lock()
	defer t.txMu.Unlock()
	for i, n := range t.txGone {
		sum[i] += n
	}
	for _, tx := range t.txAll {
		for i := range tx.count {
			sum[i] += tx.count[i].Load()
		}
	}
	sum[counter.IPOutRequests] += sum[counter.UDPOutDatagrams]
	t.schedule.mu.Lock()
	defer t.schedule.mu.Unlock()
	sum[counter.DropTxTimeClosed] = t.schedule.purged
}

// contain, deferred, ends a panic over what is sent from the outbox. What is built in tx
// and not yet sent goes with it.
func (tx *txbuf) contain() {
	if tx.t.panics {
		return
	}
	if v := recover(); v != nil {
		tx.empty()
		tx.failed, tx.midway = 0, false
		tx.t.host.contained(v)
	}
}
