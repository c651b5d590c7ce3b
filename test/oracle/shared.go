package oracle

import (
	"testing"

	"github.com/outband/outband/shared"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// NewShared returns the world of two of our stacks that share the addresses of the kernels
// whose devices they use, as c says.
func NewShared(t testing.TB, c shared.Config) World {
	t.Helper()
	l := lab.New(t, lab.Config{Kernel: lab.All})
	w := &outbandWorld{name: "ours on shared addresses, " + c.Only.String()}
	c.Stack = stack.Config{ICMP: unlimited, TxTimeSlack: patience, Panics: true}
	for h, e := range l.Ends[:2] {
		kernelHost(t, e)
		var s *shared.Host
		e.In(t, func() (err error) {
			c.Devices = []string{e.Name}
			s, err = shared.Open(c)
			return err
		})
		t.Cleanup(func() { check(t, s.Close()) })
		w.apis[h] = sockapi.New(s.Stack())
	}
	return w
}

// kernelHost makes the kernel of a namespace the host of a world.
func kernelHost(t testing.TB, e *lab.Endpoint) {
	t.Helper()
	// Errors are compared, not their rate.
	check(t, e.SetSysctl("net/ipv4/icmp_ratemask", "0"))
	check(t, e.SetSysctl("net/ipv4/ping_group_range", "0 0"))
	d, err := e.Device(e.Name)
	check(t, err)
	if d.Index != deviceIndex {
		t.Fatalf("%s has index %d, expected %d", e.Name, d.Index, deviceIndex)
	}
	check(t, e.AddLinkRoute(e.Name, routedGroups))
}
