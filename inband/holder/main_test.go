package holder

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
)

// childMark in the environment makes this test binary hold a port until it is killed.
const childMark = "OUTBAND_HOLDER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		holdInChild()
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of a test; none is expected to take it.
const patience = 10 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ok fails the test for an errno that is not 0: an errno of 0 is no nil error.
func ok(t testing.TB, e unix.Errno) {
	t.Helper()
	if e != 0 {
		t.Fatal(e)
	}
}

// newSpace makes a network namespace whose loopback device is up. It skips the test where
// there can be none; on a machine that promises them (CI) that is a failure.
func newSpace(t testing.TB) *netlab.Namespace {
	t.Helper()
	if !inband.HasCapability(netlab.Capabilities...) {
		if os.Getenv("CI") != "" {
			t.Fatal("CI without the capabilities for network namespaces")
		}
		t.Skip("needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: run as root")
	}
	n, err := netlab.NewNamespace()
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	must(t, n.SetUp("lo"))
	return n
}

// newHolders opens a Holders in a namespace.
func newHolders(t testing.TB, n *netlab.Namespace) (h *Holders) {
	t.Helper()
	must(t, n.Do(func() (err error) { h, err = Open(); return err }))
	t.Cleanup(func() { must(t, h.Close()) })
	return h
}

// hold holds a port that there must be.
func hold(t testing.TB, h *Holders, r Request) *Hold {
	t.Helper()
	d, e := h.Hold(r)
	if e != 0 {
		t.Fatalf("Hold(%+v): %v", r, e)
	}
	t.Cleanup(d.Close)
	return d
}

// udp opens an in-band UDP socket in a namespace, bound to an address.
func udp(t testing.TB, n *netlab.Namespace, local string) (u *inband.UDP) {
	t.Helper()
	must(t, n.Do(func() (err error) { u, err = inband.OpenUDP(netip.MustParseAddrPort(local)); return err }))
	t.Cleanup(func() { u.Close() })
	must(t, u.SetReadTimeout(patience))
	return u
}

// rooms returns n datagrams with room for the longest.
func rooms(n int) []Datagram {
	ds := make([]Datagram, n)
	for i := range ds {
		ds[i].Buffer = make([]byte, 65535)
	}
	return ds
}

// receive waits for n datagrams, sleeping on the descriptor, and returns them.
func receive(t testing.TB, h *Holders, n int) []Datagram {
	t.Helper()
	ds := rooms(n)
	got := 0
	for end := time.Now().Add(patience); got < n; {
		k := h.Receive(ds[got:])
		got += k
		if k > 0 {
			continue
		}
		if time.Now().After(end) {
			t.Fatalf("%d datagrams of %d", got, n)
		}
		await(h, time.Second)
	}
	return ds
}

// await sleeps until the descriptor is readable, and reports whether it is.
func await(h *Holders, d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(h.FD()), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, int(d/time.Millisecond))
	return n > 0
}

// none fails the test if a datagram waits. What was sent on this host has arrived when
// the call that sent it returns.
func none(t testing.TB, h *Holders) {
	t.Helper()
	if ds := rooms(1); h.Receive(ds) != 0 {
		t.Errorf("a datagram %q from %v by device %d was not expected", ds[0].payload(), ds[0].Source, ds[0].Device)
	}
}

// String is all but the payload.
func (d Datagram) String() string {
	type plain Datagram // without this method
	d.Buffer = nil
	return fmt.Sprintf("%+v", plain(d))
}

func (d *Datagram) payload() string { return string(d.Buffer[:min(d.Len, len(d.Buffer))]) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addrPort(a [4]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(a), port)
}

// A lab is two namespaces joined by veth devices: near, where the holders are, and far.
type lab struct {
	near, far *netlab.Namespace
	device    int32 // near0's index
}

var nearIP, farIP = [4]byte{10, 9, 0, 1}, [4]byte{10, 9, 0, 2}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{near: newSpace(t), far: newSpace(t)}
	must(t, l.near.AddVeth(netlab.Veth{Name: "near0", PeerName: "far0", Peer: l.far}))
	for _, end := range []struct {
		n    *netlab.Namespace
		name string
		ip   [4]byte
	}{{l.near, "near0", nearIP}, {l.far, "far0", farIP}} {
		must(t, end.n.AddAddress(end.name, netip.PrefixFrom(netip.AddrFrom4(end.ip), 24)))
		must(t, end.n.SetUp(end.name))
		must(t, end.n.AddLinkRoute(end.name, netip.MustParsePrefix("233.252.0.0/24")))
	}
	d, err := l.near.Device("near0")
	must(t, err)
	l.device = int32(d.Index)
	return l
}

// holdInChild holds a port of the namespace in which it was started, says which, and waits
// to be killed.
func holdInChild() {
	h, err := Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	d, e := h.Hold(Request{Local: [4]byte{127, 0, 0, 1}})
	fmt.Println(d.Port(), int(e))
	time.Sleep(time.Minute) // a test that died is no reason to stay longer
}

// self runs this test binary again in a namespace, to be holdInChild.
func self(t *testing.T, n *netlab.Namespace) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMark+"=1")
	return cmd
}
