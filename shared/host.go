package shared

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/inband/follow"
	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/inband/membership"
	"github.com/outband/outband/internal/namespace"
	"github.com/outband/outband/internal/status"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/host"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
)

// A Config says how to share the host's addresses. The zero value is of use.
type Config struct {
	// Devices are those that get a ring: Ethernet devices of the calling thread's network
	// namespace, in the order of the stack's interfaces. They need not have an address, nor
	// be up. None: all Ethernet devices that have an address, now or later.
	Devices []string
	// NoLo opens no ring on the loopback device: what is for the host itself comes by the
	// in-band sockets that hold the ports, which takes longer.
	NoLo bool
	// NoLocalMulticast sends multicasts by the ring though others on the host are members
	// of the group, who then do not hear them.
	NoLocalMulticast bool
	// Require is the least that is to keep the kernel from processing what is the stack's;
	// claim.Any: whatever is to be had.
	Require claim.Rung
	// Only has none but this used, to compare; claim.Any: the best.
	Only claim.Rung
	// Ring are the options of the rings. Share and what it excludes must not be set.
	Ring tpacket.Options
	// Wrap is given each link and returns what the stack is to use in its place; nil: the
	// link itself.
	Wrap func(link.Link) (link.Link, error)
	// Stack is the stack's own. Ports, Routes, Loopback, LoopbackPolicy and Wanted must not be
	// set.
	Stack stack.Config
	// Log is told, once each, what has become otherwise than was wished; nil: nobody is.
	Log *slog.Logger
}

// A Host is a stack that shares the addresses of the host that it runs on.
type Host struct {
	cfg     Config
	space   *namespace.Namespace
	kernel  *follow.Kernel
	holders *holder.Holders
	claims  *claim.Claims
	lo      *host.Link
	server  *status.Server // of what it does, nil: none
	st      *stack.Stack
	ports   ports
	routes  routes
	groups  *membership.Groups
	widths  widths

	told     chan struct{} // closed when all that there is has been told
	toldOnce sync.Once

	// mu makes changes of devices and addresses take turns. What follows is guarded by it.
	mu        sync.Mutex
	closed    bool
	devices   []*device
	ringless  map[int32]*host.Device // devices that have an address, and no ring
	addresses map[address]bool       // that the stack has
	permanent map[neighbour]bool
	refused   map[int32]string // errors of devices that are to have a ring, and have none

	ringMu sync.Mutex     // taken last; held while the holders are told
	rings  map[int32]bool // devices whose datagrams come by a ring, lo's among them
}

// Open makes a stack that shares the addresses that the calling thread's network namespace
// has. Close ends it.
//
// Errors wrap errnos, and say what is missing: ENODEV (no such device), EINVAL (the device
// is part of another, which the message names, or carries no Ethernet; or the
// configuration), EPERM (a capability: CAP_NET_RAW for rings; Require names more).
func Open(c Config) (_ *Host, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	h := &Host{cfg: c, told: make(chan struct{}), ringless: map[int32]*host.Device{}, addresses: map[address]bool{},
		permanent: map[neighbour]bool{}, refused: map[int32]string{}, rings: map[int32]bool{}}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	if h.space, err = namespace.Current(); err != nil {
		return nil, err
	}
	if h.claims, err = claim.Open(claim.Options{Require: c.Require, Force: c.Only}); err != nil {
		return nil, err
	}
	if h.holders, err = holder.Open(); err != nil {
		return nil, err
	}
	if h.kernel, err = follow.Open(); err != nil {
		return nil, err
	}
	if h.groups, err = membership.Open(); err != nil {
		return nil, err
	}
	h.sayRung()
	if err := h.openStack(); err != nil {
		return nil, err
	}
	if err := h.openDevices(); err != nil {
		return nil, err
	}
	h.kernel.Follow(follow.Events{Changed: h.changed, RoutesMoved: h.routesMoved,
		NeighbourChanged: h.neighbourChanged, Neighbours: h.neighbours})
	h.serve()
	// What there is is told once, by a goroutine that a caller who spins from now on, at a
	// priority that nothing preempts, might keep from ever ending.
	select {
	case <-h.told:
	case <-time.After(firstTold):
	}
	return h, nil
}

// check refuses what Open decides itself, and would put another thing in place of.
func (c *Config) check() error {
	s := &c.Stack
	switch {
	case s.Ports != nil || s.Routes != nil || s.Loopback != nil || s.Wanted != nil || s.LoopbackPolicy != (stack.Policy{}):
		return fmt.Errorf("stack configuration: what the host decides is set: %w", unix.EINVAL)
	case c.Ring.Share != nil:
		return fmt.Errorf("ring options: Share is the host's to set: %w", unix.EINVAL)
	}
	return nil
}

// firstTold bounds how long Open waits to be told of what there is.
const firstTold = 2 * time.Second

// openStack makes the stack, with lo.
func (h *Host) openStack() error {
	lo, err := h.openLo()
	if err != nil {
		return err
	}
	h.routes.kernel, h.routes.uid, h.routes.noLocal = h.kernel, uint32(os.Geteuid()), h.cfg.NoLocalMulticast
	h.routes.groups = h.groups
	h.routes.open()
	h.widths.claims, h.widths.holders = h.claims, h.holders
	h.widths.failed = func(err error) {
		h.log(slog.LevelError, "raw and packet sockets do not see all that they should", "error", err)
	}
	c := h.cfg.Stack
	h.ports.holders, h.ports.claims, h.ports.ask = h.holders, h.claims, h.kernel.Ask
	c.Ports, c.Routes, c.Wanted = &h.ports, &h.routes, h.widths.set
	c.Loopback, c.LoopbackPolicy = lo, stack.SharedPolicy()
	if h.st, err = stack.New(c); err != nil {
		lo.Close()
		return err
	}
	h.routes.changed = h.st.RoutesChanged
	return nil
}

// openLo opens what the stack has for its own loopback: the way to and from the kernel.
func (h *Host) openLo() (link.Link, error) {
	var ring link.Link
	if !h.cfg.NoLo {
		t, err := h.openRing(loName)
		if err != nil {
			return nil, err
		}
		ring = t
	}
	lo, err := host.Open(host.Options{Ring: ring, Source: h.holders})
	if err != nil {
		return nil, err
	}
	h.lo = lo
	return h.wrap(lo)
}

// loName is the loopback device's name, which it keeps.
const loName = "lo"

// wrap puts around a link what the configuration asks for.
func (h *Host) wrap(l link.Link) (link.Link, error) {
	if h.cfg.Wrap == nil {
		return l, nil
	}
	w, err := h.cfg.Wrap(l)
	if err != nil {
		l.Close()
	}
	return w, err
}

// sayRung says if there is less than the best.
func (h *Host) sayRung() {
	if why := h.claims.Why(); why != nil {
		h.log(slog.LevelWarn, "the kernel processes more than it has to", "by", h.claims.Rung().String(), "reason", why)
	}
}

func (h *Host) log(level slog.Level, message string, args ...any) {
	if h.cfg.Log != nil {
		h.cfg.Log.Log(context.Background(), level, message, args...)
	}
}

// Stack returns the stack. It stays the Host's.
func (h *Host) Stack() *stack.Stack { return h.st }

// Close ends the stack, and gives back all that it had of the kernel.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	var err error
	if h.server != nil {
		h.server.Close()
	}
	if h.kernel != nil {
		h.kernel.Close() // nothing is told any more
	}
	h.routes.close()
	if h.st != nil {
		err = h.st.Close()
	}
	if h.groups != nil {
		h.groups.Close()
	}
	if h.claims != nil {
		h.claims.Close()
	}
	if h.holders != nil {
		h.holders.Close()
	}
	if h.space != nil {
		h.space.Close()
	}
	return err
}

// widths has the rings take what sockets want beside what is for their ports, and the
// kernel as quiet about it as if they were in-band.
type widths struct {
	claims  *claim.Claims
	holders *holder.Holders
	failed  func(error)
	narrow  []func()
}

// set implements stack.Config.Wanted: what is new comes before what was goes.
func (w *widths) set(wants stack.Wants) {
	var narrow []func()
	widen := func(to claim.Width) {
		f, err := w.claims.Widen(to)
		if err != nil {
			w.failed(err)
			return
		}
		narrow = append(narrow, f)
	}
	if wants.Frames {
		widen(claim.Promiscuous)
	}
	for p := range 256 {
		if wants.Protocol(uint8(p)) {
			widen(claim.Width(p))
			if release, e := w.holders.HoldProtocol(uint8(p)); e == 0 {
				narrow = append(narrow, release)
			} else {
				w.failed(e)
			}
		}
	}
	if len(narrow) > 0 {
		widen(unix.IPPROTO_ICMP) // errors about what raw sockets send
	}
	for _, f := range w.narrow {
		f()
	}
	w.narrow = narrow
}
