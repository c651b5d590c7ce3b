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

// onWires runs a test between two hosts, 10.9.0.1 and 10.9.0.2, over each wire.
func onWires(t *testing.T, test func(t *testing.T, near, far *gonet.Net)) {
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) {
			a, b := pipe.New(pipe.Options{Caps: link.CapChecksum | link.CapGSO})
			ends := [2]*fault.Link{
				fault.Wrap(a, fault.Config{Seed: 1, Tx: w.faults}), fault.Wrap(b, fault.Config{Seed: 2, Tx: w.faults}),
			}
			near, far := host(t, ends[0], "10.9.0.1/24"), host(t, ends[1], "10.9.0.2/24")
			if w.cut {
				defer cut(ends)()
			}
			test(t, near, far)
		})
	}
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

func host(t *testing.T, l link.Link, prefix string) *gonet.Net {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	ifc, err := st.AddLink(l, stack.InterfaceConfig{})
	check(t, err)
	check(t, ifc.AddAddress(netip.MustParsePrefix(prefix)))
	check(t, st.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("224.0.0.0/4"), Iface: ifc.Index()}))
	return gonet.New(sockapi.New(st))
}

// patience is how long a test waits for what should take much less.
const patience = time.Minute
