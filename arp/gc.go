package arp

import (
	"math"
	"time"
)

// evictOrder says which entries make room when the table is full.
var evictOrder = [...]listID{listFailed, listStale, listIncomplete, listInUse}

// evict removes the entry that is missed least, and reports whether there was one.
func (t *Table) evict() bool {
	for _, id := range evictOrder {
		if e := t.lists[id].head; e != nil {
			t.remove(e)
			t.stats.ForcedGC++
			return true
		}
	}
	return false
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
	if t.collectAt == math.MaxInt64 && t.entries.n >= t.cfg.GCThreshold {
		t.collectAt = now + int64(t.cfg.GCInterval)
	}
}

// collect removes FAILED entries, and those that have been STALE for long, while
// the table is over the threshold; and plans the next collection.
func (t *Table) collect(now int64) {
	t.collectAt = math.MaxInt64
	for n := 0; t.entries.n >= t.cfg.GCThreshold; n++ {
		e := t.lists[listFailed].head
		if e == nil {
			e = t.lists[listStale].head
			if e == nil {
				return
			}
			if end := t.idleUntil(e); end > now {
				t.collectAt = max(end, now+int64(t.cfg.GCInterval))
				return
			}
		}
		if n == collectBatch {
			t.collectAt = now + collectPause
			return
		}
		t.remove(e)
		t.stats.PeriodicGC++
	}
}

// idleUntil returns when a STALE entry may be collected. Linux counts from the
// last use; until it became stale, a use may have passed the table by.
func (t *Table) idleUntil(e *Entry) int64 {
	return max(e.updated, e.confirmed) + int64(t.cfg.GCStaleTime)
}
