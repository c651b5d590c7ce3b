package output

import (
	"sync"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/drive"
)

// Rooms waits for room in devices on behalf of sockets: to send their backlogs, and
// to tell who watches them. Its goroutine lives while there is anything to wait for.
// A call that is blocked waits by itself, see sleepForRoom.
type rooms struct {
	poller *link.Poller
	done   sync.WaitGroup

	mu      sync.Mutex // a leaf
	waiting map[*Sender]*WayOut
	blocked map[*roomWait]int // how many calls wait with each
	running bool
	closed  bool
}

func (r *rooms) init() {
	r.poller = link.NewPoller()
	r.waiting = make(map[*Sender]*WayOut)
	r.blocked = make(map[*roomWait]int)
}

// arm has s told when there is room in to.
func (r *rooms) arm(s *Sender, to *WayOut) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.waiting[s]; ok || r.closed {
		return
	}
	r.waiting[s] = to
	if !r.running {
		r.running = true
		r.done.Go(r.run)
		return
	}
	r.poller.Wake()
}

// Look makes all who wait look for room: there is some in a device that has no
// descriptor, or a device has gone.
func (r *rooms) Look() {
	r.poller.Wake()
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.blocked {
		w.s.watches.Tell(drive.Room)
	}
}

// run is the goroutine.
func (r *rooms) run() {
	for {
		senders, links, timed := r.take(false)
		if senders == nil {
			if links == nil {
				return
			}
			timeout := time.Duration(-1)
			if timed {
				timeout = busyPause
			}
			r.poller.Wait(links, timeout)
			senders, _, _ = r.take(timed)
		}
		for _, s := range senders {
			s.roomAgain()
		}
	}
}

// take takes out the senders for which there is room; those whose links cannot tell
// too, if guess is set. It returns what to sleep on for the others, nil if nobody
// waits any more, and whether any of the links cannot tell.
func (r *rooms) take(guess bool) (senders []*Sender, links []link.Pollable, timed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	links = []link.Pollable{}
	for s, to := range r.waiting {
		if to.room == nil && !guess {
			timed = true
			continue
		}
		if to.hasRoom() {
			senders = append(senders, s)
			delete(r.waiting, s)
			continue
		}
		links = append(links, to.sources()...)
	}
	if len(r.waiting) == 0 && senders == nil {
		r.running, links = false, nil
	}
	return senders, links, timed
}

// Close ends the goroutine. Backlogs that are left are lost.
func (r *rooms) Close() {
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
func (s *Sender) roomAgain() {
	if !s.CaughtUp() {
		if to := s.BehindOn(); to != nil {
			s.Rooms.arm(s, to)
			return
		}
	}
	if s.closed() {
		s.Own.Close(s)
	}
	if s.Writable() {
		s.host.TellEvents(drive.Out)
	} else if s.host.IsWatched() {
		s.armFull() // what was left to send has filled it again
	}
}

// A roomWait is how the calls of a socket wait for room in one way out.
type roomWait struct {
	to    *WayOut
	s     *Sender
	guess bool          // there is no descriptor: to be asked whether there is room
	sleep drive.Sources // what to sleep on
}

// sleepForRoom waits until there may be room, or the call has to end.
func (s *Sender) sleepForRoom(to *WayOut, deadline int64) {
	if to.room == nil {
		time.Sleep(busyPause)
		return
	}
	if to.hasRoom() {
		return
	}
	w := s.block(to)
	if w == nil {
		return
	}
	s.wait(func() bool { return s.state.Load()&stateSendEnds != 0 || w.guess && to.hasRoom() }, &w.sleep, deadline)
	s.unblock(w)
}

// block returns what to wait with; nil: the stack is closed.
func (s *Sender) block(to *WayOut) *roomWait {
	r := &s.Rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	for _, w := range s.waits {
		if w.to == to {
			r.blocked[w]++
			return w
		}
	}
	sources := to.sources()
	w := &roomWait{to: to, s: s, guess: len(sources) == 0}
	w.sleep.Set(sources, to.hasRoom)
	s.waits = append(s.waits, w)
	r.blocked[w]++
	return w
}

// unblock is what follows on block. The last one out of a socket that is closed
// gives back what waiting took.
func (s *Sender) unblock(w *roomWait) {
	r := &s.Rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocked[w]--; r.blocked[w] > 0 {
		return
	}
	delete(r.blocked, w)
	if s.closed() {
		w.sleep.Close()
	}
}

// EndWaits gives back what waiting for room took, of a socket that is closed. Calls that
// wait still do that themselves.
func (s *Sender) EndWaits() {
	r := &s.Rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range s.waits {
		if r.blocked[w] == 0 {
			w.sleep.Close()
		}
	}
}
