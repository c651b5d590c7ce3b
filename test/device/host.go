package device

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
	"github.com/outband/outband/test/oracle"
)

// A host is the one that is judged, and its peer.
type host struct {
	t         testing.TB
	name      string
	near, far *lab.Endpoint
	away      *netlab.Namespace // where the device goes when it is moved
	index     int               // of the device, as sockets name it
	work      [2]chan func()    // threads in the namespaces of both ends
	kernel    *sockapi.API      // sockets of the kernel's, at both ends
	ours      *sockapi.API      // ours at the near end, nil if that is the kernel's
	shared    bool              // ours is on the kernel's addresses
	// taken reports whether the device is like that, and a stack of ours has been told
	// what told says.
	taken func(is, told func(netlab.Device) bool) bool
	prober
}

// beyond is behind a gateway, the far end.
var beyond = netip.MustParsePrefix("10.20.0.0/24")

// beyondAddr is the far end's address there.
var beyondAddr = [4]byte{10, 20, 0, 1}

// newHost makes a lab with a host without a stack at its near end.
func newHost(t testing.TB, name string, kernel lab.Kernel) *host {
	t.Helper()
	l := lab.New(t, lab.Config{Kernel: kernel})
	h := &host{t: t, name: name, near: l.Near(), far: l.Far()}
	away, err := netlab.NewNamespace()
	check(t, err)
	t.Cleanup(func() { check(t, away.Close()) })
	h.away = away
	d, err := h.near.Device(h.near.Name)
	check(t, err)
	h.index = d.Index
	check(t, h.far.AddAddress("lo", netip.PrefixFrom(netip.AddrFrom4(beyondAddr), 32)))
	// What a neighbour has learnt is kept for a second otherwise, whatever comes.
	check(t, h.far.SetSysctl("net/ipv4/neigh/"+h.far.Name+"/locktime", "0"))
	for i, e := range l.Ends[:2] {
		check(t, e.SetSysctl("net/ipv4/ping_group_range", "0 0"))
		h.work[i] = lab.Worker(t, e.Namespace)
	}
	st, err := stack.New(stack.Config{}) // in-band sockets leave it alone
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	h.kernel = sockapi.New(st)
	return h
}

// on runs f in the namespace of an end.
func (h *host) on(end oracle.Host, f func()) {
	done := make(chan struct{})
	h.work[end] <- func() {
		defer close(done)
		f()
	}
	<-done
}

// Name says whose stack it is.
func (h *host) Name() string { return h.name }

// Socket opens a socket at an end.
func (h *host) Socket(end oracle.Host, domain, typ, proto int) (s *sockapi.Socket, err error) {
	if end == oracle.Near && h.ours != nil {
		return h.ours.Socket(domain, typ|sockapi.SOCK_OOB, proto)
	}
	h.on(end, func() { s, err = h.kernel.Socket(domain, typ, proto) })
	return s, err
}

// Socketpair opens nothing: no script asks for it.
func (h *host) Socketpair(oracle.Host, int, int, int) (s [2]*sockapi.Socket, err error) {
	return s, unix.EOPNOTSUPP
}

// API returns what an end's sockets are opened by.
func (h *host) API(end oracle.Host) *sockapi.API {
	if end == oracle.Near && h.ours != nil {
		return h.ours
	}
	return h.kernel
}

// BufferMax is asked by no script.
func (h *host) BufferMax() (receive, send int) { return 212992, 212992 }

// await waits until the device is as an event has it, and the host's stack knows.
func (h *host) await(what string, is, told func(*host, netlab.Device) bool) {
	h.t.Helper()
	if told == nil {
		told = is
	}
	with := func(f func(*host, netlab.Device) bool) func(netlab.Device) bool {
		return func(d netlab.Device) bool { return f(h, d) }
	}
	eventually(h.t, h.name+": "+what, func() bool { return h.taken(with(is), with(told)) })
}

// eventually fails the test if cond does not come true in time.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(4 * lab.Patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
