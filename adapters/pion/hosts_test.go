package pion

import (
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/outband/outband/gonet"
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

// A host is a stack in memory, in place of an *outband.Host.
type host struct{ st *stack.Stack }

func (h host) Net() *gonet.Net     { return gonet.New(sockapi.New(h.st)) }
func (h host) Stack() *stack.Stack { return h.st }

// hosts returns two hosts, 10.9.0.1 and 10.9.0.2, joined by a wire in memory.
func hosts(t testing.TB) (near, far host) {
	t.Helper()
	a, b := pipe.New(pipe.Options{})
	return newHost(t, a, "10.9.0.1/24"), newHost(t, b, "10.9.0.2/24")
}

func newHost(t testing.TB, l link.Link, prefix string) host {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	ifc, err := st.AddLink(l, stack.InterfaceConfig{})
	check(t, err)
	check(t, ifc.AddAddress(netip.MustParsePrefix(prefix)))
	return host{st}
}
