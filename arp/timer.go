package arp

// arm starts or moves the entry's timer.
func (t *Table) arm(e *Entry, when int64) { t.timers.Set(&e.timer, when, e) }

// disarm stops the entry's timer.
func (t *Table) disarm(e *Entry) { t.timers.Stop(&e.timer) }

// armAddress starts or moves the own address's timer.
func (t *Table) armAddress(a *address, when int64) { t.ownTimers.Set(&a.timer, when, a) }

// disarmAddress stops the own address's timer.
func (t *Table) disarmAddress(a *address) { t.ownTimers.Stop(&a.timer) }

// fireNext does what the timer is for that is due first at now; false if none is.
func (t *Table) fireNext(now int64) bool {
	entry, own := t.timers.Next(), t.ownTimers.Next()
	switch {
	case min(entry, own) > now:
		return false
	case own < entry:
		t.fireAddress(now, t.ownTimers.Pop())
	default:
		t.fire(now, t.timers.Pop())
	}
	return true
}
