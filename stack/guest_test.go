package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// hostLink is a link over a device of a host that has addresses, and may answer.
type hostLink struct {
	link.Link
	mu       sync.Mutex
	host     map[[4]byte]bool
	reserved map[[4]byte]int
	claimed  [][4]byte
	answers  bool
	notify   func()
}

func (l *hostLink) Unwrap() link.Link { return l.Link }

func (l *hostLink) ReserveAddress(a [4]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.host[a] {
		return fmt.Errorf("the kernel has it: %w", unix.EADDRINUSE)
	}
	l.reserved[a]++
	return nil
}

func (l *hostLink) ReleaseAddress(a [4]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved[a]--; l.reserved[a] == 0 {
		delete(l.reserved, a)
	}
}

func (l *hostLink) AddressTaken(a [4]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.host[a] {
		return unix.EADDRINUSE
	}
	return nil
}

func (l *hostLink) Claim(all [][4]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claimed = all
	if l.answers && len(all) > 0 {
		return unix.EPERM
	}
	return nil
}

func (l *hostLink) SetClaimNotify(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notify = f
}

// change changes the host, and tells.
func (l *hostLink) change(f func()) {
	l.mu.Lock()
	f()
	notify := l.notify
	l.mu.Unlock()
	if notify != nil {
		notify()
	}
}

// holds reports whether an address is reserved, and claimed.
func (l *hostLink) holds(a [4]byte) (reserved, claimed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reserved[a] > 0, slices.Contains(l.claimed, a)
}

func newHostLink() *hostLink {
	l, _ := pipe.New(pipe.Options{})
	return &hostLink{Link: l, host: map[[4]byte]bool{}, reserved: map[[4]byte]int{}}
}

func addHost(t *testing.T, s *Stack, cfg InterfaceConfig) (*hostLink, *Interface) {
	t.Helper()
	l := newHostLink()
	i, err := s.AddLink(l, cfg)
	check(t, err)
	return l, i
}

var ours = netip.MustParsePrefix("10.9.0.2/24")

// An address that the host has is refused, on whichever of the links, unless it may be
// shared; what is refused leaves nothing reserved.
func TestHostsAddressRefused(t *testing.T) {
	s := newStack(t, Config{})
	first, i := addHost(t, s, InterfaceConfig{})
	second, _ := addHost(t, s, InterfaceConfig{})
	second.host[ours.Addr().As4()] = true
	if err := i.AddAddress(ours); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the other link's host has it: %v", err)
	}
	if reserved, claimed := first.holds(ours.Addr().As4()); reserved || claimed {
		t.Errorf("refused, yet reserved %t, claimed %t", reserved, claimed)
	}
	if len(i.Addresses()) != 0 {
		t.Errorf("refused, yet there: %v", i.Addresses())
	}
	sharing, k := addHost(t, s, InterfaceConfig{ShareAddresses: true})
	sharing.host[ours.Addr().As4()] = true
	check(t, k.AddAddress(ours))
	check(t, s.RemoveLink(k.Index()))
	if err := s.lo(t).AddAddress(ours); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("as the loopback's: %v", err)
	}
}

// lo returns the loopback interface.
func (s *Stack) lo(t *testing.T) *Interface { t.Helper(); return s.Interfaces()[0] }

// Every address is reserved and claimed on every link, 127.0.0.1 on none, until it goes.
func TestAddressesAreClaimedEverywhere(t *testing.T) {
	s := newStack(t, Config{})
	a, i := addHost(t, s, InterfaceConfig{})
	check(t, i.AddAddress(ours))
	onLo := netip.MustParsePrefix("10.7.0.1/32")
	check(t, s.lo(t).AddAddress(onLo))
	b, j := addHost(t, s, InterfaceConfig{})
	check(t, j.AddAddress(netip.MustParsePrefix("10.8.0.2/24")))
	for _, l := range []*hostLink{a, b} {
		for _, ip := range [][4]byte{{10, 9, 0, 2}, {10, 7, 0, 1}, {10, 8, 0, 2}} {
			if reserved, claimed := l.holds(ip); !reserved || !claimed {
				t.Errorf("%v: reserved %t, claimed %t", ip, reserved, claimed)
			}
		}
		if reserved, claimed := l.holds([4]byte{127, 0, 0, 1}); reserved || claimed {
			t.Errorf("127.0.0.1: reserved %t, claimed %t", reserved, claimed)
		}
	}
	check(t, s.RemoveLink(j.Index()))
	check(t, s.lo(t).RemoveAddress(onLo))
	for ip, want := range map[[4]byte]bool{{10, 9, 0, 2}: true, {10, 7, 0, 1}: false, {10, 8, 0, 2}: false} {
		if reserved, claimed := a.holds(ip); reserved != want || claimed != want {
			t.Errorf("%v afterwards: reserved %t, claimed %t", ip, reserved, claimed)
		}
	}
	if len(b.reserved) != 0 {
		t.Errorf("a link that was removed keeps %v", b.reserved)
	}
}

// An address that the host gets later is given up, and taken back when the host has lost
// it.
func TestHostGetsAddress(t *testing.T) {
	s := newStack(t, Config{})
	l, i := addHost(t, s, InterfaceConfig{})
	check(t, i.AddAddress(ours))
	k, err := s.NewUDPSocket()
	check(t, err)
	check(t, k.Bind(netip.AddrPortFrom(ours.Addr(), 7)))
	u := s.Subscribe(0)
	ip := ours.Addr().As4()
	l.change(func() { l.host[ip] = true })
	if e := nextEvent(t, u, AddressSuspended); e.Addr != ours.Addr() || !errors.Is(e.Err, unix.EADDRINUSE) {
		t.Errorf("%+v", e)
	}
	if st := i.AddressState(ours); st != AddressAside || len(i.Addresses()) != 0 {
		t.Errorf("state %d, addresses %v", st, i.Addresses())
	}
	if _, claimed := l.holds(ip); claimed {
		t.Error("still claimed: the host's connections would freeze")
	}
	if err := i.AwaitAddress(context.Background(), ours); err != unix.EADDRINUSE {
		t.Errorf("AwaitAddress: %v", err)
	}
	if err := i.AddAddress(ours); err != unix.EEXIST {
		t.Errorf("added once more: %v", err)
	}
	l.change(func() { delete(l.host, ip) })
	nextEvent(t, u, AddressResumed)
	if _, claimed := l.holds(ip); !claimed || i.AddressState(ours) != AddressInUse {
		t.Errorf("claimed %t, state %d", claimed, i.AddressState(ours))
	}
	l.change(func() { l.host[ip] = true })
	check(t, i.RemoveAddress(ours))
	if reserved, claimed := l.holds(ip); reserved || claimed {
		t.Errorf("removed while the host has it: reserved %t, claimed %t", reserved, claimed)
	}
}

// A host that forwards and that nothing keeps from it gets no guest; one that begins to
// is told of.
func TestHostThatAnswers(t *testing.T) {
	s := newStack(t, Config{})
	l, i := addHost(t, s, InterfaceConfig{})
	l.answers = true
	if err := i.AddAddress(ours); !errors.Is(err, unix.EPERM) {
		t.Errorf("AddAddress: %v", err)
	}
	if i.AddressState(ours) != AddressAbsent {
		t.Error("refused, yet there")
	}
	l.change(func() { l.answers = false })
	check(t, i.AddAddress(ours))
	u := s.Subscribe(0)
	l.change(func() { l.answers = true })
	if e := nextEvent(t, u, HostAnswers); !errors.Is(e.Err, unix.EPERM) {
		t.Errorf("%+v", e)
	}
	second := newHostLink()
	second.answers = true
	if _, err := s.AddLink(second, InterfaceConfig{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("AddLink: %v", err)
	}
	if len(second.reserved) != 0 || len(s.Interfaces()) != 2 {
		t.Errorf("refused, yet reserved %v, interfaces %d", second.reserved, len(s.Interfaces()))
	}
	check(t, second.Close())
}

// An address that is probed for is in use once the probes have found nobody, and is
// refused if they find somebody.
func TestProbedAddress(t *testing.T) {
	probing := InterfaceConfig{ARP: arp.DefaultConfig()}
	probing.ARP.Probe = true
	p := netip.MustParsePrefix("10.20.0.1/24")
	for _, taken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStack(t, Config{})
			near, far := pipe.New(pipe.Options{})
			defer far.Close()
			i, err := s.AddLink(near, probing)
			check(t, err)
			u := s.Subscribe(0)
			check(t, i.AddAddress(p))
			if i.AddressState(p) != AddressProbed || len(i.Addresses()) != 0 {
				t.Errorf("at once: state %d, %v", i.AddressState(p), i.Addresses())
			}
			k := udpSocket(t, s, "")
			if err := k.Bind(netip.AddrPortFrom(p.Addr(), 7)); err != unix.EADDRNOTAVAIL {
				t.Errorf("bound to an address that is probed for: %v", err)
			}
			thief := link.MAC{2, 0, 0, 0, 0, 0x66}
			want, state, kind := error(nil), AddressInUse, AddressReady
			if taken {
				want, state, kind = unix.EADDRINUSE, AddressRefused, AddressDuplicate
				check(t, far.Send(arpFrame(thief, arp.OpRequest, p.Addr().As4(), p.Addr().As4())))
			}
			if err := i.AwaitAddress(context.Background(), p); err != want {
				t.Errorf("taken %t: AwaitAddress: %v", taken, err)
			}
			if e := nextEvent(t, u, kind); e.Addr != p.Addr() || taken && e.MAC != thief {
				t.Errorf("%+v", e)
			}
			if i.AddressState(p) != state {
				t.Errorf("taken %t: state %d", taken, i.AddressState(p))
			}
			if err := k.Bind(netip.AddrPortFrom(p.Addr(), 7)); (err == nil) == taken {
				t.Errorf("taken %t: Bind: %v", taken, err)
			}
			check(t, s.Close())
		})
	}
}

// AwaitAddress ends with its context.
func TestAwaitAddressEnds(t *testing.T) {
	s := newStack(t, Config{})
	_, i := addHost(t, s, InterfaceConfig{})
	if err := i.AwaitAddress(context.Background(), ours); err != unix.EADDRNOTAVAIL {
		t.Errorf("not added: %v", err)
	}
	probing := InterfaceConfig{ARP: arp.DefaultConfig()}
	probing.ARP.Probe = true
	_, k := addHost(t, s, probing)
	check(t, k.AddAddress(ours))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.AwaitAddress(ctx, ours); err != context.Canceled {
		t.Errorf("canceled: %v", err)
	}
}

// A link that was removed, or whose stack is closed, tells nobody any more.
func TestRetiredLinkTellsNobody(t *testing.T) {
	s := newStack(t, Config{})
	removed, i := addHost(t, s, InterfaceConfig{})
	closed, _ := addHost(t, s, InterfaceConfig{})
	check(t, s.RemoveLink(i.Index()))
	check(t, s.Close())
	for name, l := range map[string]*hostLink{"removed": removed, "closed": closed} {
		l.mu.Lock()
		if l.notify != nil {
			t.Errorf("%s: it would tell the stack", name)
		}
		l.mu.Unlock()
	}
}

// An address that no host can have is refused and leaves nothing behind.
func TestImpossibleAddress(t *testing.T) {
	s := newStack(t, Config{})
	l, i := addHost(t, s, InterfaceConfig{})
	for _, a := range []string{"224.0.0.1/24", "127.0.0.1/8", "255.255.255.255/32", "0.0.0.0/0"} {
		p := netip.MustParsePrefix(a)
		if err := i.AddAddress(p); err != unix.EINVAL {
			t.Errorf("%s: %v", a, err)
		}
		if reserved, claimed := l.holds(p.Addr().As4()); reserved || claimed || len(i.Addresses()) != 0 {
			t.Errorf("%s: reserved %t, claimed %t, addresses %v", a, reserved, claimed, i.Addresses())
		}
	}
}
