package fault

import (
	"strings"
	"testing"
)

// panics has n panics at a time, the frames of which have one byte each.
func panics(l *Log, at int64, n int) {
	for i := range n {
		func() {
			defer func() { l.Keep(Report{At: at, Work: "frame"}, recover(), []byte{byte(i)}) }()
			panic("mistake")
		}()
	}
}

// stacks returns how many of the reports that are kept have a stack, and the latest one.
func stacks(l *Log) (n int, latest Report) {
	all := l.Reports()
	for _, r := range all {
		if strings.Contains(r.Stack, "fault_test.go") {
			n++
		}
	}
	return n, all[len(all)-1]
}

// TestStacksAreBounded has many panics: the stack is taken of the first ones, and then of
// one a second. Those reports are not pushed out by such without.
func TestStacksAreBounded(t *testing.T) {
	var l Log
	const start = int64(1e12)
	panics(&l, start, Max)
	if n, _ := stacks(&l); n != Max {
		t.Errorf("%d of the first %d have a stack", n, Max)
	}
	panics(&l, start+stackEvery-1, 100)
	if n, latest := stacks(&l); n != Max-1 || latest.Stack != "" || latest.Head[0] != 99 {
		t.Errorf("%d have a stack after a flood, want %d; the latest is %+v", n, Max-1, latest)
	}
	panics(&l, start+stackEvery, 1)
	if n, latest := stacks(&l); n != Max-1 || latest.Stack == "" {
		t.Errorf("%d have a stack a second later, want %d; the latest is %+v", n, Max-1, latest)
	}
	if got := l.Count(); got != Max+101 {
		t.Errorf("%d panics counted", got)
	}
}

// TestReportsAreBounded has a large frame.
func TestReportsAreBounded(t *testing.T) {
	var l Log
	l.Keep(Report{}, "mistake", make([]byte, 9000))
	r := l.Reports()[0]
	if len(r.Head) != maxHead || r.Len != 9000 || len(r.Stack) > maxStack || r.Value != "mistake" {
		t.Errorf("head of %d bytes, length %d, stack of %d, value %q", len(r.Head), r.Len, len(r.Stack), r.Value)
	}
	for range 3 * Max {
		l.Keep(Report{}, "mistake", nil)
	}
	if n := len(l.Reports()); n != Max {
		t.Errorf("%d reports, want %d", n, Max)
	}
}
