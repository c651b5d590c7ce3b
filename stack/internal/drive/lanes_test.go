package drive

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// A scriptLane is the work of a lane that finds what a script says, and then nothing.
type scriptLane struct {
	lane   Lane
	d      *Driver
	script []Outcome
	then   Outcome // behind the script
	log    []string
	onPump func()
}

func (s *scriptLane) Pump() Outcome {
	s.log = append(s.log, "pump")
	if s.onPump != nil {
		s.onPump()
	}
	if len(s.script) == 0 {
		return s.then
	}
	o := s.script[0]
	s.script = s.script[1:]
	return o
}

func (s *scriptLane) Release() {
	s.log = append(s.log, "release")
	s.lane.Unlock()
	s.d.Released()
}

func (s *scriptLane) pumps() (n int) {
	for _, what := range s.log {
		if what == "pump" {
			n++
		}
	}
	return n
}

// A choresHost is an idleHost that counts its chores.
type choresHost struct {
	idleHost
	chores atomic.Int32
	links  []link.Pollable
}

func (h *choresHost) Links() []link.Pollable { return h.links }

func (h *choresHost) Chores() { h.chores.Add(1) }

// newLanes returns a driver with lanes of scripts.
func newLanes(lanes ...*scriptLane) *Driver {
	h := &choresHost{idleHost: idleHost{new(Driver), new(Lane)}}
	h.d.Init(h, h, SpinNever)
	var all []*Lane
	for i, s := range lanes {
		s.d = h.d
		s.lane.Init(h.d, s, i == 0)
		all = append(all, &s.lane)
	}
	h.d.SetLanes(all)
	h.d.LinksChanged(true, false)
	return h.d
}

// A call that looks but once looks at each lane, bound to one or not, as long as that has
// more, but not without end; it is told what it waits for, whoever has brought it.
func TestOneLook(t *testing.T) {
	reached := func(after *scriptLane) func() bool { return func() bool { return len(after.log) > 0 } }
	for _, tt := range []struct {
		name   string
		lanes  []*scriptLane
		ready  func(lanes []*scriptLane) func() bool
		held   bool // by somebody else, all lanes
		bound  bool
		want   Verdict
		pumped []int
	}{
		{name: "nothing", lanes: []*scriptLane{{}}, want: Spent, pumped: []int{1}},
		{name: "delivered", lanes: []*scriptLane{{then: Done}}, want: Delivered, pumped: []int{1}},
		{name: "brought", lanes: []*scriptLane{{}}, ready: func(l []*scriptLane) func() bool { return reached(l[0]) }, want: Ready, pumped: []int{1}},
		{name: "others have more", lanes: []*scriptLane{{script: []Outcome{Full, Full}}}, want: Spent, pumped: []int{3}},
		{name: "others have more without end", lanes: []*scriptLane{{then: Full}}, want: Expired, pumped: []int{maxBacklog}},
		{name: "nothing, two lanes", lanes: []*scriptLane{{}, {}}, want: Spent, pumped: []int{1, 1}},
		{name: "bound to one of two", lanes: []*scriptLane{{}, {}}, bound: true, want: Spent, pumped: []int{1, 1}},
		{name: "delivered by the second", lanes: []*scriptLane{{}, {then: Done}}, want: Delivered, pumped: []int{1, 1}},
		{name: "one of two has more", lanes: []*scriptLane{{script: []Outcome{Full, Full, Done}}, {}}, want: Delivered, pumped: []int{3, 2}},
		{name: "the second has more", lanes: []*scriptLane{{}, {script: []Outcome{Full, Full}}}, want: Spent, pumped: []int{3, 3}},
		{name: "both have more without end", lanes: []*scriptLane{{then: Full}, {then: Full}}, want: Expired, pumped: []int{maxBacklog / 2, maxBacklog / 2}},
		{name: "led by somebody else", lanes: []*scriptLane{{}}, held: true, want: Spent, pumped: []int{0}},
		{name: "brought by somebody else", lanes: []*scriptLane{{}}, held: true, ready: func([]*scriptLane) func() bool { return func() bool { return true } },
			want: Ready, pumped: []int{0}},
	} {
		d := newLanes(tt.lanes...)
		if tt.held {
			for _, l := range tt.lanes {
				l.lane.Lock.Take()
			}
		}
		g := Goal{}
		if tt.ready != nil {
			g.Ready = tt.ready(tt.lanes)
		}
		var spin Spinner
		spin.Init(d)
		asked := 0
		sources := new(Sources)
		sources.Set([]link.Pollable{link.Descriptor(-1)}, func() bool { asked++; return false })
		c := Call{Spin: &spin, List: new(List), Events: All, Deadline: Never, Once: true, Bound: tt.bound, Sources: sources}
		if got := d.Wait(&g, &c); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		d.Finish(&c)
		for i, l := range tt.lanes {
			if got := l.pumps(); got != tt.pumped[i] {
				t.Errorf("%s: lane %d was asked %d times, want %d", tt.name, i, got, tt.pumped[i])
			}
		}
		if asked != 0 {
			t.Errorf("%s: other sources were asked, which takes a system call", tt.name)
		}
	}
}

// Poll asks each lane that nobody leads, as long as it has more.
func TestPollLanes(t *testing.T) {
	for _, tt := range []struct {
		lanes  []*scriptLane
		pumped []int
	}{
		{[]*scriptLane{{}}, []int{1}},
		{[]*scriptLane{{script: []Outcome{Full}}}, []int{2}},
		{[]*scriptLane{{script: []Outcome{Pending}}}, []int{2}},
		{[]*scriptLane{{}, {}}, []int{1, 1}},
		{[]*scriptLane{{script: []Outcome{Full}}, {script: []Outcome{Full, Full}}}, []int{2, 3}},
	} {
		d := newLanes(tt.lanes...)
		d.Poll(&Goal{})
		for i, l := range tt.lanes {
			if got := l.pumps(); got != tt.pumped[i] {
				t.Errorf("lane %d of %d was asked %d times, want %d", i, len(tt.lanes), got, tt.pumped[i])
			}
		}
	}
}

// What a batch leaves to do is done before the lane is asked again.
func TestPendingFirst(t *testing.T) {
	l := &scriptLane{script: []Outcome{Pending, 0, 0}, then: Done}
	d := newLanes(l)
	var spin Spinner
	spin.Init(d)
	c := Call{Spin: &spin, List: new(List), Events: All, Deadline: Never, Budget: Never}
	if v := d.Wait(&Goal{}, &c); v != Delivered || !slices.Equal(l.log, []string{"pump", "release", "pump", "pump", "pump", "release"}) {
		t.Errorf("%v, %v", v, l.log)
	}
}

// A call that is bound to a lane spins there, and asks the others in one of so many rounds.
func TestBoundLane(t *testing.T) {
	for _, bound := range []bool{false, true} {
		home, other := &scriptLane{}, &scriptLane{}
		d := newLanes(other, home)
		home.onPump = func() {
			if home.pumps() == 10*othersEvery {
				home.then = Done
			}
		}
		var spin Spinner
		spin.Init(d)
		c := Call{Spin: &spin, List: new(List), Events: All, Deadline: Never, Budget: Never, Lane: 1, Bound: bound}
		d.Wait(&Goal{}, &c)
		want := 10*othersEvery - 1
		if bound {
			want = 9
		}
		if n := other.pumps(); n != want {
			t.Errorf("bound %v: the other lane was asked %d times, want %d", bound, n, want)
		}
	}
}

// Before it sleeps a call empties the links that tell of the first frame only, but not
// without end.
func TestLookAgain(t *testing.T) {
	for _, tt := range []struct {
		tellOnce bool
		lane     *scriptLane
		pumped   int
		more     bool
	}{
		{false, &scriptLane{then: Full}, 0, false},
		{true, &scriptLane{}, 1, false},
		{true, &scriptLane{script: []Outcome{Full, Full}}, 3, false},
		{true, &scriptLane{then: Full}, maxBacklog, true},
	} {
		d := newLanes(tt.lane)
		d.LinksChanged(true, tt.tellOnce)
		if more := d.lookAgain(); more != tt.more || tt.lane.pumps() != tt.pumped {
			t.Errorf("tells once %v: asked %d times, want %d; more %v", tt.tellOnce, tt.lane.pumps(), tt.pumped, more)
		}
	}
}

// What sleeping takes is had in time, or it is said that it is not to be had.
func TestReserve(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[uint64]error{0: unix.EMFILE, old.Cur: nil} {
		d := newLanes(&scriptLane{})
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		err := d.Reserve()
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		if !errors.Is(err, want) {
			t.Errorf("with %d descriptors: %v, want %v", limit, err, want)
		}
		d.Close()
	}
}

// A leader that has left before the housekeeper parks does not leave it parked.
func TestParkTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLanes(&scriptLane{})
		if !d.housePark(leadership{turn: 77}) {
			t.Error("the housekeeper ends")
		}
	})
}

// A call that spins says so: at the one lane by its lock, among several by a count, from
// the first round on that has found nothing.
func TestSpinningIsSeen(t *testing.T) {
	for _, tt := range []struct {
		lanes  int
		budget int64
		want   []bool // by round
	}{
		{1, 0, []bool{false}},
		{1, Never, []bool{true, true}},
		{2, 0, []bool{false}},
		{2, Never, []bool{true, true}},
	} {
		var seen []bool
		var counts []int32
		lanes := make([]*scriptLane, tt.lanes)
		for i := range lanes {
			lanes[i] = new(scriptLane)
		}
		d := newLanes(lanes...)
		lanes[0].onPump = func() {
			seen = append(seen, d.spinning())
			counts = append(counts, d.spinners.Load())
			if len(seen) == len(tt.want) {
				lanes[0].then = Done
			}
		}
		var spin Spinner
		spin.Init(d)
		c := Call{Spin: &spin, List: new(List), Events: All, Deadline: Never, Budget: tt.budget, Once: tt.budget == 0}
		d.Wait(&Goal{}, &c)
		if !slices.Equal(seen, tt.want) || d.spinning() || d.spinners.Load() != 0 {
			t.Errorf("%d lanes, budget %d: seen to spin %v, and afterwards %v", tt.lanes, tt.budget, seen, d.spinning())
		}
		if several := tt.lanes > 1 && tt.budget > 0; several != (counts[len(counts)-1] == 1) {
			t.Errorf("%d lanes, budget %d: counted %v", tt.lanes, tt.budget, counts)
		}
	}
}

// A lane that somebody wants for something else is left to him, but for each sixteenth turn.
func TestWantedLaneIsLeft(t *testing.T) {
	l := &scriptLane{}
	newLanes(l)
	if !l.lane.mayLead(&Call{rounds: 1}) {
		t.Error("a lane that nobody wants is left")
	}
	l.lane.Lock.Take()
	var other sync.WaitGroup
	other.Go(func() { l.lane.Lock.Take(); l.lane.Lock.release(false) })
	for !l.lane.Lock.Wanted() {
		time.Sleep(time.Microsecond)
	}
	for rounds, want := range map[uint32]bool{1: false, 15: false, 16: true, 17: false, 32: true} {
		if got := l.lane.mayLead(&Call{rounds: rounds}); got != want {
			t.Errorf("round %d: may lead %v", rounds, got)
		}
	}
	l.lane.Lock.release(false)
	other.Wait()
}

// An event loop sleeps on whatever descriptor a link or another source has, be it 0: of a
// process without standard input.
func TestArmOn(t *testing.T) {
	for fd, want := range map[int]int{-1: 0, 0: 1, 7: 1} {
		d := newLanes(&scriptLane{})
		w := d.NewWaiter(func() bool { return false })
		w.SetSources([]link.Pollable{link.Descriptor(fd)}, func() bool { return false })
		d.host.(*choresHost).links = []link.Pollable{link.Descriptor(fd)}
		on, _, err := w.Arm(Never, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, other := range on[1:] { // behind its own
			if other == fd {
				n++
			}
		}
		if n != 2*want || len(on) != 1+2*want {
			t.Errorf("a link and a source of %d: sleeps on %v", fd, on)
		}
		d.host.(*choresHost).links = nil // which may be nobody's
		w.Disarm()
		w.Close()
	}
}

// The housekeeper leaves alone the lanes that somebody leads.
func TestHouseTurn(t *testing.T) {
	a, b := &scriptLane{}, &scriptLane{then: Full}
	d := newLanes(a, b)
	a.lane.Lock.Take()
	if led, full := d.houseTurn(); !led || !full || a.pumps() != 0 || b.pumps() != 1 {
		t.Errorf("led %v, full %v; asked %d and %d times", led, full, a.pumps(), b.pumps())
	}
	b.lane.Lock.Take()
	if led, full := d.houseTurn(); led || full || a.pumps() != 0 || b.pumps() != 1 {
		t.Errorf("led %v, full %v, and somebody else leads both", led, full)
	}
}

// A lane has been led once its links were asked.
func TestLed(t *testing.T) {
	l := &scriptLane{}
	newLanes(l)
	if l.lane.Led() {
		t.Error("led before anybody has")
	}
	if l.lane.Asked(); !l.lane.Led() {
		t.Error("not led after its links were asked")
	}
}

// The housekeeper, asleep as the leader or parked, does its chores when it is told to.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &scriptLane{}
		d := newLanes(l)
		closing := make(chan struct{})
		d.Start(closing)
		h := d.host.(*choresHost)
		hurried := func(where string) {
			t.Helper()
			synctest.Wait()
			before := h.chores.Load()
			d.Hurry()
			time.Sleep(HouseTick)
			if synctest.Wait(); h.chores.Load() == before {
				t.Errorf("%s: not told", where)
			}
		}
		time.Sleep(10 * HouseTick)
		hurried("leading")
		l.lane.Lock.Take() // somebody leads
		d.poller.Wake()
		d.housekeeper.poller.Wake()
		time.Sleep(4 * parkAfter * HouseTick)
		synctest.Wait()
		if !d.housekeeper.parked.Load() {
			t.Fatal("the housekeeper is not parked")
		}
		before := h.chores.Load()
		time.Sleep(time.Second)
		if synctest.Wait(); h.chores.Load() != before {
			t.Error("the housekeeper runs while it is parked")
		}
		hurried("parked")
		l.lane.Unlock()
		d.Released()
		close(closing)
		d.End()
		d.Ended()
	})
}

// The housekeeper leaves the lead to a call that sleeps and can take it, and to one that has
// led meanwhile; it stays while somebody waits in an event loop of his own.
func TestHouseLeaves(t *testing.T) {
	for _, tt := range []struct {
		name      string
		follower  bool
		elsewhere int32
		led       bool // by somebody, meanwhile
		asleep    bool // a call on the links, before the housekeeper is
		leaves    bool
	}{
		{"nothing", false, 0, false, false, false},
		{"a follower", true, 0, false, false, true},
		{"led meanwhile", false, 0, true, false, true},
		{"led meanwhile, one waits elsewhere", false, 1, true, false, false},
		{"one waits elsewhere", false, 1, false, false, false},
		{"asleep before", false, 1, false, true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &scriptLane{}
			d := newLanes(l)
			closing := make(chan struct{})
			d.housekeeper.closing = closing
			d.Elsewhere(tt.elsewhere)
			if tt.asleep {
				l.onPump = func() { d.enter(newSleeper().(*sleeper), d.poller) }
			}
			if tt.follower {
				w := newSleeper().(*sleeper)
				d.sleepers.followers = append(d.sleepers.followers, w)
				d.sleepers.n.Store(1)
			}
			var left atomic.Bool
			done := make(chan struct{})
			go func() {
				left.Store(d.houseLead())
				close(done)
			}()
			synctest.Wait()
			if tt.led {
				l.lane.Lock.Take()
				l.lane.Asked()
				l.lane.Unlock()
			}
			if !tt.asleep {
				d.housekeeper.poller.Wake()
			}
			if synctest.Wait(); left.Load() != tt.leaves {
				t.Errorf("%s: leaves %v", tt.name, left.Load())
			}
			close(closing)
			d.housekeeper.poller.Wake()
			<-done
		})
	}
}
