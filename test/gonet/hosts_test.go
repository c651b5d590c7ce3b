package gonet

import (
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wires are what hosts are joined by: one that is like a good cable, one that loses, doubles and
// reorders, and one that is cut for a while.
var wires = []struct {
	name   string
	faults fault.Faults
	cut    bool
}{
	{name: "good"},
	{name: "bad", faults: fault.Faults{Loss: 0.01, Duplicate: 0.01, Reorder: 0.01}},
	{name: "cut", cut: true},
}

// When, and for how long, a wire is cut.
const (
	cutAfter = 5 * time.Millisecond
	cutFor   = 200 * time.Millisecond
)

// A wire is one to make hosts at.
type wire struct {
	ends  [2]*fault.Link
	index int // of the interface to it, of each host
}

// eachWire runs a test over each wire.
func eachWire(t *testing.T, test func(t *testing.T, w wire)) {
	for _, kind := range wires {
		t.Run(kind.name, func(t *testing.T) {
			a, b := pipe.New(pipe.Options{Caps: link.CapChecksum | link.CapGSO})
			w := wire{index: 2}
			for i, l := range []link.Link{a, b} {
				w.ends[i] = fault.Wrap(l, fault.Config{Seed: uint64(i), Tx: kind.faults})
			}
			if kind.cut {
				defer cut(w.ends)()
			}
			test(t, w)
		})
	}
}

// onWires runs a test between two hosts, 10.9.0.1 and 10.9.0.2, over each wire.
func onWires(t *testing.T, test func(t *testing.T, near, far *gonet.Net)) {
	eachWire(t, func(t *testing.T, w wire) {
		test(t, w.host(t, 0, "10.9.0.1/24"), w.host(t, 1, "10.9.0.2/24"))
	})
}

// cut has a wire lose everything for a while from soon on, and returns what ends that.
func cut(ends [2]*fault.Link) (stop func()) {
	set := func(loss float64) {
		for _, l := range ends {
			l.SetConfig(fault.Config{Tx: fault.Faults{Loss: loss}})
		}
	}
	begin := time.AfterFunc(cutAfter, func() {
		set(1)
		time.AfterFunc(cutFor, func() { set(0) })
	})
	return func() { begin.Stop() }
}

// host makes a host at an end of a wire; it has no address if prefix is empty.
func (w wire) host(t *testing.T, end int, prefix string) *gonet.Net {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	ifc, err := st.AddLink(w.ends[end], stack.InterfaceConfig{Index: w.index})
	check(t, err)
	if prefix != "" {
		check(t, ifc.AddAddress(netip.MustParsePrefix(prefix)))
		check(t, st.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("224.0.0.0/4"), Iface: ifc.Index()}))
	}
	return gonet.New(sockapi.New(st))
}

// patience is how long a test waits for what should take much less.
const patience = time.Minute
