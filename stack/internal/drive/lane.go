package drive

// A Pumper is the work of a lane.
type Pumper interface {
	// Pump takes a batch from every link of the lane and processes it. The lock is held.
	Pump() Outcome
	// Release releases the lock, by Lane.Unlock, and does what was left to do.
	Release()
}

// A Lane is what one goroutine at a time drives.
type Lane struct {
	_    [64]byte // a cache line for itself, since another lane's leader reads what is before
	Lock Lock

	d      *Driver
	work   Pumper
	first  bool   // it runs the timers
	now    int64  // the clock when a leader looked last; guarded by Lock, as are
	rounds uint32 // calls of pump
	led    bool   // the links were asked since the lock was taken
}

// Init makes l ready for use, as the first lane of a driver or another.
func (l *Lane) Init(d *Driver, work Pumper, first bool) { l.d, l.work, l.first = d, work, first }

// SetLanes says which lanes there are, the first one first. The list is not to be changed.
func (d *Driver) SetLanes(all []*Lane) { d.lanes.Store(&all) }

// Unlock releases the lock.
func (l *Lane) Unlock() {
	led := l.led
	l.led = false
	l.Lock.release(led)
}

// Asked counts a look at the links, and now and then runs the timers that are due. Whoever
// asks them calls it first. The lock is held.
func (l *Lane) Asked() {
	l.led = true
	if l.rounds++; l.rounds%ClockEvery == 0 {
		l.RunTimers(l.d.clock.Now())
	}
}

// RunTimers runs the timers that are due, if l is the first lane. The lock is held.
func (l *Lane) RunTimers(now int64) {
	if l.now = now; l.first {
		l.d.host.RunTimers(now)
	}
}

// Led reports whether the lane was ever led. The lock is held.
func (l *Lane) Led() bool { return l.rounds > 0 }

// spinning reports whether a call spins, at one lane or from lane to lane.
func (d *Driver) spinning() bool {
	if d.spinners.Load() > 0 {
		return true
	}
	for _, l := range *d.lanes.Load() {
		if l.Lock.Spinning() {
			return true
		}
	}
	return false
}

// word returns what changes when any lane is led, and has the flag Held if one is held.
func (d *Driver) word() (w uint64) {
	for _, l := range *d.lanes.Load() {
		n := l.Lock.word.Load()
		w = (w&^lockFlags + n&^lockFlags) | w&lockFlags | n&lockFlags
	}
	return w
}
