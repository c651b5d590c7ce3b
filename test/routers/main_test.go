// Package routers holds our stack against what stands between hosts and multicast
// routers, and the routers: the kernel's bridge, which snoops IGMP and asks itself,
// and FRRouting's pimd. What we join, they must know; what we leave, forget.
package routers

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

var (
	groupA = [4]byte{239, 9, 1, 1}
	groupB = [4]byte{239, 9, 1, 2}
	groupC = [4]byte{239, 9, 1, 3}
	groupD = [4]byte{239, 9, 1, 4}
)

// patience bounds waits for what others' timers decide.
const patience = 20 * time.Second

// A host is our stack at the near end of a lab.
type host struct {
	t     testing.TB
	lab   *lab.Lab
	stack *stack.Stack
	ifc   *stack.Interface
	close func() error
	// shared says that the address is the kernel's, which speaks IGMP for the stack.
	shared bool
}

func newHost(t testing.TB, l *lab.Lab) *host {
	t.Helper()
	var ring *tpacket.Link
	l.Near().In(t, func() (err error) {
		ring, err = tpacket.Open(l.Near().Name, tpacket.Options{})
		return err
	})
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	ifc, err := st.AddLink(ring, stack.InterfaceConfig{})
	check(t, err)
	check(t, ifc.AddAddress(l.Near().Prefix()))
	return &host{t, l, st, ifc, st.Close, false}
}

// newSharedHost is newHost on the kernel's address.
func newSharedHost(t testing.TB, l *lab.Lab) *host {
	t.Helper()
	var h *shared.Host
	l.Near().In(t, func() (err error) {
		h, err = shared.Open(shared.Config{Devices: []string{l.Near().Name}})
		return err
	})
	t.Cleanup(func() { h.Close() })
	return &host{t, l, h.Stack(), h.Stack().InterfaceByName(l.Near().Name), h.Close, true}
}

// udp opens a UDP socket of ours that closes with the test.
func (h *host) udp(port uint16) *stack.UDPSocket {
	h.t.Helper()
	k, err := h.stack.NewUDPSocket()
	check(h.t, err)
	h.t.Cleanup(func() { k.Close() })
	check(h.t, k.Bind(netip.AddrPortFrom(netip.IPv4Unspecified(), port)))
	return k
}

// on names a group on our interface.
func (h *host) on(group [4]byte) stack.GroupRequest {
	return stack.GroupRequest{Group: group, Interface: h.ifc.Index()}
}

// speaks waits until our stack speaks a version of IGMP, by a querier of that version.
func (h *host) speaks(version int) {
	h.t.Helper()
	await(h.t, "a querier of the version", func() bool {
		if h.shared {
			b, err := h.lab.Near().ReadFile("net/igmp")
			check(h.t, err)
			_, after, _ := strings.Cut(string(b), h.lab.Near().Name)
			line, _, _ := strings.Cut(after, "\n")
			return strings.HasSuffix(line, fmt.Sprint("V", version))
		}
		_, st := h.ifc.Groups()
		return st.Version == version && st.QuerierVersion == version
	})
}

// from is an address of the lab's network.
func from(n byte) [4]byte { return [4]byte{10, 9, 0, n} }

func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
