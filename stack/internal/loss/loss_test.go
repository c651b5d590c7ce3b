package loss

import (
	"maps"
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
)

// A lossy is a link of which only the counters count.
type lossy struct {
	link.Link
	info  link.Info
	stats link.Stats
}

func (l *lossy) Info() link.Info   { return l.info }
func (l *lossy) Stats() link.Stats { return l.stats }
func (l *lossy) Lost() uint64      { return l.stats.RxDropped }

func device(caps link.Caps) (*route.Device, *lossy) {
	l, d := &lossy{info: link.Info{Caps: caps}}, new(route.Device)
	d.Init(l, route.DeviceConfig{}, nil)
	return d, l
}

// A socket is told of what its interface has lost since it was opened, and what it was
// told stays when it is bound to another.
func TestAccount(t *testing.T) {
	a, la := device(0)
	b, lb := device(0)
	devices := []*route.Device{a, b}
	var links Links
	links.Init(func() []*route.Device { return devices })
	la.stats.RxDropped, lb.stats.RxDropped = 5, 7
	var x Account
	x.Open(&links)
	want := func(what string, n uint32) {
		t.Helper()
		if got := x.Lost(&links); got != n {
			t.Errorf("%s: %d, want %d", what, got, n)
		}
	}
	want("opened", 0)
	la.stats.RxDropped++
	lb.stats.RxDropped += 2
	want("all interfaces", 3)
	x.Of(&links, b)
	want("bound", 3)
	la.stats.RxDropped += 10
	want("of another interface", 3)
	lb.stats.RxDropped++
	want("of its own", 4)
	x.Of(&links, nil)
	want("bound to none", 4)
	links.Removed(a)
	devices = devices[1:]
	want("with the loss of an interface that is gone", 4)
	lb.stats.RxDropped = 0
	want("less than before", 0)
}

// The counters of links that are closed go on counting; those of a loopback are its own.
func TestEach(t *testing.T) {
	a, la := device(0)
	lo, llo := device(link.CapLoopback)
	devices := []*route.Device{a, lo}
	var links Links
	links.Init(func() []*route.Device { return devices })
	la.stats = link.Stats{RxFrames: 1, RxBytes: 2, RxDropped: 3, RxTruncated: 4, TxFrames: 5, TxBytes: 6, TxErrors: 7, TxDropped: 8, TxLost: 9, Reopened: 10}
	llo.stats = link.Stats{RxFrames: 100, RxDropped: 11}
	got := func() map[string]uint64 {
		m := make(map[string]uint64)
		links.Each(func(name string, n uint64) { m[name] = n })
		return m
	}
	want := map[string]uint64{"LinkRxFrames": 1, "LinkRxBytes": 2, "LinkRxRingFull": 3, "LinkRxTruncated": 4, "LinkTxFrames": 5, "LinkTxBytes": 6,
		"LinkTxErrors": 7, "LinkTxQueueFull": 8, "LinkTxNoCarrier": 9, "LinkReopened": 10, "OutbandLoopbackQueueFull": 11}
	if m := got(); !maps.Equal(m, want) {
		t.Errorf("%v, want %v", m, want)
	}
	links.Closed(a)
	links.Closed(lo)
	devices = nil
	want["OutbandLoopbackQueueFull"] = 0
	if m := got(); !maps.Equal(m, want) {
		t.Errorf("after the end: %v, want %v", m, want)
	}
}
