package drive

import (
	"runtime"
	"sync/atomic"
	"time"
)

// Lock is the right to receive: to take frames from the links and to
// touch what they change. Its word counts how often the links were asked, so that
// the housekeeper can see whether anybody has led since it last looked.
type Lock struct {
	word   atomic.Uint64 // see the masks; the rest counts who led
	wanted atomic.Int32  // callers of Take: a spinning leader makes way for them
	_      [48]byte      // a cache line of its own
}

// What a holder of the lock says of itself.
const (
	Held      = 1 // somebody holds the lock
	Spinning  = 2 // and means to spin for a while
	lockFlags = Held | Spinning
)

// Try takes the lock if nobody has it. flags is Held, or that with
// Spinning.
func (l *Lock) Try(flags uint64) bool {
	w := l.word.Load()
	return w&lockFlags == 0 && l.word.CompareAndSwap(w, w|flags)
}

// release gives the lock up. led says that the links were asked meanwhile.
func (l *Lock) release(led bool) {
	w := l.word.Load()
	if led {
		l.word.Store(w | lockFlags + 1)
	} else {
		l.word.Store(w &^ lockFlags)
	}
}

// Spinning reports whether a spinning leader has the lock.
func (l *Lock) Spinning() bool { return l.word.Load()&Spinning != 0 }

// Take takes the lock, and waits until it can: a leader that spins looks about
// once a microsecond whether somebody wants it.
func (l *Lock) Take() {
	if l.Try(Held) {
		return
	}
	l.wanted.Add(1)
	for tries := 0; !l.Try(Held); tries++ {
		if tries < 1000 {
			runtime.Gosched()
		} else {
			time.Sleep(20 * time.Microsecond)
		}
	}
	l.wanted.Add(-1)
}

// Wanted reports whether anybody waits in Take.
func (l *Lock) Wanted() bool { return l.wanted.Load() > 0 }

// makeWay lets those who wait in Take have it, and reports whether there were any.
// The lock must not be held.
func (l *Lock) makeWay() bool {
	tries := 0
	for ; l.wanted.Load() > 0 && tries < 100; tries++ {
		runtime.Gosched()
	}
	return tries > 0
}
