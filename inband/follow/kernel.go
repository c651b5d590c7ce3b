package follow

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// A Kernel is the kernel's IPv4 of one network namespace. Its methods may be called by
// several goroutines at once.
type Kernel struct {
	askers   chan *socket // that are free; closed: the Kernel is
	opened   int          // how many there are
	snapshot atomic.Pointer[Snapshot]
	members  members

	dumping sync.Mutex // guards what follows, and is not held while a function of Events runs
	dumper  *socket    // nil: closed

	loop   loop
	events atomic.Pointer[Events]
	ended  chan struct{} // closed when the loop has ended
	once   sync.Once
}

// dumpLen is room for what the kernel sends at once of a dump: it makes no more of it.
const dumpLen = 32 << 10

// Open begins to follow the kernel in the calling thread's network namespace. It needs no
// privilege.
func Open() (*Kernel, error) {
	k := &Kernel{askers: make(chan *socket, askers), ended: make(chan struct{})}
	k.members.fd = -1
	if err := k.open(); err != nil {
		close(k.ended)
		k.Close()
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	go k.follow()
	return k, nil
}

func (k *Kernel) open() (err error) {
	// Events first: what happens from here on is not missed.
	if err := k.loop.open(); err != nil {
		return err
	}
	for range askers {
		s, err := openSocket(answerLen)
		if err != nil {
			return err
		}
		k.askers <- s
		k.opened++
	}
	if k.dumper, err = openSocket(dumpLen); err != nil {
		return err
	}
	s, errno := k.dumper.snapshot()
	if errno != 0 {
		return errno
	}
	k.snapshot.Store(&s)
	k.members.open()
	return nil
}

// Snapshot returns the kernel's devices and addresses as of the last event.
func (k *Kernel) Snapshot() Snapshot { return *k.snapshot.Load() }

// Close ends it: no function of Events runs afterwards. It must not be called by one of
// them. A second call does nothing.
func (k *Kernel) Close() { k.once.Do(k.close) }

func (k *Kernel) close() {
	k.loop.end()
	<-k.ended
	k.loop.close()
	for range k.opened {
		(<-k.askers).close() // once the goroutine that asks has its answer
	}
	close(k.askers)
	k.dumping.Lock()
	defer k.dumping.Unlock()
	k.dumper.close()
	k.dumper = nil
	k.members.close()
}
