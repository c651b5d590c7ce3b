package inband

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/namespace"
)

// A Guest is the standing of a stack of its own on the host whose device it uses: which
// addresses nobody else on the host has, and what keeps the host's own IP layer off
// datagrams to them. It follows the host's addresses, and whether it forwards.
//
// Its methods may be called by several goroutines at once.
type Guest struct {
	space   *namespace.Namespace
	events  *nl.NetlinkSocket
	queries *netlink.Handle
	ask     *nl.SocketHandle // for what netlink.Handle has no call for
	options GuestOptions
	holders holders // mu
	notify  atomic.Pointer[func()]
	quit    chan struct{}

	mu       sync.Mutex // guards what follows; not held while notify's function runs
	closed   bool
	index    int // of the device, 0: none yet
	name     string
	keeper   keeper // nil: none
	refusal  error  // why there is none
	claimed  int    // how many addresses it has
	broken   error  // why it has not those that it should
	host     map[[4]byte]string
	forwards bool
	reserved map[[4]byte]*reservation
}

// GuestOptions say what a guest may do without.
type GuestOptions struct {
	// NoClaim makes no claims.
	NoClaim bool
	// HostMayAnswer puts up with a host that forwards and that nothing keeps from
	// answering for the stack.
	HostMayAnswer bool
}

// A reservation is an address that is held for one stack, or more of them that know of
// each other.
type reservation struct {
	count  int
	holder int   // descriptor; -1: none could be had
	lost   error // why the address is another's, nil if it is not
}

// NewGuest makes a guest in the calling thread's network namespace. It needs no
// privilege, but claims do, and without CAP_NET_RAW other processes do not see what it
// reserves. Attach it to a device before anything else.
func NewGuest(o GuestOptions) (*Guest, error) {
	g := &Guest{options: o, quit: make(chan struct{}), reserved: map[[4]byte]*reservation{}}
	var err error
	if g.space, err = namespace.Current(); err != nil {
		return nil, err
	}
	// Events first: what happens from here on is not missed.
	if g.events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_NETCONF); err == nil {
		g.queries, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	}
	if err == nil {
		var s *nl.NetlinkSocket
		if s, err = nl.Subscribe(unix.NETLINK_ROUTE); err == nil {
			g.ask = &nl.SocketHandle{Socket: s}
		}
	}
	if err != nil {
		g.shut()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	g.holders.open(g.space)
	if o.NoClaim {
		g.refusal = errors.New("no claim is wanted")
	} else {
		g.keeper, g.refusal = newKeeper()
	}
	go g.follow()
	return g, nil
}

// Attach says which device it is now: the claim goes there, and reservations are for it
// from now on.
func (g *Guest) Attach(index int, name string) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	moved := g.index != index
	g.index, g.name = index, name
	if g.keeper != nil {
		if err := g.keeper.Attach(index, name); err != nil {
			g.keeper.Close()
			g.keeper, g.refusal = nil, err
		}
	}
	g.forwards = g.forwardsLocked()
	if moved {
		for addr, r := range g.reserved {
			g.releaseLocked(r)
			r.holder, r.lost = g.holdLocked(addr)
		}
	}
	g.mu.Unlock()
	if moved {
		go g.tell() // the caller may hold what the function wants
	}
}

// Kind names what keeps the host's IP layer off: "tcx", "nft", or "" for nothing.
func (g *Guest) Kind() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keeper == nil {
		return ""
	}
	return g.keeper.Kind()
}

// Reserve holds an address for the caller, until Release was called as often. The error
// wraps EADDRINUSE, and says more, if the kernel has the address, on whatever device, or
// another process has reserved it on this one.
func (g *Guest) Reserve(addr [4]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return unix.ENETDOWN
	}
	g.host = g.addressesLocked()
	if err := g.takenLocked(addr); err != nil {
		return err
	}
	if r := g.reserved[addr]; r != nil {
		r.count++
		return nil
	}
	holder, err := g.holdLocked(addr)
	if err != nil {
		return err
	}
	g.reserved[addr] = &reservation{count: 1, holder: holder}
	return nil
}

// Release undoes one Reserve.
func (g *Guest) Release(addr [4]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.reserved[addr]
	if r == nil {
		return
	}
	if r.count--; r.count == 0 {
		g.releaseLocked(r)
		delete(g.reserved, addr)
	}
}

// Taken returns why an address that was reserved is not the caller's alone any more, nil
// if it still is. The error is as Reserve's.
func (g *Guest) Taken(addr [4]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.takenLocked(addr)
}

func (g *Guest) takenLocked(addr [4]byte) error {
	if device, has := g.host[addr]; has {
		return fmt.Errorf("the kernel has %s on %s: take another address of the same network, or remove that one: %w",
			netip.AddrFrom4(addr), device, unix.EADDRINUSE)
	}
	if r := g.reserved[addr]; r != nil {
		return r.lost
	}
	return nil
}

// Claim says which addresses the host's IP layer is to be kept off, all of them each
// time. The error, which wraps EPERM, says that the host would answer for one of
// them: it forwards, and nothing keeps it from that.
func (g *Guest) Claim(addresses [][4]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.claimed, g.broken = len(addresses), g.refusal
	if g.keeper != nil {
		g.broken = g.keeper.Set(addresses)
	}
	if g.broken == nil || !g.forwards || g.claimed == 0 || g.options.HostMayAnswer {
		return nil
	}
	return fmt.Errorf("the host forwards (net.ipv4.conf.%s.forwarding is 1) and would answer for the stack, and nothing keeps it from that (%w): "+
		"this needs CAP_BPF and CAP_NET_ADMIN, or for nftables CAP_NET_ADMIN: %w", g.name, g.broken, unix.EPERM)
}

// SetNotify has f called when Taken or Claim would give another answer for what was
// reserved. It is called on a goroutine of the guest's own.
func (g *Guest) SetNotify(f func()) {
	if f == nil {
		g.notify.Store(nil)
		return
	}
	g.notify.Store(&f)
}

func (g *Guest) tell() {
	if f := g.notify.Load(); f != nil {
		(*f)()
	}
}

// followPause keeps follow from turning in circles should the netlink socket report
// errors without end.
const followPause = 100 * time.Millisecond

// follow looks again whenever the kernel's addresses or its forwarding change, until
// Close.
func (g *Guest) follow() {
	for {
		_, from, err := g.events.Receive()
		select {
		case <-g.quit:
			return
		default:
		}
		if err != nil && err != unix.ENOBUFS && !errors.Is(err, syscall.EINTR) {
			select {
			case <-g.quit:
				return
			case <-time.After(followPause):
			}
		}
		if err != nil || from.Pid == nl.PidKernel {
			g.refresh()
		}
	}
}

// refresh asks the kernel how things are, and tells if that concerns us.
func (g *Guest) refresh() {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	host, forwards := g.addressesLocked(), g.forwardsLocked()
	changed := forwards != g.forwards
	for addr := range g.reserved {
		_, had := g.host[addr]
		_, has := host[addr]
		changed = changed || had != has
	}
	g.host, g.forwards = host, forwards
	g.mu.Unlock()
	if changed {
		g.tell()
	}
}

// addressesLocked returns the kernel's IPv4 addresses in the namespace and their devices.
// If it cannot be asked, what it said last holds.
func (g *Guest) addressesLocked() map[[4]byte]string {
	list, err := g.queries.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return g.host
	}
	host := make(map[[4]byte]string, len(list))
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			host[ip.As4()] = g.deviceName(a.LinkIndex)
		}
	}
	return host
}

// deviceName returns a device's name for people.
func (g *Guest) deviceName(index int) string {
	if l, err := g.queries.LinkByIndex(index); err == nil {
		return l.Attrs().Name
	}
	return fmt.Sprintf("device %d", index)
}

// Close gives up all addresses and claims.
func (g *Guest) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.closed = true
	close(g.quit)
	g.shut()
}

// shut closes all. The guest is closed, or not in use yet.
func (g *Guest) shut() {
	for _, r := range g.reserved {
		g.releaseLocked(r)
	}
	g.holders.close()
	if g.keeper != nil {
		g.keeper.Close()
	}
	if g.events != nil {
		g.events.Close()
	}
	if g.queries != nil {
		g.queries.Close()
	}
	if g.ask != nil {
		g.ask.Close()
	}
	g.space.Close()
}
