package stack

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
)

// A transmitter is the transmit side of a stack: what its senders share.
type transmitter struct {
	stack     *Stack
	clock     Clock
	limits    *Limits
	pool      *queue.Pool
	drive     *drive.Driver
	isClosing func() bool
	rooms     rooms

	tx     [txSlots]atomic.Pointer[txbuf]
	txMu   sync.Mutex // a leaf
	txAll  []*txbuf
	txFree []*txbuf
	txGone counter.Set // of the txbufs that were given up
}

// init makes the transmitter that of a stack.
func (t *transmitter) init(s *Stack) {
	t.stack, t.clock, t.limits, t.pool = s, s.clock, &s.limits, &s.pool
	t.drive, t.isClosing = &s.drive, s.isClosing
	t.rooms.init()
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
	tx := &txbuf{s: t.stack, arena: make([]byte, txFirst), at: len(t.txAll)}
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
	if len(t.txFree) < t.limits.TxBuffers {
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
}
