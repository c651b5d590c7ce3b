package stack

import (
	"sync"
	"time"

	"github.com/outband/outband/link"
)

// rooms waits for room in devices on behalf of sockets: to send their backlogs, and
// to tell who watches them. Its goroutine lives while there is anything to wait for.
// A call that is blocked waits by itself, see sleepForRoom.
type rooms struct {
	s      *Stack
	poller *link.Poller
	done   sync.WaitGroup

	mu      sync.Mutex // a leaf
	waiting map[*Endpoint]*txQueue
	blocked map[*roomWait]int // how many calls wait with each
	running bool
	closed  bool
}

func (r *rooms) init(s *Stack) {
	r.s, r.poller = s, link.NewPoller()
	r.waiting = make(map[*Endpoint]*txQueue)
	r.blocked = make(map[*roomWait]int)
}

// arm has k told when there is room in to.
func (r *rooms) arm(k *Endpoint, to *txQueue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.waiting[k]; ok || r.closed {
		return
	}
	r.waiting[k] = to
	if !r.running {
		r.running = true
		r.done.Go(r.run)
		return
	}
	r.poller.Wake()
}

// look makes all who wait look for room: there is some in a device that has no
// descriptor, or a device has gone.
func (r *rooms) look() {
	r.poller.Wake()
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.blocked {
		w.waiter.WakeAll()
	}
}

// run is the goroutine.
func (r *rooms) run() {
	for {
		sockets, links, timed := r.take(false)
		if sockets == nil {
			if links == nil {
				return
			}
			timeout := time.Duration(-1)
			if timed {
				timeout = busyPause
			}
			r.poller.Wait(links, timeout)
			sockets, _, _ = r.take(timed)
		}
		for _, k := range sockets {
			k.roomAgain()
		}
	}
}

// take takes out the sockets for which there is room; those whose links cannot tell
// too, if guess is set. It returns what to sleep on for the others, nil if nobody
// waits any more, and whether any of the links cannot tell.
func (r *rooms) take(guess bool) (sockets []*Endpoint, links []link.Pollable, timed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	links = []link.Pollable{}
	for k, to := range r.waiting {
		if to.room == nil && !guess {
			timed = true
			continue
		}
		if to.hasRoom() {
			sockets = append(sockets, k)
			delete(r.waiting, k)
			continue
		}
		links = append(links, to.sources()...)
	}
	if len(r.waiting) == 0 && sockets == nil {
		r.running, links = false, nil
	}
	return sockets, links, timed
}

// close ends the goroutine. Backlogs that are left are lost.
func (r *rooms) close() {
	r.mu.Lock()
	r.closed = true
	clear(r.waiting)
	r.mu.Unlock()
	r.poller.Wake()
	r.done.Wait()
	r.poller.Close()
}

// roomAgain sends what the socket has left to send, and tells of room if that leaves
// any.
func (k *Endpoint) roomAgain() {
	if !k.caughtUp() {
		if to := k.behindOn(); to != nil {
			k.s.rooms.arm(k, to)
			return
		}
	}
	if k.Closed() {
		k.sending.own.close(k)
	}
	if k.writable() {
		k.sending.wake()
		k.changed(EventsOut)
	} else if k.watched() {
		k.armFull() // what was left to send has filled it again
	}
}

// A roomWait is how the calls of a socket wait for room in one way out.
type roomWait struct {
	to     *txQueue
	waiter *Waiter
}

// sleepForRoom waits until there may be room, or the call has to end.
func (k *Endpoint) sleepForRoom(to *txQueue, deadline int64) {
	if to.room == nil {
		time.Sleep(busyPause)
		return
	}
	if to.hasRoom() {
		return
	}
	w := k.block(to)
	if w == nil {
		return
	}
	w.waiter.Wait(deadline)
	k.unblock(w)
}

// block returns what to wait with; nil: the stack is closed.
func (k *Endpoint) block(to *txQueue) *roomWait {
	r := &k.s.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	for _, w := range k.sending.waits {
		if w.to == to {
			r.blocked[w]++
			return w
		}
	}
	w := &roomWait{to: to}
	sources := to.sources()
	w.waiter = k.s.NewWaiter(func() bool {
		return k.state.Load()&stateSendEnds != 0 || len(sources) == 0 && to.hasRoom()
	})
	if len(sources) > 0 {
		w.waiter.SetSources(sources, to.hasRoom)
	}
	k.sending.waits = append(k.sending.waits, w)
	r.blocked[w]++
	return w
}

// unblock is what follows on block. The last one out of a socket that is closed
// gives back what waiting took.
func (k *Endpoint) unblock(w *roomWait) {
	r := &k.s.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocked[w]--; r.blocked[w] > 0 {
		return
	}
	delete(r.blocked, w)
	if k.Closed() {
		w.waiter.Close()
	}
}

// endWaits wakes the calls that wait for room; of a socket that is closed it gives
// back what waiting took.
func (k *Endpoint) endWaits() {
	r := &k.s.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range k.sending.waits {
		w.waiter.WakeAll()
		if k.Closed() && r.blocked[w] == 0 {
			w.waiter.Close()
		}
	}
}
