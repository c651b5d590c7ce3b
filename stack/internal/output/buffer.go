package output

import (
	"sync/atomic"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// A Buffer is what one sender at a time builds frames in: their memory, the
// paths it has lately sent along, and its own counters, so that senders share
// nothing on their way out.
type Buffer struct {
	t     *Transmitter
	arena []byte         // where frames are built, back to back
	used  int            // bytes of arena
	Batch []link.TxFrame // built and not yet sent, all for one way out
	Ends  []frameEnd     // for each frame of batch
	Sent  int            // messages whose last frame was sent
	To    *WayOut        // where batch goes
	Local bool           // something went to loopback
	// Failed is why batch could not be sent, until it is decided what becomes of
	// it; see carryon.go. What is built meanwhile stands behind it.
	Failed unix.Errno
	// Midway says that the last frame sent was not the last of its message.
	Midway bool
	Tapped int // frames of batch that taps have had
	// owner, flags and deadline are those of the call, for what has to wait in the
	// middle of it; owner is nil on the fast way, which has nothing of the kind.
	Owner    *Sender
	Flags    int
	Deadline int64
	own      bool // who sends is the one who empties the outbox
	at       int  // its place in Stack.TxAll
	// special says that a frame of batch is not one that the link's Send takes.
	special bool
	// Options are those of the datagram that is being sent.
	Options [ipv4.MaxOptionsLen]byte
	Paths   [1 << pathBits]cachedPath
	copied  Path // of a socket's that had ceased to hold
	Count   [counter.Num]atomic.Uint64
	From    uint64 // the packet socket whose frames batch has, 0 for none,
	Proto   uint16 // and the protocol that it says they are of
}

// A frameEnd says what it means that a frame has left.
type frameEnd struct {
	message   int32 // the index of the message that is complete with it, or -1
	Datagrams int32 // how many datagrams are, as counters have it
}

// cachedPath is the path that a socket without a peer took to a destination.
type cachedPath struct {
	Socket uint64
	Path   Path
}

const (
	txBatch     = 64      // frames that are sent at once
	txFirst     = 2 << 10 // the arena's first size: one ordinary frame
	txArena     = txBatch * 2048
	Slots       = 8 // Buffers kept at hand
	pathBits    = 7 // paths kept in each, a server's peers among them: two to that power
	txSlotsMask = Slots - 1
)

// Room returns n bytes to build a frame for q in, followed by Add. What was built
// before is sent if it goes elsewhere or there is no more room; if that fails, and
// the frame goes elsewhere, nothing can be built yet.
func (tx *Buffer) Room(q *WayOut, n int) ([]byte, unix.Errno) {
	if len(tx.Batch) > 0 && (tx.To != q || len(tx.Batch) == txBatch || tx.used+n > len(tx.arena)) {
		var e unix.Errno
		if q, e = tx.makeRoom(q, n); e != 0 {
			return nil, e
		}
	}
	if tx.used+n > len(tx.arena) {
		tx.grow(max(n, txArena))
	}
	tx.To = q
	return tx.arena[tx.used : tx.used+n : tx.used+n], 0
}

// makeRoom is room when there is none, and returns the way out that the frame takes.
func (tx *Buffer) makeRoom(q *WayOut, n int) (*WayOut, unix.Errno) {
	if tx.To.Dev == q.Dev {
		q = tx.To // the socket has got its own in the middle of its call
	}
	if tx.To == q && len(tx.Batch) < txBatch {
		if len(tx.arena) < txArena {
			tx.grow(txArena)
		}
		if tx.used+n <= len(tx.arena) {
			return q, 0
		}
	}
	if e := tx.Flush(); e != 0 && tx.To != q {
		return q, e
	}
	return q, 0
}

// grow makes the arena larger. Frames that stand in the old one stay there.
func (tx *Buffer) grow(n int) {
	tx.arena, tx.used = make([]byte, n), 0
}

// Add queues the frame that was built in what Room returned. message is the
// index of the message that it completes, or -1.
func (tx *Buffer) Add(frame []byte, message int) {
	tx.used += len(frame)
	tx.Batch = append(tx.Batch, link.TxFrame{Data: frame})
	tx.Ends = append(tx.Ends, frameEnd{message: int32(message)})
}

// Flush sends what was built. If that fails, failed is set, and what has not left
// stays in batch: see carryon.go.
func (tx *Buffer) Flush() unix.Errno {
	if len(tx.Batch) == 0 || tx.Failed != 0 {
		return tx.Failed
	}
	if tx.t.Tapped.Load() {
		tx.t.Host.TapFrames(tx)
	}
	if len(tx.Batch) == 1 && !tx.special {
		if err := tx.To.out.Send(tx.Batch[0].Data); err != nil {
			return tx.fail(0, err)
		}
	} else if n, err := tx.To.out.SendBatch(tx.Batch); err != nil {
		return tx.fail(n, err)
	}
	for _, f := range tx.Ends {
		if f.message >= 0 {
			tx.Sent = int(f.message) + 1
		}
	}
	tx.Midway = tx.Ends[len(tx.Ends)-1].message < 0
	tx.empty()
	return 0
}

// empty forgets what was built: it has left, or never will.
func (tx *Buffer) empty() {
	if tx.To.Dev.Loopback {
		tx.Local = true
	}
	tx.Batch, tx.Ends, tx.used, tx.special, tx.Tapped, tx.From = tx.Batch[:0], tx.Ends[:0], 0, false, 0, 0
}

// toErrno returns the errno in a link's error.
func toErrno(err error) unix.Errno {
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}
