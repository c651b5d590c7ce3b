package queue

import (
	"testing"

	"golang.org/x/sys/unix"
)

// memory returns memory for all queues without a limit that counts.
func memory() *Memory { return &Memory{Limit: 1 << 40} }

// Buffers of a class come back as long as the pool may hold them.
func TestPoolClasses(t *testing.T) {
	for _, tt := range []struct{ n, cap int }{{0, 512}, {512, 512}, {513, 1024}, {1024, 1024}, {1025, 2048}, {maxBuffer - 1, maxBuffer}, {maxBuffer, maxBuffer}} {
		p := Pool{Max: tt.cap}
		b := p.Get(tt.n)
		if cap(b) != tt.cap || len(b) != tt.n {
			t.Fatalf("%d bytes: %d in room for %d", tt.n, len(b), cap(b))
		}
		p.Put(b)
		if p.Held != tt.cap {
			t.Errorf("%d bytes: %d are held", tt.n, p.Held)
		}
		p.Put(p.Get(tt.cap)) // the same one
		p.Put(make([]byte, tt.cap))
		if p.Held != tt.cap {
			t.Errorf("%d bytes: %d are held, more than may be", tt.n, p.Held)
		}
		if again := p.Get(tt.n); &again[:1][0] != &b[:1][0] || p.Held != 0 {
			t.Errorf("%d bytes: the buffer that was given back is not taken, %d are held", tt.n, p.Held)
		}
	}
	p := Pool{Max: 511}
	if p.Put(p.Get(1)); p.Held != 0 {
		t.Error("more is held than may be")
	}
}

// What a datagram weighs is what Linux says of it: see queue.go.
func TestCharge(t *testing.T) {
	for n, want := range map[int]int64{0: 832, 197: 832, 198: 1024 + 256, 645: 1024 + 256, 646: 2048 + 256, 16005: 16384 + 256, 16006: 16006 + 832, 65507: 65507 + 832} {
		if got := Charge(n); got != want {
			t.Errorf("%d bytes weigh %d, want %d", n, got, want)
		}
	}
	// Two fragments of 1400 bytes behind the headers: with the UDP header, 2800 bytes.
	for n, want := range map[int]int64{1392: Charge(1392), 2792: 2 * Charge(1392), 2793: 2*Charge(1392) + Charge(1-8)} {
		if got := chargeReceived(n, &Info{FragSize: 1420}); got != want {
			t.Errorf("%d bytes in fragments weigh %d, want %d", n, got, want)
		}
	}
}

// A queue takes what its limit allows, and one datagram of any size if it is empty.
func TestLimit(t *testing.T) {
	pool := Pool{Max: 1 << 20}
	for _, tt := range []struct {
		limit int64
		fit   int
	}{{0, 1}, {1, 1}, {2*832 - 1, 1}, {2 * 832, 2}, {3*832 - 1, 2}} {
		q := Datagrams{Memory: memory()}
		q.Limit.Store(tt.limit)
		n := 0
		for range 5 {
			if q.Push(&pool, []byte("x"), &Info{}) {
				n++
			}
		}
		if n != tt.fit || int(q.Drops.Load()) != 5-n || q.Charged() != int64(n)*832 {
			t.Errorf("limit %d: %d fit, want %d; %d dropped, %d bytes charged", tt.limit, n, tt.fit, q.Drops.Load(), q.Charged())
		}
	}
}

// What is queued comes in order, through turns of the ring; peeking takes nothing.
func TestTake(t *testing.T) {
	pool := Pool{Max: 1 << 20}
	q := Datagrams{Memory: memory()}
	q.Limit.Store(1 << 20)
	in, out := byte(0), byte(0)
	for round := range 20 {
		for range 1 + round%7 {
			q.Push(&pool, []byte{in}, &Info{Len: 1})
			in++
		}
		if n, ok := q.FirstLen(); n != 1 || !ok {
			t.Fatalf("the first has %d bytes, %t", n, ok)
		}
		peek := Target{Msgs: make([]Message, 2)}
		for i := range peek.Msgs {
			peek.Msgs[i].Buffers = [][]byte{make([]byte, 2)}
		}
		have := int(in - out)
		if ok, left := q.Take(&pool, &peek, true); !ok || !left || peek.Count != min(have, 2) || peek.Msgs[0].Buffers[0][0] != out {
			t.Fatalf("peeked: %t, left %t, %d, the first is %d", ok, left, peek.Count, peek.Msgs[0].Buffers[0][0])
		}
		for range 1 + round%5 {
			have = int(in - out)
			one := Target{One: make([]byte, 2)}
			ok, left := q.Take(&pool, &one, false)
			if ok != (have > 0) || left != (have > 1) || ok && (one.N != 1 || one.One[0] != out) {
				t.Fatalf("%t, left %t of %d: %d bytes, %d", ok, left, have, one.N, one.One[0])
			}
			if ok {
				out++
			}
		}
		if q.Charged() != int64(in-out)*832 || int(q.N.Load()) != int(in-out) {
			t.Fatalf("%d queued, %d charged", q.N.Load(), q.Charged())
		}
	}
	q.Push(&pool, nil, &Info{})
	q.Purge(&pool)
	if _, ok := q.FirstLen(); ok || q.Charged() != 0 || q.Memory.Reserved.Load() != 0 {
		t.Errorf("after the purge %d bytes are charged, %d reserved", q.Charged(), q.Memory.Reserved.Load())
	}
	if ok, left := q.Take(&pool, &Target{}, true); ok || left {
		t.Error("something is left after the purge")
	}
}

// PeekAt goes on from an offset over what is queued; one without bytes is seen once.
func TestPeekAt(t *testing.T) {
	pool := Pool{Max: 1 << 20}
	fill := func() *Datagrams {
		q := &Datagrams{Memory: memory()}
		q.Limit.Store(1 << 20)
		for _, s := range []string{"", "abc", "", "de"} {
			q.Push(&pool, []byte(s), &Info{Len: len(s)})
		}
		return q
	}
	q := fill()
	peek := func(off int) string {
		tg := Target{One: make([]byte, 8)}
		if !q.PeekAt(&tg, off) {
			return "nothing"
		}
		return string(tg.One[:tg.N])
	}
	for i, tt := range []struct {
		off  int
		want string
	}{{0, ""}, {0, "abc"}, {1, "bc"}, {3, ""}, {3, "de"}, {4, "e"}, {5, "nothing"}, {0, "abc"}} {
		if got := peek(tt.off); got != tt.want {
			t.Errorf("step %d, from %d on: %q, want %q", i, tt.off, got, tt.want)
		}
	}
	q = fill()
	if got := peek(1); got != "bc" {
		t.Errorf("from 1 on, over one without bytes that was not seen: %q", got)
	}
	q = fill()
	if q.Take(&pool, &Target{One: make([]byte, 8)}, true); peek(0) != "abc" {
		t.Error("one without bytes that MSG_PEEK has seen is seen again")
	}
	q = fill()
	q.Take(&pool, &Target{One: make([]byte, 8)}, false)
	if q.Take(&pool, &Target{One: make([]byte, 8)}, true); peek(0) != "abc" {
		t.Error("one with bytes that MSG_PEEK has seen is passed over")
	}
	q = fill()
	// As Linux has it: who asks for no more than the rest is told of all of it.
	for _, tt := range []struct {
		off, room int
		trunc     bool
	}{{0, 2, true}, {0, 3, false}, {1, 1, true}, {1, 2, true}, {1, 3, false}} {
		q = fill()
		peek(0) // the one without bytes
		m := []Message{{Buffers: [][]byte{make([]byte, tt.room)}}}
		if !q.PeekAt(&Target{Msgs: m}, tt.off) || (m[0].Flags == unix.MSG_TRUNC) != tt.trunc {
			t.Errorf("from %d on, room for %d: flags %#x", tt.off, tt.room, m[0].Flags)
		}
	}
}

// A call returns the bytes that it has stored, or with MSG_TRUNC those that there were.
func TestReturned(t *testing.T) {
	one := Target{One: make([]byte, 2)}
	one.Store([]byte("abc"), &Info{Len: 3})
	msgs := Target{Msgs: []Message{{Buffers: [][]byte{make([]byte, 1), make([]byte, 1)}}, {Buffers: [][]byte{make([]byte, 9)}}, {}}}
	if msgs.Full() || one.Full() != true {
		t.Error("full before its time, or not in time")
	}
	msgs.Store([]byte("abc"), &Info{Len: 3})
	msgs.Store([]byte("de"), &Info{Len: 2})
	if msgs.Msgs[0].Flags != unix.MSG_TRUNC || msgs.Msgs[1].Flags != 0 {
		t.Errorf("flags %#x, %#x", msgs.Msgs[0].Flags, msgs.Msgs[1].Flags)
	}
	for _, tt := range []struct {
		t           *Target
		plain, long int
	}{{&one, 2, 3}, {&msgs, 4, 5}} {
		if a, b := tt.t.Returned(0), tt.t.Returned(unix.MSG_TRUNC); a != tt.plain || b != tt.long {
			t.Errorf("%d bytes, %d with MSG_TRUNC; want %d, %d", a, b, tt.plain, tt.long)
		}
	}
}
