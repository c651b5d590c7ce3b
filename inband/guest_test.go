package inband

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// guestLab is a host with eth0 (10.9.0.1/24), whose cable ends at peer0 in another
// namespace.
type guestLab struct {
	t          *testing.T
	host, peer *netlab.Namespace
}

func newGuestLab(t *testing.T) *guestLab {
	lb := &guestLab{t, newNamespaceT(t), newNamespaceT(t)}
	must(t, lb.host.AddVeth(netlab.Veth{Name: "eth0", PeerName: "peer0", Peer: lb.peer}))
	must(t, lb.host.SetUp("lo"))
	must(t, lb.host.SetUp("eth0"))
	must(t, lb.peer.SetUp("peer0"))
	must(t, lb.host.AddAddress("eth0", netip.MustParsePrefix("10.9.0.1/24")))
	return lb
}

// guest makes a guest on eth0.
func (lb *guestLab) guest(o GuestOptions) *Guest {
	lb.t.Helper()
	var g *Guest
	must(lb.t, lb.host.Do(func() (err error) { g, err = NewGuest(o); return err }))
	lb.t.Cleanup(g.Close)
	d, err := lb.host.Device("eth0")
	must(lb.t, err)
	g.Attach(d.Index, "eth0")
	return g
}

// until waits for what a guest tells of.
func (lb *guestLab) until(what string, told <-chan struct{}, holds func() bool) {
	lb.t.Helper()
	for deadline := time.After(20 * time.Second); !holds(); {
		select {
		case <-told:
		case <-deadline:
			lb.t.Fatalf("%s: not told", what)
		}
	}
}

func TestGuestReserves(t *testing.T) {
	lb := newGuestLab(t)
	must(t, lb.host.AddAddress("lo", netip.MustParsePrefix("10.7.0.1/32")))
	first, second := lb.guest(GuestOptions{}), lb.guest(GuestOptions{})
	for _, kernels := range [][4]byte{{10, 9, 0, 1}, {10, 7, 0, 1}} {
		err := first.Reserve(kernels)
		if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "the kernel has") {
			t.Errorf("the kernel's %v: %v", kernels, err)
		}
	}
	free := [4]byte{10, 9, 0, 2}
	must(t, first.Reserve(free))
	must(t, first.Reserve(free)) // twice by one: two interfaces of one stack
	err := second.Reserve(free)
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("another stack's: %v", err)
	}
	first.Release(free)
	if err := second.Reserve(free); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("released once of two: %v", err)
	}
	first.Release(free)
	must(t, second.Reserve(free))
	second.Close()
	must(t, first.Reserve(free))
	first.Close()
	if err := first.Reserve(free); err == nil {
		t.Error("a closed guest reserves")
	}
}

// TestGuestFollowsAddresses has the kernel get a reserved address, and lose it.
func TestGuestFollowsAddresses(t *testing.T) {
	lb := newGuestLab(t)
	g := lb.guest(GuestOptions{})
	told := make(chan struct{}, 100)
	g.SetNotify(func() { told <- struct{}{} })
	ours := [4]byte{10, 9, 0, 2}
	g.Release(ours) // which nobody has reserved
	if err := g.Taken(ours); err != nil {
		t.Errorf("not reserved: %v", err)
	}
	must(t, g.Reserve(ours))
	if err := g.Taken(ours); err != nil {
		t.Fatal(err)
	}
	must(t, lb.host.AddAddress("eth0", netip.MustParsePrefix("10.9.0.2/24")))
	lb.until("the kernel gets the address", told, func() bool { return errors.Is(g.Taken(ours), unix.EADDRINUSE) })
	must(t, lb.host.RemoveAddress("eth0", netip.MustParsePrefix("10.9.0.2/24")))
	lb.until("the kernel loses the address", told, func() bool { return g.Taken(ours) == nil })
}

// TestGuestOfForwarder has a host that forwards, and nothing or something that keeps it
// from answering.
func TestGuestOfForwarder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		options  GuestOptions
		forwards bool
		claimed  [][4]byte
		refused  bool
	}{
		{"no claim", GuestOptions{NoClaim: true}, true, [][4]byte{{10, 9, 0, 2}}, true},
		{"no claim, and none needed", GuestOptions{NoClaim: true}, false, [][4]byte{{10, 9, 0, 2}}, false},
		{"no claim, permitted", GuestOptions{NoClaim: true, HostMayAnswer: true}, true, [][4]byte{{10, 9, 0, 2}}, false},
		{"no claim, no address", GuestOptions{NoClaim: true}, true, nil, false},
		{"claim", GuestOptions{}, true, [][4]byte{{10, 9, 0, 2}}, false},
	} {
		lb := newGuestLab(t)
		must(t, lb.host.SetSysctl("net/ipv4/ip_forward", map[bool]string{true: "1", false: "0"}[tt.forwards]))
		g := lb.guest(tt.options)
		if err := g.Claim(tt.claimed); errors.Is(err, unix.EPERM) != tt.refused || !tt.refused && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestGuestFollowsForwarding has a host begin to forward.
func TestGuestFollowsForwarding(t *testing.T) {
	lb := newGuestLab(t)
	g := lb.guest(GuestOptions{NoClaim: true})
	told := make(chan struct{}, 100)
	g.SetNotify(func() { told <- struct{}{} })
	ours := [][4]byte{{10, 9, 0, 2}}
	must(t, g.Claim(ours))
	must(t, lb.host.SetSysctl("net/ipv4/conf/eth0/forwarding", "1"))
	lb.until("the host forwards", told, func() bool { return errors.Is(g.Claim(ours), unix.EPERM) })
	must(t, lb.host.SetSysctl("net/ipv4/conf/eth0/forwarding", "0"))
	lb.until("the host does not forward any more", told, func() bool { return g.Claim(ours) == nil })
}

// TestGuestIsTold has the function called that was registered last, and no more after
// SetNotify(nil) or Close.
func TestGuestIsTold(t *testing.T) {
	lb := newGuestLab(t)
	g := lb.guest(GuestOptions{NoClaim: true})
	told := 0
	g.SetNotify(func() { told++ })
	g.tell()
	g.SetNotify(nil)
	g.tell()
	if told != 1 {
		t.Errorf("told %d times, once before SetNotify(nil)", told)
	}
	g.Close()
	g.mu.Lock()
	g.forwards = true // which a refresh would find changed
	g.mu.Unlock()
	g.SetNotify(func() { told++ })
	g.refresh()
	if told != 1 {
		t.Error("a closed guest tells")
	}
}

// TestClosedGuest has a guest that is closed do nothing, and say so where it matters.
func TestClosedGuest(t *testing.T) {
	lb := newGuestLab(t)
	must(t, lb.host.SetSysctl("net/ipv4/ip_forward", "1"))
	g := lb.guest(GuestOptions{NoClaim: true})
	ours := [4]byte{10, 9, 0, 2}
	if g.Kind() != "" {
		t.Errorf("claims by %q, though no claim is wanted", g.Kind())
	}
	if err := g.Claim([][4]byte{ours}); !errors.Is(err, unix.EPERM) {
		t.Errorf("Claim: %v", err)
	}
	g.Close()
	g.Attach(99, "other0")
	if g.index == 99 {
		t.Error("attached")
	}
	if err := g.Claim([][4]byte{ours}); err != nil {
		t.Errorf("Claim, closed: %v", err)
	}
	if err := g.Reserve(ours); err != unix.ENETDOWN {
		t.Errorf("Reserve, closed: %v", err)
	}
	g.Close()
}

func TestDeviceName(t *testing.T) {
	lb := newGuestLab(t)
	g := lb.guest(GuestOptions{NoClaim: true})
	for index, want := range map[int]string{g.index: "eth0", 9999: "device 9999"} {
		if got := g.deviceName(index); got != want {
			t.Errorf("%d: %q, want %q", index, got, want)
		}
	}
}

// TestGuestWithoutAnswer has the kernel not answer: what it said last holds.
func TestGuestWithoutAnswer(t *testing.T) {
	lb := newGuestLab(t)
	g := lb.guest(GuestOptions{NoClaim: true})
	kernels := [4]byte{10, 9, 0, 1}
	if err := g.Reserve(kernels); !errors.Is(err, unix.EADDRINUSE) {
		t.Fatal(err)
	}
	g.queries.Close() // it would open another socket, for which there is no descriptor
	if err := limited(3, func() error { return g.Reserve(kernels) }); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("without an answer: %v", err)
	}
}

// ipReceived returns how many datagrams the host's IP layer has seen.
func (lb *guestLab) ipReceived() uint64 {
	lb.t.Helper()
	b, err := lb.host.ReadFile("net/snmp")
	must(lb.t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == "Ip:" && f[1] != "Forwarding" {
			n, err := strconv.ParseUint(f[3], 10, 64)
			must(lb.t, err)
			return n
		}
	}
	lb.t.Fatal("no counter")
	return 0
}

// inject sends a datagram to an address of the host's network, with tags before it.
func (lb *guestLab) inject(to [4]byte, tags ...[]byte) {
	lb.t.Helper()
	host, err := lb.host.Device("eth0")
	must(lb.t, err)
	peer, err := lb.peer.Device("peer0")
	must(lb.t, err)
	frame := append(append([]byte{}, host.HardwareAddr[:]...), peer.HardwareAddr[:]...)
	for _, tag := range tags {
		frame = append(frame, tag...)
	}
	frame = append(frame, 8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 9, 0, 99)
	frame = append(append(frame, to[:]...), 0, 7, 0, 7, 0, 8, 0, 0)
	ip := frame[len(frame)-28:]
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	ip[10], ip[11] = byte(^sum>>8), byte(^sum)
	must(lb.t, lb.peer.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: peer.Index})
	}))
}

// forKeepers runs a test for each mechanism, on a host where it claims nothing yet. The
// test closes it.
func forKeepers(t *testing.T, test func(t *testing.T, lb *guestLab, k keeper)) {
	for _, tt := range []struct {
		kind string
		make func() (keeper, error)
	}{
		{"tcx", func() (keeper, error) { return newTCXClaim() }},
		{"nft", func() (keeper, error) { return newNFTClaim() }},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			lb := newGuestLab(t)
			var k keeper
			if err := lb.host.Do(func() (err error) { k, err = tt.make(); return err }); err != nil {
				t.Skip("this kernel has it not:", err)
			}
			if k.Kind() != tt.kind {
				t.Errorf("is %s", k.Kind())
			}
			test(t, lb, k)
		})
	}
}

// TestKeepers holds each mechanism to what a claim is.
func TestKeepers(t *testing.T) {
	forKeepers(t, func(t *testing.T, lb *guestLab, k keeper) {
		d, err := lb.host.Device("eth0")
		must(t, err)
		ours, other := [4]byte{10, 9, 0, 2}, [4]byte{10, 9, 0, 3}
		priority, stacked, vlan := []byte{0x81, 0, 0xe0, 0}, []byte{0x88, 0xa8, 0, 0}, []byte{0x81, 0, 0, 5}
		seen := func(what string, want bool, to [4]byte, tags ...[]byte) {
			t.Helper()
			before := lb.ipReceived()
			lb.inject(to, tags...)
			if got := lb.ipReceived() != before; got != want {
				t.Errorf("%s: the kernel saw it: %t", what, got)
			}
		}
		must(t, k.Set([][4]byte{other})) // before there is a device
		must(t, k.Attach(d.Index, "eth0"))
		seen("not claimed", true, ours)
		seen("claimed before it was attached", false, other)
		must(t, k.Set([][4]byte{ours}))
		seen("claimed", false, ours)
		seen("claimed no more", true, other)
		seen("claimed, with a priority tag", false, ours, priority)
		seen("claimed, with another kind of priority tag", false, ours, stacked)
		seen("not claimed, with a priority tag", true, other, priority)
		seen("of a VLAN", false, ours, vlan) // which the kernel has not: it is not IP's
		many := make([][4]byte, 0, 3000)
		for i := range 3000 {
			many = append(many, [4]byte{10, 10, byte(i >> 8), byte(i)})
		}
		must(t, k.Set(append(many, ours)))
		seen("claimed among many", false, ours)
		seen("claimed, the last of many", false, many[2999])
		must(t, k.Set(nil))
		seen("given up", true, ours)
		must(t, k.Set([][4]byte{ours}))
		must(t, lb.host.DeleteDevice("eth0"))
		must(t, lb.host.AddVeth(netlab.Veth{Name: "eth0", PeerName: "peer0", Peer: lb.peer}))
		must(t, lb.host.SetUp("eth0"))
		must(t, lb.peer.SetUp("peer0"))
		d, err = lb.host.Device("eth0")
		must(t, err)
		if k.Kind() == "tcx" { // some kernels hook a chain in again by the device's name
			seen("on a device that is new", true, ours)
		}
		must(t, k.Attach(d.Index, "eth0"))
		seen("attached again", false, ours)
		k.Close()
		seen("closed", true, ours)
	})
}

// TestTCXHoldsSoMany claims as many addresses as there is room for, and one more.
func TestTCXHoldsSoMany(t *testing.T) {
	lb := newGuestLab(t)
	var k keeper
	if err := lb.host.Do(func() (err error) { k, err = newTCXClaim(); return err }); err != nil {
		t.Skip("this kernel has it not:", err)
	}
	defer k.Close()
	many := make([][4]byte, maxClaimed+1)
	for i := range many {
		many[i] = [4]byte{10, 10, byte(i >> 8), byte(i)}
	}
	must(t, k.Set(many[:maxClaimed]))
	if err := k.Set(many); err != unix.E2BIG {
		t.Errorf("one more: %v", err)
	}
}
