package stack

import (
	"sync/atomic"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// A txbuf is what one sender at a time builds frames in: their memory, the
// paths it has lately sent along, and its own counters, so that senders share
// nothing on their way out.
type txbuf struct {
	t     *transmitter
	arena []byte         // where frames are built, back to back
	used  int            // bytes of arena
	batch []link.TxFrame // built and not yet sent, all for one way out
	ends  []frameEnd     // for each frame of batch
	sent  int            // messages whose last frame was sent
	to    *txQueue       // where batch goes
	local bool           // something went to loopback
	// failed is why batch could not be sent, until it is decided what becomes of
	// it; see carryon.go. What is built meanwhile stands behind it.
	failed unix.Errno
	// midway says that the last frame sent was not the last of its message.
	midway bool
	tapped int // frames of batch that taps have had
	// owner, flags and deadline are those of the call, for what has to wait in the
	// middle of it; owner is nil on the fast way, which has nothing of the kind.
	owner    *sender
	flags    int
	deadline int64
	own      bool // who sends is the one who empties the outbox
	at       int  // its place in Stack.txAll
	// special says that a frame of batch is not one that the link's Send takes.
	special bool
	// options are those of the datagram that is being sent.
	options [ipv4.MaxOptionsLen]byte
	paths   [1 << pathBits]cachedPath
	copied  path // of a socket's that had ceased to hold
	count   [counter.Num]atomic.Uint64
	from    uint64 // the packet socket whose frames batch has, 0 for none,
	proto   uint16 // and the protocol that it says they are of
}

// A frameEnd says what it means that a frame has left.
type frameEnd struct {
	message   int32 // the index of the message that is complete with it, or -1
	datagrams int32 // how many datagrams are, as counters have it
}

// cachedPath is the path that a socket without a peer took to a destination.
type cachedPath struct {
	socket uint64
	path   path
}

const (
	txBatch     = 64      // frames that are sent at once
	txFirst     = 2 << 10 // the arena's first size: one ordinary frame
	txArena     = txBatch * 2048
	txSlots     = 8 // txbufs kept at hand
	pathBits    = 7 // paths kept in each, a server's peers among them: two to that power
	txSlotsMask = txSlots - 1
)

// room returns n bytes to build a frame for q in, followed by add. What was built
// before is sent if it goes elsewhere or there is no more room; if that fails, and
// the frame goes elsewhere, nothing can be built yet.
func (tx *txbuf) room(q *txQueue, n int) ([]byte, unix.Errno) {
	if len(tx.batch) > 0 && (tx.to != q || len(tx.batch) == txBatch || tx.used+n > len(tx.arena)) {
		var e unix.Errno
		if q, e = tx.makeRoom(q, n); e != 0 {
			return nil, e
		}
	}
	if tx.used+n > len(tx.arena) {
		tx.grow(max(n, txArena))
	}
	tx.to = q
	return tx.arena[tx.used : tx.used+n : tx.used+n], 0
}

// makeRoom is room when there is none, and returns the way out that the frame takes.
func (tx *txbuf) makeRoom(q *txQueue, n int) (*txQueue, unix.Errno) {
	if tx.to.dev == q.dev {
		q = tx.to // the socket has got its own in the middle of its call
	}
	if len(tx.arena) < txArena && tx.to == q && len(tx.batch) < txBatch {
		tx.grow(txArena)
	}
	if tx.to == q && len(tx.batch) < txBatch && tx.used+n <= len(tx.arena) {
		return q, 0
	}
	if e := tx.flush(); e != 0 && tx.to != q {
		return q, e
	}
	return q, 0
}

// grow makes the arena larger. Frames that stand in the old one stay there.
func (tx *txbuf) grow(n int) {
	tx.arena, tx.used = make([]byte, n), 0
}

// add queues the frame that was built in what room returned. message is the
// index of the message that it completes, or -1.
func (tx *txbuf) add(frame []byte, message int) {
	tx.used += len(frame)
	tx.batch = append(tx.batch, link.TxFrame{Data: frame})
	tx.ends = append(tx.ends, frameEnd{message: int32(message)})
}

// flush sends what was built. If that fails, failed is set, and what has not left
// stays in batch: see carryon.go.
func (tx *txbuf) flush() unix.Errno {
	if len(tx.batch) == 0 || tx.failed != 0 {
		return tx.failed
	}
	if tx.t.tapped.Load() {
		tx.t.host.tap(tx)
	}
	if len(tx.batch) == 1 && !tx.special {
		if err := tx.to.out.Send(tx.batch[0].Data); err != nil {
			return tx.fail(0, err)
		}
	} else if n, err := tx.to.out.SendBatch(tx.batch); err != nil {
		return tx.fail(n, err)
	}
	for _, f := range tx.ends {
		if f.message >= 0 {
			tx.sent = int(f.message) + 1
		}
	}
	tx.midway = tx.ends[len(tx.ends)-1].message < 0
	tx.empty()
	return 0
}

// empty forgets what was built: it has left, or never will.
func (tx *txbuf) empty() {
	if tx.to.dev.Loopback {
		tx.local = true
	}
	tx.batch, tx.ends, tx.used, tx.special, tx.tapped, tx.from = tx.batch[:0], tx.ends[:0], 0, false, 0, 0
}

// toErrno returns the errno in a link's error.
func toErrno(err error) unix.Errno {
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}
