package fault

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/internal/heap"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// never is a time that does not come.
const never = math.MaxInt64

// A held frame is one on its way: a copy, and when it arrives.
type held struct {
	due int64
	seq uint64 // how many frames the wire had held before
	link.Frame
	csumStart, csumOffset uint16 // of a frame to send whose checksum is partial
	priority, mark        uint32 // of a frame to send
}

// A wire is one direction: it decides what becomes of each frame, and holds those
// that are not due.
type wire struct {
	busy atomic.Bool // faults are set or frames held; false lets frames pass untouched

	mu       sync.Mutex
	faults   Faults
	rng      *rand.Rand
	bad      bool  // the channel is in its bad state (Burst)
	free     int64 // when the wire has sent all that it took (Rate)
	seq      uint64
	frames   heap.Queue[held]
	pool     memory.Pool
	segments []byte // scratch: a datagram of a GSO packet
	counters Counters
	draining bool // a goroutine hands over due frames without the lock (sender)

	alarm   *time.Timer
	alarmAt int64           // when the alarm is due, or never
	alarms  *sync.WaitGroup // alarms that are set or running
	ring    func()          // what the alarm does
	closed  bool
}

func (w *wire) init(alarms *sync.WaitGroup, ring func()) {
	w.alarmAt, w.alarms, w.ring = never, alarms, ring
}

// configure takes over new faults. Frames that are held keep their time.
func (w *wire) configure(f Faults) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = f.normal()
	w.updateBusyLocked()
}

// seed starts the random sequence anew.
func (w *wire) seed(seed, stream uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rng = rand.New(rand.NewPCG(seed, stream))
	w.bad = false
}

func (w *wire) updateBusyLocked() {
	w.busy.Store(w.faults.active() || w.frames.Len() > 0 || w.draining)
}

// chance draws whether something of probability p happens. Nothing is drawn for
// what cannot happen, so that a fault which is not set does not change the others.
func (w *wire) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// acceptLocked decides what becomes of a frame, and holds its copies until they are
// due. A GSO packet is cut first: a wire carries datagrams.
func (w *wire) acceptLocked(f *held, now int64) {
	var s memory.Segmenter
	if f.GSO != link.GSOUDP || f.WireLen > len(f.Data) || !s.Init(f.Data, f.GSOSize) {
		w.acceptOneLocked(f, now)
		return
	}
	segment := *f
	segment.GSO, segment.GSOSize, segment.Checksum = link.GSONone, 0, link.ChecksumUnknown
	for b := s.Next(w.segments); b != nil; b = s.Next(w.segments) {
		w.segments = b
		segment.Data, segment.WireLen = b, len(b)
		w.acceptOneLocked(&segment, now)
	}
}

func (w *wire) acceptOneLocked(f *held, now int64) {
	w.counters.Frames++
	if w.lostLocked() {
		return
	}
	copies := 1
	if w.chance(w.faults.Duplicate) {
		w.counters.Duplicated++
		copies = 2
	}
	for range copies {
		w.holdLocked(f, now)
	}
}

// lostLocked decides on loss.
func (w *wire) lostLocked() bool {
	if w.chance(w.faults.Loss) {
		w.counters.Lost++
		return true
	}
	b := &w.faults.Burst
	turn, loss := b.ToBad, b.LossGood
	if w.bad {
		turn = b.ToGood
	}
	if w.chance(turn) {
		w.bad = !w.bad
	}
	if w.bad {
		loss = b.LossBad
	}
	if w.chance(loss) {
		w.counters.BurstLost++
		return true
	}
	return false
}

// holdLocked puts a copy of a frame on the wire.
func (w *wire) holdLocked(f *held, now int64) {
	corrupt, truncate := w.chance(w.faults.Corrupt), w.chance(w.faults.Truncate)
	due, ok := w.dueLocked(len(f.Data), now)
	if !ok || w.frames.Len() >= w.faults.Limit {
		w.counters.Overflow++
		return
	}
	h := *f
	h.Data = w.pool.Get(len(f.Data))
	copy(h.Data, f.Data)
	if corrupt {
		w.counters.Corrupted++
		w.corruptLocked(&h)
	}
	if truncate && len(h.Data) > link.HeaderLen {
		w.counters.Truncated++
		mend(&h)
		h.Data = h.Data[:link.HeaderLen+w.rng.IntN(len(h.Data)-link.HeaderLen)]
		h.WireLen = len(h.Data)
	}
	h.due, h.seq = due, w.seq
	w.seq++
	if due > now {
		w.counters.Delayed++
		if h.Clock != link.ClockNone {
			h.Time += due - now // the wire was that much longer
		}
	}
	w.frames.Push(due, h)
}

// dueLocked returns when a frame of n bytes that starts now arrives, or false if
// the queue for the wire is full.
func (w *wire) dueLocked(n int, now int64) (int64, bool) {
	f := &w.faults
	due := now
	if f.Rate > 0 {
		start := max(now, w.free)
		waiting := scale(uint64(start-now), f.Rate, 8*uint64(time.Second))
		if f.RateQueue > 0 && waiting > 0 && waiting+uint64(n) > uint64(f.RateQueue) {
			return 0, false
		}
		due = later(start, scale(8*uint64(n), uint64(time.Second), f.Rate))
		if w.frames.Len() < f.Limit {
			w.free = due
		}
	}
	delay := int64(f.Delay)
	if f.Jitter > 0 {
		spread := uint64(f.Jitter)*2 + 1
		delay = max(0, int64(uint64(delay)+w.rng.Uint64N(spread)-uint64(f.Jitter)))
	}
	due = later(due, uint64(delay))
	if w.chance(f.Reorder) {
		w.counters.Reordered++
		due = later(due, uint64(f.ReorderDelay))
	}
	return due, true
}

// scale returns a*b/c, or the most that an int64 holds.
func scale(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, c)
	return min(q, math.MaxInt64)
}

// later returns t+d, but never a time that does not come.
func later(t int64, d uint64) int64 {
	if d >= uint64(never-1)-uint64(max(t, 0)) {
		return never - 1
	}
	return t + int64(d)
}

// corruptLocked inverts bits of a frame.
func (w *wire) corruptLocked(h *held) {
	mend(h)
	for range w.faults.CorruptBits {
		if len(h.Data) > 0 {
			bit := w.rng.IntN(8 * len(h.Data))
			h.Data[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// mend turns a frame that never was on a wire into one that was: with its checksum,
// of which the receiver knows nothing.
func mend(h *held) {
	if h.Checksum == link.ChecksumPartial && h.WireLen <= len(h.Data) {
		if h.csumStart == 0 || !memory.Fill(h.Data, int(h.csumStart), int(h.csumOffset)) {
			memory.Mend(h.Data)
		}
	}
	h.Checksum = link.ChecksumUnknown
}
