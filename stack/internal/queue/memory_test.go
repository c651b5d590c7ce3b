package queue

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Memory is given as long as there is some, and what each queue is sure of in any case.
func TestMemory(t *testing.T) {
	for _, tt := range []struct {
		limit, have, n, want int64
		ok                   bool
	}{
		{8192, 0, 1, 4096, true}, {8192, 0, 4096, 4096, true}, {8192, 0, 4097, 8192, true}, {8192, 0, 8193, 0, false},
		{8192, 4096, 4096, 4096, true}, {8192, 4096, 4097, 8192, true}, {8191, 4096, 4097, 4096, false}, {0, 0, 4096, 4096, true}, {0, 0, 4097, 0, false},
	} {
		m := Memory{Limit: tt.limit}
		m.Reserved.Store(tt.have)
		got, ok := m.reserve(tt.have, tt.n)
		refused := uint64(1)
		if tt.ok {
			refused = 0
		}
		if got != tt.want || ok != tt.ok || m.Reserved.Load() != tt.want || m.Refused.Load() != refused {
			t.Errorf("%+v: %d, %t, %d of all, %d refused", tt, got, ok, m.Reserved.Load(), m.Refused.Load())
		}
	}
	for _, tt := range []struct{ have, n, want int64 }{
		{3*memoryUnit - 1, 0, 3*memoryUnit - 1}, {3 * memoryUnit, 0, memoryUnit}, {3 * memoryUnit, 1, 3 * memoryUnit}, {4 * memoryUnit, 1, 2 * memoryUnit},
	} {
		var m Memory
		m.Reserved.Store(tt.have)
		if got := m.release(tt.have, tt.n); got != tt.want || m.Reserved.Load() != tt.want {
			t.Errorf("of %d for %d: %d are kept, %d of all", tt.have, tt.n, got, m.Reserved.Load())
		}
	}
	var m Memory
	m.Reserved.Store(5 * memoryUnit)
	if got := m.releaseAll(5*memoryUnit, 1); got != memoryUnit || m.Reserved.Load() != memoryUnit {
		t.Errorf("%d are kept, %d of all", got, m.Reserved.Load())
	}
}

// A datagram, or an error, for which there is no memory is refused, though its queue has room.
func TestNoMemory(t *testing.T) {
	pool, m := Pool{Max: 1 << 20}, &Memory{Limit: 0}
	q := Datagrams{Memory: m}
	q.Limit.Store(1 << 20)
	e := Errors{Memory: m}
	n, errs := 0, 0
	for range 6 {
		if q.Push(&pool, nil, &Info{}) {
			n++
		}
		if e.Push(QueuedError{}, 1<<20) {
			errs++
		}
	}
	if n != 4 || q.Drops.Load() != 2 || errs != 4 || m.Refused.Load() != 4 {
		t.Errorf("%d datagrams and %d errors, %d dropped, %d refused", n, errs, q.Drops.Load(), m.Refused.Load())
	}
	if e.Close(); m.Reserved.Load() != memoryUnit || e.N.Load() != 0 {
		t.Errorf("%d are reserved at the end", m.Reserved.Load())
	}
}

// Errors come in order, and each tells of the ICMP error behind it.
func TestErrors(t *testing.T) {
	q := Errors{Memory: memory()}
	if _, _, ok := q.Pop(); ok {
		t.Error("an error comes from an empty queue")
	}
	limit := 3 * Charge(0)
	for i, origin := range []uint8{unix.SO_EE_ORIGIN_LOCAL, unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_TIMESTAMPING, unix.SO_EE_ORIGIN_ICMP} {
		if ok := q.Push(QueuedError{Errno: unix.Errno(i + 1), Origin: origin}, limit); ok != (i < 3) {
			t.Errorf("error %d: %t", i, ok)
		}
	}
	for i, want := range []unix.Errno{2, 0, 0} {
		if e, next, ok := q.Pop(); !ok || e.Errno != unix.Errno(i+1) || next != want || int(q.N.Load()) != 2-i {
			t.Errorf("error %d: %v, behind it %d, %t, %d left", i, e.Errno, next, ok, q.N.Load())
		}
	}
	if !q.Push(QueuedError{Payload: make([]byte, 100)}, Charge(100)) || q.Push(QueuedError{}, Charge(100)) {
		t.Error("the limit is another")
	}
	q.Purge()
	if !q.Push(QueuedError{}, Charge(0)) {
		t.Error("no room after a purge")
	}
	if q.Close(); q.Push(QueuedError{}, limit) || q.N.Load() != 0 {
		t.Error("a closed queue takes an error")
	}
}
