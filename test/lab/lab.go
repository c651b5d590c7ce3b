// Package lab gives tests a network of their own: two or more network
// namespaces joined by veth devices, with the kernel's stack at the ends where a
// test wants it and nothing at the others, where an out-of-band stack goes.
//
//	namespace near, device near0 ---- veth ---- far0, namespace far
//	          10.9.0.1/24                       10.9.0.2/24
//
// IPv6 is off, so that the wire is silent until somebody sends. All of it goes
// away with the test. A machine without the privileges skips the test and says
// why; if the environment has CI set, that is a failure: CI promised to be able.
//
// # Leaks
//
// [Main] in a package's TestMain, or [CheckLeaks] in one test, fails what leaves
// a goroutine or a file descriptor behind.
package lab

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
)

// Bits is the prefix length of the lab's network, 10.9.0.0/24.
const Bits = 24

// Kernel is a set of ends at which the kernel has the end's address.
type Kernel uint

const (
	// None leaves every end to an out-of-band stack.
	None Kernel = 0
	// Near and Far are the first and the second end.
	Near Kernel = 1 << 0
	Far  Kernel = 1 << 1
	// All gives the kernel an address at every end.
	All Kernel = ^Kernel(0)
)

// End returns the set with end i alone, counted from 0.
func End(i int) Kernel { return 1 << i }

// A Config says what lab a test wants. The zero value is two ends, joined
// directly, without a kernel address on either.
type Config struct {
	Kernel Kernel // where the kernel has the address
	Ends   int    // how many; 0: two
	MTU    int    // of all devices, in bytes; 0: 1500
	Bridge bool   // joins the ends by a bridge; more than two always are
	Down   bool   // leaves the devices of the ends down
}

// A Lab is a network of namespaces.
type Lab struct {
	// Ends are its ends in order: near, far, then further ones.
	Ends []*Endpoint
	// Hub is the namespace of the bridge br0, whose ports are named after the
	// ends' devices with "p-" before; nil without a bridge.
	Hub *netlab.Namespace
}

// An Endpoint is one end of a lab: a namespace with one device.
type Endpoint struct {
	*netlab.Namespace
	Name   string     // of the device: near0, far0, end2, ...
	Addr   netip.Addr // 10.9.0.1, 10.9.0.2, ...: the kernel's, or free for a stack
	MAC    [6]byte    // of the device: 02:00:0a:09:00:01, ...
	Kernel bool       // whether the kernel has Addr
}

// New makes a lab that lasts as long as the test.
func New(t testing.TB, c Config) *Lab {
	t.Helper()
	Need(t)
	if c.Ends == 0 {
		c.Ends = 2
	}
	if c.MTU == 0 {
		c.MTU = 1500
	}
	l := &Lab{}
	for i := range c.Ends {
		l.Ends = append(l.Ends, newEndpoint(t, i, c.Kernel&End(i) != 0))
	}
	if c.Bridge || c.Ends > 2 {
		l.joinByBridge(t, c)
	} else {
		near, far := l.Near(), l.Far()
		check(t, near.AddVeth(netlab.Veth{Name: near.Name, PeerName: far.Name, Peer: far.Namespace,
			MTU: c.MTU, MAC: near.MAC, PeerMAC: far.MAC}))
	}
	for _, e := range l.Ends {
		e.bringUp(t, c.Down)
	}
	if l.Hub != nil && !c.Down {
		l.awaitPorts(t)
	}
	return l
}

// awaitPorts waits until the bridge forwards to all its ports: it does once the kernel
// has found out that they have a carrier, which on a busy machine takes a while.
func (l *Lab) awaitPorts(t testing.TB) {
	t.Helper()
	end := time.Now().Add(Patience)
	for _, e := range l.Ends {
		for {
			port, err := l.Hub.Device("p-" + e.Name)
			check(t, err)
			device, err := e.Device(e.Name)
			check(t, err)
			if port.Running && device.Running {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s has no carrier", e.Name)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// Near returns the first end.
func (l *Lab) Near() *Endpoint { return l.Ends[0] }

// Far returns the second end.
func (l *Lab) Far() *Endpoint { return l.Ends[1] }

func newEndpoint(t testing.TB, i int, kernel bool) *Endpoint {
	t.Helper()
	name := fmt.Sprintf("end%d", i)
	if i < 2 {
		name = [...]string{"near0", "far0"}[i]
	}
	host := byte(i + 1)
	return &Endpoint{Namespace: namespace(t), Name: name, Kernel: kernel,
		Addr: netip.AddrFrom4([4]byte{10, 9, 0, host}), MAC: [6]byte{2, 0, 10, 9, 0, host}}
}

func (l *Lab) joinByBridge(t testing.TB, c Config) {
	t.Helper()
	l.Hub = namespace(t)
	check(t, l.Hub.AddBridge("br0"))
	check(t, l.Hub.SetMTU("br0", c.MTU))
	check(t, l.Hub.SetUp("br0"))
	for _, e := range l.Ends {
		port := "p-" + e.Name
		check(t, e.AddVeth(netlab.Veth{Name: e.Name, PeerName: port, Peer: l.Hub, MTU: c.MTU, MAC: e.MAC}))
		check(t, l.Hub.AddPort("br0", port))
		check(t, l.Hub.SetUp(port))
	}
}

func (e *Endpoint) bringUp(t testing.TB, down bool) {
	t.Helper()
	check(t, e.SetUp("lo"))
	if e.Kernel {
		check(t, e.AddAddress(e.Name, e.Prefix()))
	}
	if !down {
		check(t, e.SetUp(e.Name))
	}
}

// Prefix returns the end's address with the length of the lab's prefix.
func (e *Endpoint) Prefix() netip.Prefix { return netip.PrefixFrom(e.Addr, Bits) }

// AddrPort returns the end's address with a port.
func (e *Endpoint) AddrPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(e.Addr, port) }

// In runs fn in the end's namespace, on a thread of its own, and fails the test
// if it returns an error. What fn opens stays in the namespace; goroutines that
// it starts do not. It is the way to open a link.
func (e *Endpoint) In(t testing.TB, fn func() error) {
	t.Helper()
	check(t, e.Do(fn))
}

// namespace makes a namespace that lasts as long as the test.
func namespace(t testing.TB) *netlab.Namespace {
	t.Helper()
	n, err := netlab.NewNamespace()
	check(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Need skips the test, or fails it in CI, if this process cannot make labs.
func Need(t testing.TB) {
	t.Helper()
	if inband.HasCapability(netlab.Capabilities...) {
		return
	}
	const why = "needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: run as root, or under unshare -rn"
	if os.Getenv("CI") != "" {
		t.Fatal("CI is set, and this test cannot run: " + why)
	}
	t.Skip(why)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
