package gonet

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/outband/outband"
	"github.com/outband/outband/gonet"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A kind is who has the addresses of a world's hosts.
type kind int

const (
	memory kind = iota // both hosts are stacks, with a wire in memory
	own                // near is a stack with an address of its own, far the kernel
	shared             // near is a stack on the kernel's address, far the kernel
	inBand             // it is the kernel alone: of comparisons only
)

var kinds = []struct {
	name string
	kind kind
}{{"memory", memory}, {"own", own}, {"shared", shared}}

// A trouble is what becomes of the wire.
type trouble int

const (
	none trouble = iota // it is like a good cable
	bad                 // it loses, doubles and reorders
	flap                // it is pulled out and put back while a program runs
)

var troubles = []struct {
	name    string
	trouble trouble
}{{"good", none}, {"bad", bad}, {"flap", flap}}

// badly is what a bad wire does, in each direction.
var badly = fault.Faults{Loss: 0.01, Duplicate: 0.01, Reorder: 0.01, Limit: slots}

// When, and for how long, a wire is pulled out.
const (
	flapAfter = 5 * time.Millisecond
	flapFor   = 200 * time.Millisecond
)

// A world is two hosts with a wire between them: near, 10.9.0.1, and far, 10.9.0.2.
type world struct {
	near, far *host
	kind      kind
	trouble   trouble
	lab       *lab.Lab       // nil: in memory
	links     [2]*fault.Link // the wire in memory
	pulling   sync.WaitGroup
}

// newWorld makes a world that lasts as long as the test. Hosts in naked have no address yet.
func newWorld(t *testing.T, k kind, tr trouble, naked lab.Kernel) *world {
	t.Helper()
	w := &world{kind: k, trouble: tr}
	if k == memory {
		w.inMemory(t)
	} else {
		w.inLab(t, naked)
	}
	t.Cleanup(w.pulling.Wait)
	return w
}

// faults returns what the wire does.
func (w *world) faults() (f fault.Faults) {
	if w.trouble == bad {
		f = badly
	}
	return f
}

// slots is for how many frames a link has room: for all that a program sends at once.
const slots = 2 * lines

// groups is where all groups are.
var groups = netip.MustParsePrefix("224.0.0.0/4")

// inMemory makes a world of two stacks.
func (w *world) inMemory(t *testing.T) {
	t.Helper()
	a, b := pipe.New(pipe.Options{Caps: link.CapChecksum | link.CapGSO, Queue: slots})
	for i, l := range []link.Link{a, b} {
		w.links[i] = fault.Wrap(l, fault.Config{Seed: uint64(i), Tx: w.faults()})
	}
	w.near, w.far = inMemoryHost(t, w.links[0], "10.9.0.1/24"), inMemoryHost(t, w.links[1], "10.9.0.2/24")
}

// inMemoryHost makes a host at a link.
func inMemoryHost(t *testing.T, l link.Link, prefix string) *host {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	ifc, err := st.AddLink(l, stack.InterfaceConfig{Index: 2})
	check(t, err)
	p := netip.MustParsePrefix(prefix)
	check(t, ifc.AddAddress(p))
	check(t, st.AddRoute(ipv4.Route{Prefix: groups, Iface: ifc.Index()}))
	api := sockapi.New(st)
	return &host{addr: p.Addr(), index: ifc.Index(), st: st, net: gonet.New(api), sockets: api}
}

// inLab makes a world of a stack and the kernel, in namespaces of their own. Where the wire is
// pulled out it is at a bridge, so that far has its carrier all the time.
func (w *world) inLab(t *testing.T, naked lab.Kernel) {
	t.Helper()
	c := lab.Config{Kernel: lab.Far &^ naked, Bridge: w.trouble == flap}
	if w.kind == shared {
		c.Kernel = lab.All &^ naked
	}
	w.lab = lab.New(t, c)
	near, far := w.lab.Near(), w.lab.Far()
	w.far = labHost(t, far, inBand)
	if w.kind == own && naked&lab.Near != 0 {
		w.nakedStack(t, near)
		return
	}
	w.near = labHost(t, near, w.kind, outband.WithLink(w.wrap))
}

// labHost makes a host at an end of a lab, with what is set up for groups.
func labHost(t testing.TB, e *lab.Endpoint, k kind, options ...outband.Option) *host {
	t.Helper()
	if k != own {
		check(t, e.AddLinkRoute(e.Name, groups))
	}
	if k == inBand {
		return &host{addr: e.Addr, at: e}
	}
	options = append(options, outband.WithRing(tpacket.Options{Slots: slots}))
	if k == own {
		options = append(options, outband.WithAddress(e.Prefix()))
	}
	var h *outband.Host
	e.In(t, func() (err error) {
		h, err = outband.Open(context.Background(), e.Name, options...)
		return err
	})
	t.Cleanup(func() { check(t, h.Close()) })
	st := h.Stack()
	index := st.InterfaceByName(e.Name).Index()
	if k == own {
		check(t, st.AddRoute(ipv4.Route{Prefix: groups, Iface: index}))
	}
	return &host{addr: e.Addr, at: e, index: index, st: st, net: h.Net(), sockets: h}
}

// nakedStack makes near a stack that has no address.
func (w *world) nakedStack(t *testing.T, near *lab.Endpoint) {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	var l link.Link
	near.In(t, func() (err error) {
		l, err = tpacket.Open(near.Name, tpacket.Options{})
		return err
	})
	l, err = w.wrap(l)
	check(t, err)
	ifc, err := st.AddLink(l, stack.InterfaceConfig{})
	check(t, err)
	api := sockapi.New(st)
	w.near = &host{addr: near.Addr, at: near, index: ifc.Index(), st: st, net: gonet.New(api), sockets: api}
}

// wrap makes the wire of a device as bad as it is to be.
func (w *world) wrap(l link.Link) (link.Link, error) {
	return fault.Wrap(l, fault.Config{Seed: 1, Tx: w.faults(), Rx: w.faults()}), nil
}

// rounds has a program run once, and where the wire is pulled out, again and again until it has run
// once after that.
func (w *world) rounds(t *testing.T, round func(i int)) {
	t.Helper()
	over := w.begin(t)
	for i := 0; ; i++ {
		last := false
		select {
		case <-over:
			last = true
		default:
		}
		round(i)
		if last {
			return
		}
	}
}

// begin has the wire pulled out soon, if it is to be, and returns what is closed when it is back.
func (w *world) begin(t *testing.T) <-chan struct{} {
	over := make(chan struct{})
	if w.trouble != flap {
		close(over)
		return over
	}
	w.pulling.Go(func() {
		defer close(over)
		time.Sleep(flapAfter)
		w.carry(t, false)
		time.Sleep(flapFor)
		w.carry(t, true)
	})
	return over
}

// carry puts the wire back, or pulls it out.
func (w *world) carry(t *testing.T, on bool) {
	if w.lab == nil {
		loss := 1.0
		if on {
			loss = 0
		}
		for _, l := range w.links {
			l.SetConfig(fault.Config{Tx: fault.Faults{Loss: loss}})
		}
		return
	}
	port := "p-" + w.lab.Near().Name
	set := w.lab.Hub.SetDown
	if on {
		set = w.lab.Hub.SetUp
	}
	if err := set(port); err != nil {
		t.Error(err)
	}
	if on {
		w.awaitCarrier(t, port)
	}
}

// awaitCarrier waits until the bridge forwards, and the stack sends.
func (w *world) awaitCarrier(t *testing.T, port string) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		d, err := w.lab.Hub.Device(port)
		if err != nil {
			t.Error(err)
			return
		}
		if d.Running && w.near.st.InterfaceByIndex(w.near.index).Link().Info().State == link.Up {
			return
		}
	}
	t.Error("the wire is not back")
}
