package stack

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/groupflow"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/queue"
)

// batchSize is how many frames a leader takes from a link at once: enough to
// spread the costs of a batch, few enough to return soon.
const batchSize = 32

// A lane is the receive path of some links: what is needed to take their frames in, and
// to bring each to whom it is for. Whoever has its lock leads it. All of its methods but
// begin need the lock held.
//
// What several lanes share, such as the tables of ports, is read with the lock of one of
// them held, and changed with those of all: see lanes.
type lane struct {
	s      *Stack
	number int
	drive  drive.Lane // who leads, and the lock
	// interfaces are those whose frames it takes in.
	interfaces []*Interface
	batch      [batchSize]link.Frame
	at         int          // how many of them have been looked at
	count      *counter.Set // &counters but while warming

	counters     counter.Set
	warmCounters counter.Set // what does not count: see receive.go
	warming      bool
	view         bpf.View // what a program of SO_REUSEPORT's runs on

	// sink is where datagrams for sinkSocket go while nothing is queued.
	sinkSocket *Endpoint
	sink       queue.Target

	pending *flush // what is to do once the lock is released

	match   []*UDPSocket // for datagrams to several sockets
	flows   groupflow.Flows[*UDPSocket]
	arrival arrival   // of the datagram that a protocol other than UDP takes in
	heard   link.Meta // of a multicast of our own that is taken in
	taken   int64     // when the batch was taken, of CLOCK_MONOTONIC, if anybody wants to know
}

func (l *lane) init(s *Stack, number int) {
	l.s, l.number = s, number
	l.drive.Init(&s.drive, l, number == 0)
	l.flows.Init(groupflow.Limits{Flows: s.limits.GroupFlows, Sockets: s.limits.GroupFlowSockets}, s.randomness.Next)
	l.flows.Fit(s.groups.Members())
	l.pending = new(flush)
	l.count = &l.counters
}

// lanes are the lanes of a stack. A reader of what they share holds the lock of one of
// them, a writer those of all, which it takes in the order of the list.
type lanes struct {
	first lane
	// all is every lane, the first one first. It changes with the first one's lock held.
	all atomic.Pointer[[]*lane]
}

func (ls *lanes) init(s *Stack) {
	ls.first.init(s, 0)
	s.setLanes([]*lane{&ls.first})
}

// MaxLanes is how many lanes a stack may have.
const MaxLanes = 64

// laneAt returns the lane of that number, which it makes if there is none. s.mu is held.
func (s *Stack) laneAt(n int) *lane {
	all := *s.lanes.all.Load()
	if n < len(all) {
		return all[n]
	}
	s.lanes.first.begin() // which keeps others from taking or releasing all
	defer s.lanes.first.end()
	all = slices.Clone(all)
	for len(all) <= n {
		l := new(lane)
		l.init(s, len(all))
		all = append(all, l)
	}
	s.setLanes(all)
	return all[n]
}

// setLanes makes all the list of lanes.
func (s *Stack) setLanes(all []*lane) {
	s.lanes.all.Store(&all)
	driven := make([]*drive.Lane, len(all))
	for n, l := range all {
		driven[n] = &l.drive
	}
	s.drive.SetLanes(driven)
}

// lockLanes takes the locks of all lanes, to change what they share.
func (s *Stack) lockLanes() {
	s.lanes.first.drive.Lock.Take()
	for _, l := range (*s.lanes.all.Load())[1:] {
		l.drive.Lock.Take()
	}
}

// unlockLanes releases the locks of all lanes, and does what was left to do.
func (s *Stack) unlockLanes() {
	var todo *flush
	for _, l := range *s.lanes.all.Load() {
		if f := l.release(); f != nil {
			f.next, todo = todo, f
		}
	}
	for f := todo; f != nil; f = todo {
		todo, f.next = f.next, nil
		s.runFlush(f)
	}
	s.released()
}

// allLanes is a sync.Locker of all lanes.
type allLanes struct{ s *Stack }

// Lock implements sync.Locker.
func (a allLanes) Lock() { a.s.lockLanes() }

// Unlock implements sync.Locker.
func (a allLanes) Unlock() { a.s.unlockLanes() }

// begin takes the lane's lock for something else than leading.
func (l *lane) begin() { l.drive.Lock.Take() }

// end releases the lane's lock, and does what was left to do.
func (l *lane) end() {
	if f := l.release(); f != nil {
		l.s.runFlush(f)
	}
	l.s.released()
}

// release releases the lane's lock, and returns what is to do now, nil for nothing.
func (l *lane) release() *flush {
	if l.sinkSocket != nil {
		l.sinkSocket = nil
		l.sink.One, l.sink.Msgs = nil, nil
	}
	if l.pending.empty() {
		l.drive.Unlock()
		return nil
	}
	f := l.pending
	l.pending = l.s.flushes.Get().(*flush)
	if len(f.out) > 0 {
		l.count[counter.IPOutDiscards] += uint64(l.s.out.PostPackets(f.out))
		clear(f.out)
		f.out, f.posted = f.out[:0], true
	}
	l.drive.Unlock()
	return f
}

// released has the housekeeper look up: whoever has led is leaving.
func (s *Stack) released() {
	s.drive.Released()
}

// flush is what a batch leaves to do after the lock is released: sleepers to
// wake and packets to send.
type flush struct {
	wake   []*Endpoint
	out    []output.OutPacket
	posted bool // something is in the outbox
	next   *flush
}

func (f *flush) empty() bool { return len(f.wake)+len(f.out) == 0 && !f.posted }

// runFlush wakes and sends. No lock is held.
func (s *Stack) runFlush(f *flush) {
	for i, k := range f.wake {
		k.watches.Tell(EventsIn)
		f.wake[i] = nil
	}
	f.wake = f.wake[:0]
	if f.posted {
		f.posted = false
		s.out.SendOutbox()
	}
	s.flushes.Put(f)
}

// pump takes a batch from every link and processes it, and now and then runs
// the timers that are due. It returns true if a link may have more: whoever
// wants to sleep looks again first, since a link without a descriptor tells only
// of the first frame.
func (l *lane) pump() (more bool) {
	l.drive.Asked()
	for _, ifc := range l.interfaces {
		n := ifc.dev.Link.Receive(l.batch[:])
		if n == 0 {
			continue
		}
		l.stampTaken()
		for l.at = 0; l.at < n; {
			l.inputBatch(ifc, n)
		}
		ifc.dev.Link.Release()
		more = more || n == batchSize
	}
	return more
}

// inputBatch processes n frames of the batch, from l.at on. It may return before the last.
func (l *lane) inputBatch(ifc *Interface, n int) {
	defer l.containFrame(ifc, nil)
	for l.at < n {
		l.at++
		l.input(ifc, &l.batch[l.at-1])
	}
}

// driveHost is a stack as package drive sees it.
type driveHost struct{ s *Stack }

// RunTimers implements drive.Host: the first lane runs the timers for all.
func (h driveHost) RunTimers(now int64) {
	for h.s.timers.Due(now) {
		h.s.lanes.first.runDueTimers(now)
	}
}

// Links implements drive.Host.
func (h driveHost) Links() []link.Pollable { return h.s.routes.Net().Links }

// Chores implements drive.Host: it sends what waits for somebody to send it.
func (h driveHost) Chores() {
	if h.s.out.Outbox.Waiting.Load() {
		h.s.out.SendOutbox()
	}
}

// runDueTimers may return before all that are due were run.
func (l *lane) runDueTimers(now int64) {
	defer l.containTimer(now)
	l.s.timers.Run(now)
}

// Pump implements drive.Pumper.
func (l *lane) Pump() drive.Outcome {
	var found drive.Outcome
	if l.pump() {
		found = drive.Full
	}
	if !l.pending.empty() {
		found |= drive.Pending
	}
	return found
}

// Release implements drive.Pumper.
func (l *lane) Release() { l.end() }

// pumpFor is Pump for a call of k's that has nothing queued, which its datagrams go
// straight to.
func (l *lane) pumpFor(k *Endpoint, t *queue.Target, cold *bool) drive.Outcome {
	if l.sinkSocket != k {
		l.sinkSocket = k
		l.sink.One, l.sink.Msgs, l.sink.Count = t.One, t.Msgs, 0
	}
	found := l.Pump()
	if *cold && found&drive.Full == 0 && l.sink.Count == 0 && !k.ready() && l.warm(k) {
		*cold = false
		found = l.Pump()
	}
	if l.sink.Count > 0 {
		t.Count, t.N, t.Info = l.sink.Count, l.sink.N, l.sink.Info
		found |= drive.Done
	}
	return found
}

// timerRetry is after what time a timer is called again that has panicked.
const timerRetry = int64(time.Second)

// containFrame, deferred, ends a panic over a frame, nil for the one of the batch at hand.
// What runs under a lock that is not a lane's, and is not of this package, has that
// released by a deferred call.
func (l *lane) containFrame(ifc *Interface, frame []byte) {
	if l.s.panics {
		return
	}
	v := recover()
	if v == nil {
		return
	}
	if frame == nil && l.at > 0 {
		frame = l.batch[l.at-1].Data
	}
	l.count[counter.DropFault]++
	l.forgetMatch()
	l.arrival, l.view.Data = arrival{}, nil
	l.s.faults.Keep(Fault{At: l.s.Monotonic(), Work: "frame", Interface: ifc.Index()}, v, frame)
}

// containTimer, deferred, ends a panic of a timer, which is called again later.
func (l *lane) containTimer(now int64) {
	if l.s.panics {
		return
	}
	if v := recover(); v != nil {
		l.s.timers.Again(now + timerRetry)
		l.s.faults.Keep(Fault{At: l.s.Monotonic(), Work: "timer"}, v, nil)
	}
}
