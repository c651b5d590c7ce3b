package wire

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
	"github.com/outband/outband/test/oracle"
)

// ourHost is a stack.
type ourHost struct {
	hands
	st   *stack.Stack
	api  *sockapi.API
	ifcs [2]*stack.Interface
	ends [2][2]*pipe.Link // of pipes: the host's and the hand's
}

// pipePort is the far end of a pipe.
type pipePort struct{ l *pipe.Link }

func (p pipePort) send(frame []byte) error { return p.l.Send(frame) }

func (p pipePort) next() []byte {
	var one [1]link.Frame
	defer p.l.Release()
	if p.l.Receive(one[:]) == 0 {
		return nil
	}
	return bytes.Clone(one[0].Data)
}

// NewOurs returns a host of ours over pipes in memory, whose devices have the
// indices of another host's.
func NewOurs(t testing.TB, like Host) Host {
	t.Helper()
	var links [2]link.Link
	var ports [2]port
	var ends [2][2]*pipe.Link
	for i, name := range devices {
		a, b := pipe.New(pipe.Options{A: pipe.End{Name: name, Index: like.Index(i), MAC: nearMAC[i]},
			B: pipe.End{MAC: farMAC[i]}})
		t.Cleanup(func() { b.Close() })
		links[i], ports[i], ends[i] = a, pipePort{b}, [2]*pipe.Link{a, b}
	}
	h := newOurs(t, "ours over pipes", like, links, ports)
	h.ends = ends
	return h
}

// NewRings is NewOurs over veth pairs with packet rings.
func NewRings(t testing.TB, like Host) Host {
	t.Helper()
	l, ports := cable(t, lab.None)
	var links [2]link.Link
	for i, name := range devices {
		l.Near().In(t, func() error {
			r, err := tpacket.Open(name, tpacket.Options{})
			links[i] = r
			return err
		})
	}
	return newOurs(t, "ours over packet rings", like, links, ports)
}

// unlimited are the limits of ICMP errors that limit nothing.
var unlimited = icmp.LimiterConfig{MsgsPerSec: 1000, MsgsBurst: 50, MaxHosts: 4}

func newOurs(t testing.TB, name string, like Host, links [2]link.Link, ports [2]port) *ourHost {
	t.Helper()
	st, err := stack.New(stack.Config{ICMP: unlimited})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	h := &ourHost{hands: hands{t: t, name: name, ports: ports, mtu: [2]int{1500, 1500}}, st: st, api: sockapi.New(st)}
	for i, l := range links {
		h.ifcs[i], err = st.AddLink(l, stack.InterfaceConfig{Index: like.Index(i), ARP: arp.Config{LockTime: lockTime}})
		check(t, err)
		for _, p := range addresses(i) {
			check(t, h.ifcs[i].AddAddress(p))
		}
		for _, a := range neighbours(i) {
			check(t, h.ifcs[i].SetNeighbour(a, farMAC[i], arp.Permanent))
		}
	}
	for _, r := range routes {
		check(t, h.Route(r, false))
	}
	lead(t, h.api)
	h.Settle()
	return h
}

// lead has a thread that waits for datagrams that nobody sends: it takes in frames
// as soon as they come, which the housekeeper would do somewhat later.
func lead(t testing.TB, api *sockapi.API) {
	k, err := api.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
	check(t, err)
	check(t, k.Bind(sockapi.Inet4([4]byte{127, 0, 0, 1}, 9)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b [1]byte
		k.Recv(b[:], 0)
	}()
	t.Cleanup(func() { k.Close(); <-done })
}

func (h *ourHost) Socket(_ oracle.Host, domain, typ, proto int) (*sockapi.Socket, error) {
	return h.api.Socket(domain, typ|sockapi.SOCK_OOB, proto)
}

func (h *ourHost) Socketpair(_ oracle.Host, domain, typ, proto int) ([2]*sockapi.Socket, error) {
	return h.api.Socketpair(domain, typ|sockapi.SOCK_OOB, proto)
}

func (h *ourHost) API(oracle.Host) *sockapi.API { return h.api }

func (h *ourHost) Index(device int) int { return h.ifcs[device].Index() }

func (h *ourHost) Route(r Route, remove bool) error {
	or := ipv4.Route{Prefix: r.To, Iface: h.Index(r.Device), Metric: uint32(r.Metric), MTU: r.MTU}
	if r.Gateway.IsValid() {
		or.Gateway = r.Gateway.As4()
	} else {
		or.Scope = ipv4.ScopeLink
	}
	if remove {
		return h.st.RemoveRoute(or)
	}
	return h.st.AddRoute(or)
}

func (h *ourHost) Address(device int, p netip.Prefix, remove bool) error {
	if remove {
		return h.ifcs[device].RemoveAddress(p)
	}
	return h.ifcs[device].AddAddress(p)
}

func (h *ourHost) Reset() { h.t.Fatalf("%s: make another", h.name) }

func (h *ourHost) Forget() { h.Reset() }

func (h *ourHost) SetMTU(device, mtu int) error {
	h.mtu[device] = mtu
	h.ends[device][0].SetMTU(mtu)
	return nil
}

func (h *ourHost) SetUp(device int, up bool) {
	h.mute[device] = !up
	h.ends[device][0].SetUp(up)
}

func (h *ourHost) SetCarrier(device int, on bool) {
	h.mute[device] = !on
	h.ends[device][1].SetUp(on)
}

func (h *ourHost) Counters() map[string]uint64 {
	out := make(map[string]uint64)
	for _, c := range h.st.Stats().Counters {
		out[c.Name] = c.Value
	}
	return out
}
