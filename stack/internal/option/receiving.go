package option

import (
	"sync/atomic"

	"github.com/outband/outband/bpf"
	"golang.org/x/sys/unix"
)

// Receiving are the options of what a socket receives, whatever its kind.
type Receiving struct {
	extras *Extras
	filter atomic.Pointer[bpf.Program]
	peek   atomic.Int64 // SO_PEEK_OFF and 1
}

// MakeReceiving returns options that enter in x what receiving has to look at.
func MakeReceiving(x *Extras) Receiving { return Receiving{extras: x} }

// SetKeepMetadata says whether Extra.Priority and Extra.Mark are wanted.
func (o *Receiving) SetKeepMetadata(on bool) { o.extras.Put(KeepMetadata, on) }

// SetKeepDrops says whether Info.Drops is wanted.
func (o *Receiving) SetKeepDrops(on bool) { o.extras.Put(KeepDrops, on) }

// SetFilter attaches a classic BPF program that sees each datagram from its
// transport header on: it returns how many bytes of it to keep, 0 to drop it
// (SO_ATTACH_FILTER in socket(7)). An empty program takes the filter away.
// EINVAL: not a valid program.
func (o *Receiving) SetFilter(program []bpf.Instruction) error {
	if o.extras.isClosed() {
		return unix.EBADF
	}
	if len(program) == 0 {
		o.filter.Store(nil)
		o.followFilter()
		return nil
	}
	p, ok := bpf.New(program)
	if !ok {
		return unix.EINVAL
	}
	o.filter.Store(p)
	o.followFilter()
	return nil
}

func (o *Receiving) followFilter() {
	o.extras.Follow(Filtered, func() bool { return o.filter.Load() != nil })
}

// Filter returns the filter that is attached, nil if there is none.
func (o *Receiving) Filter() *bpf.Program { return o.filter.Load() }

// SetPeekOffset has MSG_PEEK begin at an offset in bytes into what is queued,
// datagram after datagram, which each such call moves on by what it returns; a
// call that takes datagrams moves it back, to 0 at least. Negative: MSG_PEEK looks
// at the beginning, as ever.
func (o *Receiving) SetPeekOffset(off int32) {
	o.peek.Store(int64(off) + 1)
	o.extras.Follow(PeeksAtOffset, func() bool { return o.peek.Load() > 0 })
}

// PeekOffset returns where MSG_PEEK begins; -1 if SetPeekOffset was never called.
func (o *Receiving) PeekOffset() int32 { return int32(o.peek.Load() - 1) }

// MovePeek adds n bytes to the offset, as Linux' sk_peek_offset_bwd does. It does nothing
// if MSG_PEEK looks at the beginning.
func (o *Receiving) MovePeek(n int) {
	for {
		was := o.peek.Load()
		if was <= 0 || o.peek.CompareAndSwap(was, 1+int64(max(int32(was-1+int64(n)), 0))) {
			return
		}
	}
}
