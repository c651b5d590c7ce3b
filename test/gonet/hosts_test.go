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

// wires are what hosts are joined by: one that is like a good cable, and one that loses,
// doubles and reorders.
var wires = []struct {
	name   string
	faults fault.Faults
}{
	{"good", fault.Faults{}},
	{"bad", fault.Faults{Loss: 0.01, Duplicate: 0.01, Reorder: 0.01}},
}

// onWires runs a test between two hosts, 10.9.0.1 and 10.9.0.2, over each wire.
func onWires(t *testing.T, test func(t *testing.T, near, far *gonet.Net)) {
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) {
			near, far := hosts(t, w.faults)
			test(t, near, far)
		})
	}
}

// hosts returns hosts at the ends of a wire that does the same both ways.
func hosts(t *testing.T, f fault.Faults) (near, far *gonet.Net) {
	t.Helper()
	a, b := pipe.New(pipe.Options{Caps: link.CapChecksum | link.CapGSO})
	var one, two link.Link = a, b
	if f != (fault.Faults{}) {
		one, two = fault.Wrap(a, fault.Config{Seed: 1, Tx: f}), fault.Wrap(b, fault.Config{Seed: 2, Tx: f})
	}
	return host(t, one, "10.9.0.1/24"), host(t, two, "10.9.0.2/24")
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
