package queue

import "sync/atomic"

// Memory bounds what is queued in all sockets together, in the bytes that Linux
// would charge (udp_mem in ip-sysctl.rst): each socket's own bound is no bound for
// however many there are.
type Memory struct {
	Reserved atomic.Int64 // by all queues
	Refused  atomic.Uint64
	Limit    int64
}

const (
	// memoryUnit is what a queue reserves at once, so that a short one does so once.
	memoryUnit = 4096
	// memorySure is what each queue may hold whatever others do (udp_rmem_min).
	memorySure = 4096
)

// reserve makes sure that a queue that has reserved so much may hold n bytes. It
// returns what is reserved then; false: there is no memory.
func (m *Memory) reserve(have, n int64) (int64, bool) {
	if n <= have {
		return have, true
	}
	want := (n - have + memoryUnit - 1) / memoryUnit * memoryUnit
	if m.Reserved.Add(want) > m.Limit && n > memorySure {
		m.Reserved.Add(-want)
		m.Refused.Add(1)
		return have, false
	}
	return have + want, true
}

// release gives back most of what a queue has reserved and does not need for n bytes,
// and returns what is reserved then.
func (m *Memory) release(have, n int64) int64 {
	if have-n < 3*memoryUnit {
		return have
	}
	return m.releaseAll(have, n+memoryUnit)
}

// releaseAll gives back what is not needed for n bytes.
func (m *Memory) releaseAll(have, n int64) int64 {
	keep := (n + memoryUnit - 1) / memoryUnit * memoryUnit
	m.Reserved.Add(keep - have)
	return keep
}
