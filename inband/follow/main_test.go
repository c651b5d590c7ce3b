package follow

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// needLab skips a test that needs namespaces where there can be none; on a
// machine that promises them (CI) that is a failure.
func needLab(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("ip")
	if err == nil && inband.HasCapability(netlab.Capabilities...) {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("CI without ip(8) or the capabilities for network namespaces")
	}
	t.Skip("needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW, and ip(8): run as root")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A lab is a network namespace that a Kernel follows.
type lab struct {
	*netlab.Namespace
	t testing.TB
}

func newLab(t testing.TB) *lab {
	t.Helper()
	needLab(t)
	n, err := netlab.NewNamespace()
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	l := &lab{n, t}
	l.ip("link set lo up")
	return l
}

// command runs a program in the namespace.
func (l *lab) command(name string, args ...string) ([]byte, error) {
	var out []byte
	err := l.Do(func() (err error) {
		out, err = exec.Command(name, args...).Output()
		return err
	})
	return out, err
}

// ip runs ip(8) with each line of commands; "#" begins a comment.
func (l *lab) ip(commands string) {
	l.t.Helper()
	for line := range strings.Lines(commands) {
		line, _, _ = strings.Cut(line, "#")
		if args := strings.Fields(line); len(args) > 0 {
			if _, err := l.command("ip", args...); err != nil {
				l.t.Fatalf("ip %s: %s", line, said(err))
			}
		}
	}
}

func said(err error) string {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return err.Error()
}

// open follows the namespace's kernel until the test ends.
func (l *lab) open() *Kernel {
	l.t.Helper()
	var k *Kernel
	must(l.t, l.Do(func() (err error) { k, err = Open(); return err }))
	l.t.Cleanup(k.Close)
	return k
}

// index returns the index of a device.
func (l *lab) index(name string) int32 {
	l.t.Helper()
	d, err := l.Device(name)
	must(l.t, err)
	return int32(d.Index)
}

// uplinks makes two pairs of veth devices to a namespace of routers: up0 with 10.0.0.1/24
// and up1 with 10.1.0.1/24, where the other end has .2.
func uplinks(t testing.TB) (l, far *lab) {
	t.Helper()
	l, far = newLab(t), newLab(t)
	for i, name := range []string{"up0", "up1"} {
		peer := "far" + name[2:]
		must(t, l.AddVeth(netlab.Veth{Name: name, PeerName: peer, Peer: far.Namespace}))
		net := netip.AddrFrom4([4]byte{10, byte(i), 0, 1})
		must(t, l.AddAddress(name, netip.PrefixFrom(net, 24)))
		must(t, far.AddAddress(peer, netip.PrefixFrom(net.Next(), 24)))
		must(t, l.SetUp(name))
		must(t, far.SetUp(peer))
		l.carrier(name, true)
	}
	l.ip("addr add 10.0.0.9/24 dev up0 \n addr add 192.0.2.1/32 dev lo")
	return l, far
}

// carrier waits until a device has a carrier, or has none.
func (l *lab) carrier(name string, want bool) {
	l.t.Helper()
	eventually(l.t, name+"'s carrier", func() bool {
		d, err := l.Device(name)
		return err == nil && d.Running == want
	})
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 5 s", what)
		}
	}
}
