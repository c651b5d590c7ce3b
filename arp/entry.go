package arp

import (
	"sync/atomic"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/internal/heap"
	"github.com/outband/outband/internal/list"
	"github.com/outband/outband/ipv4"
)

// An Entry is one neighbour in a [Table]. It belongs to the table: all methods
// but [Entry.Version] want the table's lock held. An entry that has left the
// table is never used again for another neighbour, so a pointer to it may be
// kept; its state is then [None], and its Version has changed.
type Entry struct {
	version atomic.Uint32
	addr    ipv4.Addr
	mac     ether.MAC
	state   State
	used    int64      // last Resolve; with the fields above in one cache line
	src     ipv4.Addr  // own address that solicitations are sent from, if it is usable
	timer   heap.Place // in Table.timers
	probes  uint16     // requests sent in the present INCOMPLETE or PROBE
	list    listID
	waiting bool // somebody has called Solicit and waits for the event
	answer  bool // made to answer strangers, and nobody here has sent to it since

	confirmed int64 // last proof that the neighbour has this MAC
	updated   int64 // last change of state or MAC

	listed  list.Node[Entry] // in Table.lists[list]
	queue   *queue           // datagrams waiting; nil if there are none
	answers *queue           // answers to strangers waiting; nil if there are none
}

// Addr returns the neighbour's IPv4 address.
func (e *Entry) Addr() ipv4.Addr { return e.addr }

// MAC returns the neighbour's hardware address, and whether datagrams may be sent
// to it now. That is so in all states but INCOMPLETE, FAILED and NONE.
func (e *Entry) MAC() (mac ether.MAC, ok bool) { return e.mac, e.state&valid != 0 }

// State returns what is known about the neighbour.
func (e *Entry) State() State { return e.state }

// Version returns a number that changes when a sender that has cached the MAC
// must ask [Table.Resolve] again; see the package comment for when. It is never
// 0, so 0 can stand for "never asked". Any goroutine may call it at any time
// without a lock: it is one atomic load. A sender reads the version together
// with the MAC, under the table's lock.
func (e *Entry) Version() uint32 { return e.version.Load() }

// bump changes the version.
func (e *Entry) bump() {
	if e.version.Add(1) == 0 {
		e.version.Store(1)
	}
}

// A listID names one of the lists by which entries are evicted and collected.
// Each list is ordered by when the entry came into it, oldest first; inUse by
// use.
type listID uint8

const (
	listNone       listID = iota // PERMANENT: in no list, never evicted
	listFailed                   // FAILED
	listStale                    // STALE
	listAnswer                   // INCOMPLETE, to answer strangers
	listIncomplete               // INCOMPLETE
	listInUse                    // REACHABLE, DELAY, PROBE, NOARP
	numLists
)

// listOf returns the entry's list in a state.
func (e *Entry) listOf(s State) listID {
	switch s {
	case Failed:
		return listFailed
	case Stale:
		return listStale
	case Incomplete:
		if e.answer {
			return listAnswer
		}
		return listIncomplete
	case Reachable, Delay, Probe, NoARP:
		return listInUse
	}
	return listNone
}

// unlink takes the entry out of its list.
func (t *Table) unlink(e *Entry) {
	if e.list != listNone {
		t.lists[e.list].Remove(&e.listed)
		e.list = listNone
	}
}

// link appends the entry, which is in no list, to one.
func (t *Table) link(e *Entry, id listID) {
	if e.list = id; id != listNone {
		t.lists[id].Append(&e.listed, e)
	}
}

// touch moves the entry to the young end of its list.
func (t *Table) touch(e *Entry) {
	if e.list != listNone {
		t.lists[e.list].Renew(&e.listed)
	}
}
