package arp

// A timer is due at a time, and belongs to an entry or to an own address.
type timer struct {
	when int64
	e    *Entry
	a    *address
}

// timers is a min-heap with four children to a node: half as deep as a binary
// one, and the children share a cache line or two. The owners know their
// position, so that a timer can be moved and removed.
type timers []timer

const heapArity = 4

// place stores a timer and tells its owner where.
func (h timers) place(i int, tm timer) {
	h[i] = tm
	if tm.e != nil {
		tm.e.timer = int32(i)
	} else {
		tm.a.timer = int32(i)
	}
}

// up moves the timer at i towards the root until its parent is not later.
func (h timers) up(i int) {
	tm := h[i]
	for i > 0 {
		parent := (i - 1) / heapArity
		if h[parent].when <= tm.when {
			break
		}
		h.place(i, h[parent])
		i = parent
	}
	h.place(i, tm)
}

// down moves the timer at i towards the leaves until no child is earlier.
func (h timers) down(i int) {
	tm := h[i]
	for {
		first := heapArity*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+heapArity, len(h)); c++ {
			if h[c].when < h[least].when {
				least = c
			}
		}
		if h[least].when >= tm.when {
			break
		}
		h.place(i, h[least])
		i = least
	}
	h.place(i, tm)
}

// set starts the timer at position i, or a new one if i is negative, or moves it.
func (h *timers) set(i int32, tm timer) {
	if i < 0 {
		*h = append(*h, tm)
		h.up(len(*h) - 1)
		return
	}
	old := (*h)[i].when
	(*h)[i].when = tm.when
	if tm.when < old {
		h.up(int(i))
	} else {
		h.down(int(i))
	}
}

// remove stops the timer at position i. The owner's position is left to the caller.
func (h *timers) remove(i int32) {
	last := len(*h) - 1
	tm := (*h)[last]
	(*h)[last] = timer{}
	*h = (*h)[:last]
	if int(i) == last {
		return
	}
	old := (*h)[i].when
	(*h)[i] = tm
	if tm.when < old {
		h.up(int(i))
	} else {
		h.down(int(i))
	}
}

// arm starts or moves the entry's timer.
func (t *Table) arm(e *Entry, when int64) { t.timers.set(e.timer, timer{when: when, e: e}) }

// disarm stops the entry's timer.
func (t *Table) disarm(e *Entry) {
	if e.timer >= 0 {
		t.timers.remove(e.timer)
		e.timer = -1
	}
}

// armAddress starts or moves the own address's timer.
func (t *Table) armAddress(a *address, when int64) {
	t.timers.set(a.timer, timer{when: when, a: a})
}

// disarmAddress stops the own address's timer.
func (t *Table) disarmAddress(a *address) {
	if a.timer >= 0 {
		t.timers.remove(a.timer)
		a.timer = -1
	}
}
