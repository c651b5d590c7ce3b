package wireguard

import (
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hosts returns two hosts, 10.9.0.1 and 10.9.0.2, joined by a wire in memory that takes GSO
// packets.
func hosts(t testing.TB) (near, far *sockapi.API) {
	t.Helper()
	a, b := pipe.New(pipe.Options{Caps: link.CapChecksum | link.CapGSO | link.CapMark})
	return newHost(t, a, "10.9.0.1/24"), newHost(t, b, "10.9.0.2/24")
}

func newHost(t testing.TB, l link.Link, prefixes ...string) *sockapi.API {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	ifc, err := st.AddLink(l, stack.InterfaceConfig{Index: 2})
	check(t, err)
	for _, p := range prefixes {
		check(t, ifc.AddAddress(netip.MustParsePrefix(p)))
	}
	return sockapi.New(st)
}

// wire returns a host's link.
func wire(t testing.TB, api *sockapi.API) link.Link {
	t.Helper()
	return api.Stack().InterfaceByIndex(2).Link()
}
