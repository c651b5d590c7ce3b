package arp

import (
	"math"
	"time"

	"github.com/outband/outband/internal/clock"
)

// evict removes the entry that is missed least, and reports whether there was one.
// Neighbours that have never answered go before those that have, which are worth
// more than what anybody can make up: but for some of them, so that new neighbours are
// found too while the table is full of known ones. An answer to a stranger evicts only
// what failed, and what is asked for for other answers.
func (t *Table) evict(answer bool) bool {
	if t.evictFrom(listFailed) || t.evictFrom(listAnswer) {
		return true
	}
	if answer {
		return false
	}
	if t.lists[listIncomplete].Len() > t.cfg.MaxEntries/incompleteShare {
		return t.evictFrom(listIncomplete)
	}
	return t.evictFrom(listStale) || t.evictFrom(listIncomplete) || t.evictFrom(listInUse)
}

// admitAnswer makes room for one more neighbour that is asked for to answer a stranger.
func (t *Table) admitAnswer() {
	if t.lists[listAnswer].Len() >= t.cfg.MaxAnswering {
		t.evictFrom(listAnswer)
	}
}

// incompleteShare is the part of a full table in which neighbours that have not
// answered yet push out others: one in so many.
const incompleteShare = 64

// evictFrom removes the oldest entry of a list, if it has one.
func (t *Table) evictFrom(id listID) bool {
	e := t.lists[id].Oldest()
	if e == nil {
		return false
	}
	t.remove(e, Unreachable)
	t.stats.ForcedGC++
	return true
}

const (
	// collectBatch is how many entries one collection removes at most, so that
	// the caller's lock is not held for long.
	collectBatch = 1024
	// collectPause is the time until the next, if there were more.
	collectPause = int64(time.Millisecond)
)

// wantCollection makes sure that a collection is planned, since there is an entry
// for it now.
func (t *Table) wantCollection(now int64) {
	if t.collectAt == math.MaxInt64 && t.entries.Len() >= t.cfg.GCThreshold {
		t.collectAt = clock.After(now, int64(t.cfg.GCInterval))
	}
}

// collect removes FAILED entries, and those that have been STALE for long, while
// the table is over the threshold; and plans the next collection.
func (t *Table) collect(now int64) {
	t.collectAt = math.MaxInt64
	for n := 0; t.entries.Len() >= t.cfg.GCThreshold; n++ {
		e := t.lists[listFailed].Oldest()
		if e == nil {
			e = t.lists[listStale].Oldest()
			if e == nil {
				return
			}
			if end := t.idleUntil(e); end > now {
				t.collectAt = max(end, clock.After(now, int64(t.cfg.GCInterval)))
				return
			}
		}
		if n == collectBatch {
			t.collectAt = now + collectPause
			return
		}
		t.remove(e, Unreachable)
		t.stats.PeriodicGC++
	}
}

// idleUntil returns when a STALE entry may be collected. Linux counts from the
// last use; until it became stale, a use may have passed the table by.
func (t *Table) idleUntil(e *Entry) int64 {
	return clock.After(max(e.updated, e.confirmed), int64(t.cfg.GCStaleTime))
}
