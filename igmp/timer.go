package igmp

// A timer is due at a time, and belongs to a group.
type timer struct {
	when int64
	g    *Group
}

// timers is a binary min-heap. The groups know their position, so that a timer can
// be moved and removed.
type timers []timer

// place stores a timer and tells its group where.
func (h timers) place(i int, tm timer) {
	h[i] = tm
	tm.g.timer = int32(i)
}

// up moves the timer at i towards the root until its parent is not later.
func (h timers) up(i int) {
	tm := h[i]
	for i > 0 && h[(i-1)/2].when > tm.when {
		h.place(i, h[(i-1)/2])
		i = (i - 1) / 2
	}
	h.place(i, tm)
}

// down moves the timer at i towards the leaves until no child is earlier.
func (h timers) down(i int) {
	tm := h[i]
	for {
		c := 2*i + 1
		if c+1 < len(h) && h[c+1].when < h[c].when {
			c++
		}
		if c >= len(h) || h[c].when >= tm.when {
			break
		}
		h.place(i, h[c])
		i = c
	}
	h.place(i, tm)
}

// arm starts or moves the group's timer.
func (h *Host) arm(g *Group, when int64) {
	if g.timer < 0 {
		h.timers = append(h.timers, timer{when, g})
		h.timers.up(len(h.timers) - 1)
		return
	}
	i := int(g.timer)
	h.timers[i].when = when
	h.timers.up(i)
	h.timers.down(int(g.timer))
}

// disarm stops the group's timer.
func (h *Host) disarm(g *Group) {
	if g.timer < 0 {
		return
	}
	i, last := int(g.timer), len(h.timers)-1
	tm := h.timers[last]
	h.timers[last] = timer{}
	h.timers = h.timers[:last]
	g.timer = -1
	if i == last {
		return
	}
	h.timers.place(i, tm)
	h.timers.up(i)
	h.timers.down(int(tm.g.timer))
}

// due returns when the group's timer ends; never if none runs.
func (h *Host) due(g *Group) int64 {
	if g.timer < 0 {
		return never
	}
	return h.timers[g.timer].when
}
