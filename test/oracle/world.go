package oracle

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"

	"golang.org/x/sys/unix"
)

// Host is one of a world's two hosts.
type Host int

// The hosts of a world.
const (
	Near Host = iota
	Far
)

// hostNames are also the first part of their devices' names.
var hostNames = [...]string{"near", "far"}

func (h Host) String() string { return hostNames[h] }

// A World is two hosts that sockets can be opened on.
type World interface {
	// Name says which world it is, for people.
	Name() string
	// Socket opens a socket on a host: the kernel's or ours.
	Socket(h Host, domain, typ, proto int) (*sockapi.Socket, error)
	// Socketpair opens two sockets on a host.
	Socketpair(h Host, domain, typ, proto int) ([2]*sockapi.Socket, error)
	// API returns what a host's sockets are opened by.
	API(h Host) *sockapi.API
}

// address returns a host's address.
func address(h Host) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, 0, byte(h) + 1}) }

// device returns the name of a host's device.
func device(h Host) string { return hostNames[h] + "0" }

// routedGroups are the groups that hosts have a route to, by their device.
var routedGroups = netip.MustParsePrefix("239.9.0.0/16")

// The indices of the interfaces of every host: lo's, and that of its device.
const (
	loIndex     = 1
	deviceIndex = 2
)

// inbandWorld is the kernel's: a namespace for each host.
type inbandWorld struct {
	hosts [2]chan func()
	api   *sockapi.API
}

// NewInBand returns the world of the kernel's sockets. It lasts as long as the
// test.
func NewInBand(t testing.TB) World {
	t.Helper()
	l := lab.New(t, lab.Config{Kernel: lab.All})
	st, err := stack.New(stack.Config{}) // in-band sockets leave it alone
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	w := &inbandWorld{api: sockapi.New(st)}
	for h, e := range l.Ends[:2] {
		kernelHost(t, e)
		w.hosts[h] = lab.Worker(t, e.Namespace)
	}
	return w
}

// on runs f in a host's namespace.
func (w *inbandWorld) on(h Host, f func()) {
	done := make(chan struct{})
	w.hosts[h] <- func() {
		defer close(done)
		f()
	}
	<-done
}

func (w *inbandWorld) Name() string { return "Linux" }

func (w *inbandWorld) Socket(h Host, domain, typ, proto int) (s *sockapi.Socket, err error) {
	w.on(h, func() { s, err = w.api.Socket(domain, typ, proto) })
	return s, err
}

func (w *inbandWorld) Socketpair(h Host, domain, typ, proto int) (s [2]*sockapi.Socket, err error) {
	w.on(h, func() { s, err = w.api.Socketpair(domain, typ, proto) })
	return s, err
}

func (w *inbandWorld) API(Host) *sockapi.API { return w.api }

// outbandWorld is ours: a stack for each host.
type outbandWorld struct {
	name string
	apis [2]*sockapi.API
}

// NewPipe returns the world of two of our stacks, joined by a pipe in memory.
func NewPipe(t testing.TB) World {
	t.Helper()
	end := func(h Host) pipe.End {
		return pipe.End{Name: device(h), Index: deviceIndex, MAC: link.MAC{2, 0, 10, 9, 0, byte(h) + 1}}
	}
	a, b := pipe.New(pipe.Options{A: end(Near), B: end(Far)})
	return newOutband(t, "ours over a pipe", a, b)
}

// NewRings returns the world of two of our stacks, joined by a veth pair with a
// packet ring at each end, which take all that a packet socket of the kernel's
// would be shown.
func NewRings(t testing.TB) World {
	t.Helper()
	l := lab.New(t, lab.Config{})
	var links [2]link.Link
	for h, e := range l.Ends[:2] {
		e.In(t, func() error {
			r, err := tpacket.Open(e.Name, tpacket.Options{AllEtherTypes: true, Promiscuous: true})
			links[h] = r
			return err
		})
	}
	return newOutband(t, "ours over packet rings", links[0], links[1])
}

// unlimited are the limits of ICMP errors that limit nothing.
var unlimited = icmp.LimiterConfig{MsgsPerSec: 1000, MsgsBurst: 50, MaxHosts: 4}

func newOutband(t testing.TB, name string, links ...link.Link) World {
	t.Helper()
	w := &outbandWorld{name: name}
	for h, l := range links {
		st, err := stack.New(stack.Config{ICMP: unlimited, TxTimeSlack: patience})
		check(t, err)
		t.Cleanup(func() { check(t, st.Close()) })
		ifc, err := st.AddLink(l, stack.InterfaceConfig{Index: deviceIndex})
		check(t, err)
		check(t, ifc.AddAddress(netip.PrefixFrom(address(Host(h)), lab.Bits)))
		check(t, st.AddRoute(ipv4.Route{Prefix: routedGroups, Iface: deviceIndex, Scope: ipv4.ScopeLink}))
		w.apis[h] = sockapi.New(st)
	}
	return w
}

func (w *outbandWorld) Name() string { return w.name }

func (w *outbandWorld) Socket(h Host, domain, typ, proto int) (*sockapi.Socket, error) {
	return w.apis[h].Socket(domain, typ|sockapi.SOCK_OOB, proto)
}

func (w *outbandWorld) Socketpair(h Host, domain, typ, proto int) ([2]*sockapi.Socket, error) {
	return w.apis[h].Socketpair(domain, typ|sockapi.SOCK_OOB, proto)
}

func (w *outbandWorld) API(h Host) *sockapi.API { return w.apis[h] }

// A Topology says where the two ends of a script are.
type Topology struct {
	Name  string
	Hosts [2]Host    // of the near and the far end
	Addrs [2][4]byte // that they send to one another by
}

// The topologies: over the wire, over loopback, and over loopback by the
// address of the device.
var (
	Wire     = Topology{"wire", [2]Host{Near, Far}, [2][4]byte{{10, 9, 0, 1}, {10, 9, 0, 2}}}
	Loopback = Topology{"loopback", [2]Host{Near, Near}, [2][4]byte{{127, 0, 0, 1}, {127, 0, 0, 1}}}
	Own      = Topology{"own address", [2]Host{Near, Near}, [2][4]byte{{10, 9, 0, 1}, {10, 9, 0, 1}}}
)

// errnoName names an errno, or says that there was none.
func errnoName(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := err.(unix.Errno); ok {
		if n := unix.ErrnoName(e); n != "" {
			return n
		}
		return fmt.Sprintf("errno %d", int(e))
	}
	return fmt.Sprintf("%T %v", err, err)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
