package fault

import (
	"math"
	"time"
)

// Config says what a wrapper does to the frames that pass it. The zero value does
// nothing.
type Config struct {
	// Seed starts the two random sequences, one for each direction. The same
	// seed, the same frames and the same clock give the same faults.
	Seed uint64
	// Tx holds for frames that are sent, Rx for frames that are received.
	Tx, Rx Faults
	// Now is the clock by which held frames become due, in nanoseconds. nil
	// means the monotonic clock, which a testing/synctest bubble simulates.
	// It is taken over by Wrap only: SetConfig does not change the clock.
	Now func() int64
}

// Faults is what happens to the frames of one direction. Probabilities are
// fractions of 1; what is below 0, above 1 or not a number counts as the nearest
// value that makes sense. Negative durations count as 0.
//
// The faults of a frame are decided in the order of the fields.
type Faults struct {
	// Loss is the probability that a frame is lost, independent of others.
	Loss float64
	// Burst loses frames in bursts, beside Loss.
	Burst Burst
	// Duplicate is the probability that a frame arrives twice. Each copy has
	// its own further fate.
	Duplicate float64
	// Corrupt is the probability that CorruptBits bits of a frame are
	// inverted, anywhere in it. 0 bits means 1. A frame whose checksum is
	// partial, or known to be valid, is treated as a wire would: it leaves
	// with its checksum filled in, and arrives with nothing known of it.
	Corrupt     float64
	CorruptBits int
	// Truncate is the probability that a frame loses a random part of its
	// end on the wire, at least one byte and never from the Ethernet header.
	Truncate float64
	// Rate is the speed of the wire in bits per second: each frame takes the
	// time that its bits take, one after the other. 0 means no limit.
	Rate uint64
	// RateQueue is how many bytes may wait for the wire if there is a Rate;
	// frames beyond it are dropped. 0 means that only Limit counts.
	RateQueue int
	// Delay is how long each frame is held back; Jitter makes that a random
	// time, evenly spread over Delay-Jitter to Delay+Jitter. Jitter that is
	// longer than the gaps between frames reorders them, as netem's does.
	Delay, Jitter time.Duration
	// Reorder is the probability that a frame is held back ReorderDelay
	// longer, so that those which follow overtake it. 0 means 1 ms.
	Reorder      float64
	ReorderDelay time.Duration
	// Refuse has Send say no, of frames that are sent; it is nothing for others.
	Refuse Refusals
	// Limit is how many frames may be held at once, for whatever reason; more
	// are dropped. 0 means DefaultLimit.
	Limit int
}

// Refusals are the errors with which a link refuses frames, each with a probability.
// A batch stops at the first frame that is refused, as at any error.
type Refusals struct {
	Again   float64 // EAGAIN: full; nothing is taken until RoomAfter has passed
	NoBufs  float64 // ENOBUFS: the frame is lost
	Down    float64 // ENETDOWN
	TooLong float64 // EMSGSIZE
	// RoomAfter is how long the link stays full after EAGAIN. 0 means 100 us.
	RoomAfter time.Duration
}

// defaultRoomAfter is Refusals.RoomAfter if nothing is said.
const defaultRoomAfter = 100 * time.Microsecond

// DefaultLimit is how many frames a direction holds at most if Faults.Limit is 0:
// netem's limit.
const DefaultLimit = 1000

// defaultReorderDelay is how long a reordered frame is held if nothing else is said.
const defaultReorderDelay = time.Millisecond

// Burst is the Gilbert-Elliott model of a channel with a good and a bad state. It
// starts good, and may change its state before each frame. The zero value never
// loses a frame.
type Burst struct {
	ToBad    float64 // probability to go from good to bad
	ToGood   float64 // probability to go from bad to good
	LossGood float64 // probability of loss while good
	LossBad  float64 // probability of loss while bad
}

// Counters counts frames of one direction by what happened to them. One frame may
// count in several places.
type Counters struct {
	Frames     uint64 // frames that came to the wrapper while any fault was set; a GSO packet counts its datagrams
	Lost       uint64 // by Loss
	BurstLost  uint64 // by Burst
	Duplicated uint64
	Corrupted  uint64
	Truncated  uint64
	Delayed    uint64 // held back, for whatever reason
	Reordered  uint64 // held back ReorderDelay longer
	Overflow   uint64 // dropped because Limit or RateQueue was reached
	SendErrors uint64 // held frames that the link refused when they were due
	Discarded  uint64 // held frames that Close dropped
	Refused    uint64 // by Refuse
}

// Totals are the counters of both directions.
type Totals struct{ Tx, Rx Counters }

// normal returns f with every value in its range and every default filled in.
func (f Faults) normal() Faults {
	for _, p := range []*float64{&f.Loss, &f.Duplicate, &f.Corrupt, &f.Truncate, &f.Reorder,
		&f.Burst.ToBad, &f.Burst.ToGood, &f.Burst.LossGood, &f.Burst.LossBad,
		&f.Refuse.Again, &f.Refuse.NoBufs, &f.Refuse.Down, &f.Refuse.TooLong} {
		if math.IsNaN(*p) {
			*p = 0
		}
		*p = min(max(*p, 0), 1)
	}
	for _, d := range []*time.Duration{&f.Delay, &f.Jitter, &f.ReorderDelay} {
		*d = max(*d, 0)
	}
	f.RateQueue = max(f.RateQueue, 0)
	if f.CorruptBits <= 0 {
		f.CorruptBits = 1
	}
	if f.ReorderDelay == 0 {
		f.ReorderDelay = defaultReorderDelay
	}
	if f.Refuse.RoomAfter <= 0 {
		f.Refuse.RoomAfter = defaultRoomAfter
	}
	if f.Limit <= 0 {
		f.Limit = DefaultLimit
	}
	return f
}

// active reports whether normal faults do anything.
func (f *Faults) active() bool {
	return f.Loss > 0 || f.Burst.ToBad > 0 || f.Burst.LossGood > 0 || f.Duplicate > 0 || f.Corrupt > 0 ||
		f.Refuse.any() || f.Truncate > 0 || f.Rate > 0 || f.Delay > 0 || f.Jitter > 0 || f.Reorder > 0
}

// any reports whether normal refusals ever say no.
func (r *Refusals) any() bool { return r.Again > 0 || r.NoBufs > 0 || r.Down > 0 || r.TooLong > 0 }
