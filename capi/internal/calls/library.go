package calls

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A Config says what to start: struct ob_config.
type Config struct {
	Devices          []string // none: all that have an address
	Address, Gateway string   // "": none
	Require          string   // "": whatever there is
	Spin             int64    // nanoseconds, or one of the Spin constants
	NoLo             bool
	NoLocalMulticast bool
	FDs              []int // of descriptor.Handover in another process
	Floor            int   // descriptors lie at or above it; 0: anywhere
}

// Values of Spin in C.
const (
	SpinAdaptive = -1
	SpinNever    = 0
	SpinAlways   = int64(stack.NoDeadline)
)

// spin returns a budget as the stack has it.
func spin(c int64) (time.Duration, error) {
	switch {
	case c == SpinAdaptive:
		return stack.SpinAdaptive, nil
	case c == SpinNever:
		return stack.SpinNever, nil
	case c == SpinAlways:
		return stack.SpinAlways, nil
	case c < 0:
		return 0, unix.EINVAL
	default:
		return time.Duration(c), nil
	}
}

// A Library is one stack and its handles. The zero value has none.
type Library struct {
	table table
	naps  naps
	now   atomic.Pointer[running] // nil: no stack

	mu  sync.Mutex
	why string // of the last Start that failed
}

// running is a stack that has been started.
type running struct {
	api   *sockapi.API
	close func() error
	spin  time.Duration
}

// Start opens the stack: EALREADY if there is one.
func (l *Library) Start(c *Config) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.Load() != nil {
		return l.failedLocked(fmt.Errorf("the stack has been started: %w", unix.EALREADY))
	}
	options, err := c.options()
	if err != nil {
		return l.failedLocked(err)
	}
	if c.Floor < 0 {
		return l.failedLocked(fmt.Errorf("fd_floor %d: %w", c.Floor, unix.EINVAL))
	}
	descriptor.SetFloor(c.Floor)
	if c.Floor > 0 {
		release, err := descriptor.Fill(c.Floor)
		if err != nil {
			return l.failedLocked(fmt.Errorf("fd_floor %d (ulimit -n is the limit): %w", c.Floor, err))
		}
		defer release()
	}
	if err := descriptor.Give(c.FDs); err != nil {
		return l.failedLocked(err)
	}
	first := ""
	if len(c.Devices) > 0 {
		first = c.Devices[0]
	}
	h, err := outband.Open(context.Background(), first, options...)
	if err != nil {
		descriptor.Drop()
		return l.failedLocked(err)
	}
	budget, _ := spin(c.Spin)
	l.why = ""
	l.now.Store(&running{api: h.API(), close: h.Close, spin: budget})
	return 0
}

// options returns what a configuration says as the front door has it.
func (c *Config) options() (all []outband.Option, err error) {
	if len(c.Devices) > 1 {
		all = append(all, outband.WithDevices(c.Devices[1:]...))
	}
	budget, err := spin(c.Spin)
	if err != nil {
		return nil, fmt.Errorf("spin %d: %w", c.Spin, err)
	}
	all = append(all, outband.WithSpin(budget))
	if c.Address != "" {
		p, err := netip.ParsePrefix(c.Address)
		if err != nil {
			return nil, fmt.Errorf("address %q is none with a length, such as 10.0.0.2/24: %w", c.Address, unix.EINVAL)
		}
		all = append(all, outband.WithAddress(p))
		if len(c.Devices) == 0 {
			return nil, fmt.Errorf("an address of its own needs a device: %w", unix.EINVAL)
		}
	}
	if c.Gateway != "" {
		a, err := netip.ParseAddr(c.Gateway)
		if err != nil {
			return nil, fmt.Errorf("gateway %q is no address: %w", c.Gateway, unix.EINVAL)
		}
		all = append(all, outband.WithGateway(a))
	}
	if c.Require != "" {
		r, err := rung(c.Require)
		if err != nil {
			return nil, err
		}
		all = append(all, outband.WithRequire(r))
	}
	if c.NoLo {
		all = append(all, outband.WithoutLoopbackRing())
	}
	if c.NoLocalMulticast {
		all = append(all, outband.WithoutLocalMulticast())
	}
	return all, nil
}

func rung(name string) (claim.Rung, error) {
	for _, r := range []claim.Rung{claim.TCX, claim.NFT, claim.Holder} {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q is none of tcx, nft and holder: %w", name, unix.EINVAL)
}

// failedLocked keeps why a start has failed.
func (l *Library) failedLocked(err error) int {
	l.why = err.Error()
	return fail(err)
}

// Why returns why the last Start failed, "" if it did not.
func (l *Library) Why() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// Stop ends the stack and all its sockets: ENETDOWN if there is none.
func (l *Library) Stop() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.now.Swap(nil)
	if r == nil {
		return -int(unix.ENETDOWN)
	}
	for _, o := range l.table.takeAll() {
		o.close()
	}
	descriptor.Drop()
	return fail(r.close())
}

// fail returns an error as a negative errno, 0 for none.
func fail(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(unix.Errno); ok {
		return -int(e)
	}
	var e unix.Errno
	if errors.As(err, &e) {
		return -int(e)
	}
	return -int(unix.EIO)
}

// Stats returns the stack's counters; false if there is none.
func (l *Library) Stats() (stack.Stats, bool) {
	r := l.now.Load()
	if r == nil {
		return stack.Stats{}, false
	}
	return r.api.Stack().Stats(), true
}

// DeviceName returns the name of the stack's interface with an index, "" if there is none.
func (l *Library) DeviceName(index int) string {
	if r := l.now.Load(); r != nil {
		if i := r.api.Stack().InterfaceByIndex(index); i != nil {
			return i.Name()
		}
	}
	return ""
}
