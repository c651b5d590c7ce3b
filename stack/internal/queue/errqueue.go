package queue

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A QueuedError is one entry of a socket's error queue (IP_RECVERR in ip(7),
// struct sock_extended_err in recvmsg(2)).
type QueuedError struct {
	Errno    unix.Errno
	Origin   uint8 // unix.SO_EE_ORIGIN_LOCAL, _ICMP or _TIMESTAMPING
	Type     uint8 // the ICMP message's, with SO_EE_ORIGIN_ICMP
	Code     uint8
	Info     uint32    // EMSGSIZE: the MTU; time stamps: unix.SCM_TSTAMP_*; SO_TXTIME: the time's lower half
	Data     uint32    // time stamps: the number of the datagram (OPT_ID); SO_TXTIME: the time's upper half
	Offender ipv4.Addr // who sent the ICMP message, zero for none
	Dst      ipv4.Addr // where the datagram went that it is about
	DstPort  uint16
	Time     int64  // time stamps: when, in nanoseconds since the Unix epoch
	Payload  []byte // of the datagram, as much as is known
	Meta     Info   // of the ICMP message
	// Extension says where in Payload the extensions of an ICMP error are, if
	// there are any and the socket wants to know (IP_RECVERR_RFC4884).
	Extension icmp.Extension
}

// Errors holds what a socket was told about its datagrams, oldest first.
type Errors struct {
	N  atomic.Int32
	mu sync.Mutex
	// Entries are bounded by the socket's receive buffer, as on Linux.
	Entries []QueuedError
	charged int64
	// Reserved is how much of memory the queue has taken, at least charged.
	reserved int64
	Memory   *Memory
	closed   bool
}

// Push appends an entry, unless the queue holds as much as SO_RCVBUF allows.
func (q *Errors) Push(e QueuedError, limit int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	weight := Charge(len(e.Payload))
	if q.closed || q.charged+weight > limit {
		return false
	}
	var ok bool
	if q.reserved, ok = q.Memory.reserve(q.reserved, q.charged+weight); !ok {
		return false
	}
	q.Entries = append(q.Entries, e)
	q.charged += weight
	q.N.Store(int32(len(q.Entries)))
	return true
}

// Pop takes the oldest entry; next is the errno of the ICMP error behind it, 0
// if there is none.
func (q *Errors) Pop() (e QueuedError, next unix.Errno, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.Entries) == 0 {
		return QueuedError{}, 0, false
	}
	e = q.Entries[0]
	q.charged -= Charge(len(e.Payload))
	q.reserved = q.Memory.release(q.reserved, q.charged)
	q.Entries = append(q.Entries[:0], q.Entries[1:]...)
	q.N.Store(int32(len(q.Entries)))
	if len(q.Entries) > 0 && q.Entries[0].Origin == unix.SO_EE_ORIGIN_ICMP {
		next = q.Entries[0].Errno
	}
	return e, next, true
}

// Close drops all entries, and those to come.
func (q *Errors) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.Purge()
}

// Purge drops all entries.
func (q *Errors) Purge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.Entries)
	q.Entries, q.charged = q.Entries[:0], 0
	q.reserved = q.Memory.releaseAll(q.reserved, 0)
	q.N.Store(0)
}

// WithQuoted makes the payload all that an ICMP error has behind the quoted
// headers, its extensions among it.
func (e *QueuedError) WithQuoted(m icmp.Message, headers int) {
	e.Payload = m.Data()[headers:]
	e.Extension, _ = icmp.ParseExtension(m, headers)
}
