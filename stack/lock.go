package stack

import (
	"runtime"
	"sync/atomic"
	"time"
)

// laneLock is the right to receive: to take frames from the links and to
// touch what they change. Its word counts how often the links were asked, so that
// the housekeeper can see whether anybody has led since it last looked.
type laneLock struct {
	word   atomic.Uint64 // see the masks; the rest counts who led
	wanted atomic.Int32  // callers of lock: a spinning leader makes way for them
	_      [48]byte      // a cache line of its own
}

const (
	lockHeld     = 1 // somebody holds the lock
	lockSpinning = 2 // and means to spin for a while
	lockFlags    = lockHeld | lockSpinning
)

// try takes the lock if nobody has it. flags is lockHeld, or that with
// lockSpinning.
func (l *laneLock) try(flags uint64) bool {
	w := l.word.Load()
	return w&lockFlags == 0 && l.word.CompareAndSwap(w, w|flags)
}

// release gives the lock up. led says that the links were asked meanwhile.
func (l *laneLock) release(led bool) {
	w := l.word.Load()
	if led {
		l.word.Store(w | lockFlags + 1)
	} else {
		l.word.Store(w &^ lockFlags)
	}
}

// spinning reports whether a spinning leader has the lock.
func (l *laneLock) spinning() bool { return l.word.Load()&lockSpinning != 0 }

// lock takes the lock, and waits until it can: a leader that spins looks about
// once a microsecond whether somebody wants it.
func (l *laneLock) lock() {
	if l.try(lockHeld) {
		return
	}
	l.wanted.Add(1)
	for tries := 0; !l.try(lockHeld); tries++ {
		if tries < 1000 {
			runtime.Gosched()
		} else {
			time.Sleep(20 * time.Microsecond)
		}
	}
	l.wanted.Add(-1)
}

// makeWay lets those who wait in lock have it, and reports whether there were any.
// The lock must not be held.
func (l *laneLock) makeWay() bool {
	tries := 0
	for ; l.wanted.Load() > 0 && tries < 100; tries++ {
		runtime.Gosched()
	}
	return tries > 0
}
