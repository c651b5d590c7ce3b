package option

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/outband/outband/bpf"
	"golang.org/x/sys/unix"
)

// Bits of a socket's state in these tests.
const (
	stateExtras = 1 << iota
	stateClosed
	stateOther
)

// The bit of the state is set while anything is asked for, and no other bit changes.
func TestExtrasMarkTheState(t *testing.T) {
	var state atomic.Uint32
	state.Store(stateOther)
	var x Extras
	x.Init(&state, stateExtras, stateClosed)
	for i, step := range []struct {
		extra uint32
		on    bool
		want  uint32
	}{
		{KeepDrops, true, stateExtras | stateOther},
		{GRO, true, stateExtras | stateOther},
		{KeepDrops, false, stateExtras | stateOther},
		{KeepDrops, false, stateExtras | stateOther},
		{GRO, false, stateOther},
	} {
		x.Put(step.extra, step.on)
		if got := state.Load(); got != step.want || x.Has(step.extra) != step.on {
			t.Errorf("step %d: state %#x, has it: %t; want %#x", i, got, x.Has(step.extra), step.want)
		}
	}
}

// Whatever goroutines ask for at the same time, the state says in the end what is asked
// for.
func TestExtrasTogether(t *testing.T) {
	for range 200 {
		var state atomic.Uint32
		var x Extras
		x.Init(&state, stateExtras, stateClosed)
		x.Put(KeepDrops, true)
		var wg sync.WaitGroup
		wg.Go(func() { x.Put(KeepDrops, false) })
		wg.Go(func() { x.Put(GRO, true) })
		wg.Wait()
		if state.Load() != stateExtras {
			t.Fatalf("state %#x with GRO on", state.Load())
		}
	}
}

func TestPeekOffset(t *testing.T) {
	var state atomic.Uint32
	var x Extras
	x.Init(&state, stateExtras, stateClosed)
	o := MakeReceiving(&x)
	for i, step := range []struct {
		do   func()
		want int32
		at   bool // receive calls look at the offset
	}{
		{func() {}, -1, false},
		{func() { o.MovePeek(5) }, -1, false},
		{func() { o.SetPeekOffset(0) }, 0, true},
		{func() { o.MovePeek(5) }, 5, true},
		{func() { o.MovePeek(-2) }, 3, true},
		{func() { o.MovePeek(-7) }, 0, true},
		{func() { o.SetPeekOffset(-1) }, -1, false},
	} {
		step.do()
		if got := o.PeekOffset(); got != step.want || x.Has(PeeksAtOffset) != step.at {
			t.Errorf("step %d: offset %d, looked at: %t; want %d, %t", i, got, x.Has(PeeksAtOffset), step.want, step.at)
		}
	}
}

func TestFilter(t *testing.T) {
	var state atomic.Uint32
	var x Extras
	x.Init(&state, stateExtras, stateClosed)
	o := MakeReceiving(&x)
	all := []bpf.Instruction{{Op: unix.BPF_RET | unix.BPF_K, K: 1 << 16}}
	for i, step := range []struct {
		program  []bpf.Instruction
		err      error
		attached bool
	}{
		{[]bpf.Instruction{{Op: unix.BPF_LD}}, unix.EINVAL, false},
		{all, nil, true},
		{[]bpf.Instruction{{Op: unix.BPF_LD}}, unix.EINVAL, true},
		{nil, nil, false},
	} {
		err := o.SetFilter(step.program)
		if err != step.err || (o.Filter() != nil) != step.attached || x.Has(Filtered) != step.attached {
			t.Errorf("step %d: %v, attached: %t, %t", i, err, o.Filter() != nil, x.Has(Filtered))
		}
	}
	state.Or(stateClosed)
	if err := o.SetFilter(all); err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
}

// renewed counts how often paths were to be looked up anew.
type renewed int

func (r *renewed) RenewPaths() { *r++ }

// What goes along with a datagram is said by its path, so that another path is needed;
// what sending looks at each time is a bit of the state.
func TestSending(t *testing.T) {
	var state atomic.Uint32
	var x Extras
	var paths renewed
	x.Init(&state, stateExtras, stateClosed)
	o := MakeSending(&x, &paths)
	for _, tt := range []struct {
		name  string
		do    func()
		is    func() bool
		state uint32
		paths renewed
	}{
		{"priority", func() { o.SetPriority(6) }, func() bool { return o.Priority() == 6 && o.Mark() == 0 }, 0, 1},
		{"mark", func() { o.SetMark(7) }, func() bool { return o.Priority() == 6 && o.Mark() == 7 }, 0, 2},
		{"no checksum", func() { o.SetNoCheck(true) }, o.NoCheck, stateExtras, 2},
		{"no route", func() { o.SetDontRoute(true) }, o.DontRoute, stateExtras, 2},
		{"checksum", func() { o.SetNoCheck(false) }, func() bool { return !o.NoCheck() && o.DontRoute() }, stateExtras, 2},
		{"route", func() { o.SetDontRoute(false) }, func() bool { return !o.DontRoute() }, 0, 2},
	} {
		tt.do()
		if !tt.is() || state.Load() != tt.state || paths != tt.paths {
			t.Errorf("%s: holds: %t, state %#x, paths renewed %d times", tt.name, tt.is(), state.Load(), paths)
		}
	}
}

// Records are taken in the order in which they came; those for which there is no room
// are lost, which the next reader is told, once.
func TestSentTimes(t *testing.T) {
	var x SentTimes
	x.Push(IOTimes{Device: 1})
	if n, lost := x.Pop(make([]IOTimes, 1)); n != 0 || lost {
		t.Errorf("not kept: %d records, lost: %t", n, lost)
	}
	x.Keep(true)
	for i := range int64(maxTransmitTimes + 1) {
		x.Push(IOTimes{Device: i})
	}
	var got [3]IOTimes
	if n, lost := x.Pop(got[:]); n != 3 || !lost || got[2].Device != 2 {
		t.Errorf("%d records, lost: %t, the third is %v", n, lost, got[2])
	}
	x.Push(IOTimes{Device: -1}) // over the end of the ring
	last := make([]IOTimes, maxTransmitTimes)
	if n, lost := x.Pop(last); n != maxTransmitTimes-2 || lost || last[n-1].Device != -1 || x.Len() != 0 {
		t.Errorf("%d records, lost: %t, the last is %v, %d left", n, lost, last[max(n, 1)-1], x.Len())
	}
	x.Push(IOTimes{})
	if x.Keep(true); x.Len() != 0 {
		t.Error("records of before are kept")
	}
	if x.Keep(false); x.Kept() {
		t.Error("records are kept")
	}
}

func TestBinding(t *testing.T) {
	var state atomic.Uint32
	var x Extras
	var paths renewed
	x.Init(&state, stateExtras, stateClosed)
	o := MakeBinding(&x, &paths)
	for _, tt := range []struct {
		name        string
		do          func()
		is          func() bool
		any         bool // any address may be used
		transparent renewed
	}{
		{"free", func() { o.SetFreeBind(true) }, o.FreeBind, true, 0},
		{"not free", func() { o.SetFreeBind(false) }, func() bool { return !o.FreeBind() }, false, 0},
		{"transparent", func() { o.SetTransparent(true) }, o.Transparent, true, 1},
		{"not transparent", func() { o.SetTransparent(false) }, func() bool { return !o.Transparent() }, false, 2},
		{"no port", func() { o.SetNoPort(true) }, o.NoPort, false, 2},
	} {
		tt.do()
		if !tt.is() || o.AnyAddress() != tt.any || paths != tt.transparent {
			t.Errorf("%s: holds: %t, any address: %t, paths renewed %d times", tt.name, tt.is(), o.AnyAddress(), paths)
		}
	}
	for _, tt := range []struct {
		set  uint32
		err  error
		want uint32
	}{
		{2<<16 | 1, nil, 2<<16 | 1},
		{1<<16 | 2, unix.EINVAL, 2<<16 | 1},
		{7<<16 | 7, nil, 7<<16 | 7},
		{2, nil, 2},
		{1 << 16, nil, 1 << 16},
		{0, nil, 0},
	} {
		if err := o.SetPortRange(tt.set); err != tt.err || o.PortRange() != tt.want {
			t.Errorf("range %#x: %v, is %#x", tt.set, err, o.PortRange())
		}
	}
	state.Store(stateClosed)
	if err := o.SetPortRange(0); err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
}
