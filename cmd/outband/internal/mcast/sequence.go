package mcast

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// A Field says where a datagram has its sequence number: big endian, Width bytes
// from Offset on. The zero Field: it has none.
type Field struct {
	Offset, Width int
}

// Set reads OFFSET:WIDTH. It makes a Field a flag.
func (f *Field) Set(text string) error {
	offset, width, found := strings.Cut(text, ":")
	o, offsetErr := strconv.Atoi(offset)
	w, widthErr := strconv.Atoi(width)
	if !found || offsetErr != nil || widthErr != nil || o < 0 || o+w > maxPayload || w != 1 && w != 2 && w != 4 && w != 8 {
		return fmt.Errorf("%q is not OFFSET:WIDTH in bytes, the width being 1, 2, 4 or 8", text)
	}
	*f = Field{o, w}
	return nil
}

// String returns OFFSET:WIDTH.
func (f *Field) String() string {
	if f.Width == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d", f.Offset, f.Width)
}

// Type names the flag's value.
func (f *Field) Type() string { return "offset:width" }

// End returns how long a datagram has to be to hold the number.
func (f *Field) End() int { return f.Offset + f.Width }

// Get reads the number. ok is false if the datagram is too short.
func (f *Field) Get(p []byte) (n uint64, ok bool) {
	if len(p) < f.End() {
		return 0, false
	}
	for _, b := range p[f.Offset:f.End()] {
		n = n<<8 | uint64(b)
	}
	return n, true
}

// Put writes the number, as much of it as the width holds, where the datagram is
// long enough.
func (f *Field) Put(p []byte, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	if len(p) >= f.End() {
		copy(p[f.Offset:f.End()], b[8-f.Width:])
	}
}

// Sequence counts what the numbers of one sender's datagrams tell.
type Sequence struct {
	Gaps       uint64 `json:"gaps"`       // how often numbers were left out
	Missing    uint64 `json:"missing"`    // numbers left out that have not come since
	Reordered  uint64 `json:"reordered"`  // that came after a later one
	Duplicates uint64 `json:"duplicates"` // that had come already
	Restarts   uint64 `json:"restarts"`   // leaps back: the sender began anew
	Short      uint64 `json:"short"`      // datagrams too short to have a number
}

func (s *Sequence) add(o Sequence) {
	s.Gaps += o.Gaps
	s.Missing += o.Missing
	s.Reordered += o.Reordered
	s.Duplicates += o.Duplicates
	s.Restarts += o.Restarts
	s.Short += o.Short
}

// memory is how many numbers a tracker looks back, to tell what is reordered from
// what has come twice. What is further back is a new beginning.
const memory = 64

// A tracker follows the numbers of one sender. Numbers wrap at the field's width.
type tracker struct {
	Sequence
	begun bool
	next  uint64
	known uint64 // how many numbers before next are not from before the beginning
	seen  uint64 // bit i: number next-1-i has come
}

func (t *tracker) number(n uint64, width int) {
	unused := 64 - 8*width
	ahead := int64((n-t.next)<<unused) >> unused // signed, at the field's width
	switch {
	case !t.begun:
		t.begin(n)
	case ahead >= 0:
		if ahead > 0 {
			t.Gaps++
			t.Missing += uint64(ahead)
		}
		t.next, t.seen = n+1, t.seen<<(ahead+1)|1
		t.known = min(memory, t.known+uint64(min(ahead, memory))+1)
	case -ahead > memory:
		t.Restarts++
		t.begin(n)
	case uint64(-ahead) > t.known:
		t.Reordered++ // it was not waited for
	case t.seen>>(-ahead-1)&1 != 0:
		t.Duplicates++
	default:
		t.seen |= 1 << (-ahead - 1)
		t.Reordered++
		t.Missing--
	}
}

func (t *tracker) begin(n uint64) { t.begun, t.next, t.known, t.seen = true, n+1, 1, 1 }
