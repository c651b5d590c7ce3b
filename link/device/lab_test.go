package device

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; none is expected to take it.
const patience = 10 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newNamespace makes a namespace, where that is permitted: as root, and so in CI.
func newNamespace(t *testing.T) *netlab.Namespace {
	t.Helper()
	n, err := netlab.NewNamespace()
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
		t.Skip("needs CAP_SYS_ADMIN: run as root")
	}
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

// newPair makes two namespaces joined by near0 and far0, both up.
func newPair(t *testing.T) (near, far *netlab.Namespace) {
	t.Helper()
	near, far = newNamespace(t), newNamespace(t)
	join(t, near, far)
	return near, far
}

// join makes near0 and far0, and sets them up.
func join(t *testing.T, near, far *netlab.Namespace) {
	t.Helper()
	must(t, near.AddVeth(netlab.Veth{Name: "near0", PeerName: "far0", Peer: far}))
	must(t, near.SetUp("near0"))
	must(t, far.SetUp("far0"))
}

// A fake is a link that carries nothing: it notes what its Device has it do.
type fake struct {
	dev Device

	mu         sync.Mutex
	held       func() int // what Held returns, nil: what Take took
	index      int        // that Take took last
	name       string
	let        map[Frames]int // what the device at index lets in, and how often it was asked
	passes     []link.Mode
	refuseAt   map[Kind]error
	refuse     error // what Take returns
	refusePass error
	fd         int // a socket that is bound to the device, 0: none
	caps       link.Caps
	tookLet    int // len(let) when Take was called
}

func newFake() *fake { return &fake{let: map[Frames]int{}, refuseAt: map[Kind]error{}} }

func (f *fake) Held() int {
	if f.held != nil {
		return f.held()
	}
	if f.fd == 0 {
		return f.index
	}
	name, err := unix.Getsockname(f.fd)
	if err != nil {
		return 0
	}
	return name.(*unix.SockaddrLinklayer).Ifindex
}

func (f *fake) Take(index int, name string) error {
	if f.refuse != nil {
		return f.refuse
	}
	if f.fd != 0 {
		if err := unix.Bind(f.fd, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL << 8, Ifindex: index}); err != nil {
			return err
		}
	}
	f.index, f.name, f.tookLet = index, name, len(f.let)
	return nil
}

func (f *fake) Admit(index int, what Frames, on bool) error {
	if err := f.refuseAt[what.Kind]; err != nil && on {
		return err
	}
	if !on {
		if f.let[what]--; f.let[what] == 0 {
			delete(f.let, what)
		}
		return nil
	}
	if index != f.index { // another one is told of all anew
		clear(f.let)
		f.index = index
	}
	f.let[what]++
	return nil
}

func (f *fake) Pass(m link.Mode, on bool) error {
	if f.refusePass != nil {
		return f.refusePass
	}
	if on {
		f.passes = append(f.passes, m)
		return nil
	}
	f.passes = slices.DeleteFunc(f.passes, func(p link.Mode) bool { return p == m })
	return nil
}

func (f *fake) Caps(link.Info) link.Caps { return f.caps }

// memory returns a fake with a device that is in no kernel, held under index 1.
func memory() *fake {
	f := newFake()
	f.dev.mu, f.dev.holder, f.dev.quit = &f.mu, f, make(chan struct{})
	f.dev.groups.joined = map[link.MAC]group{}
	f.dev.info.Store(&link.Info{Name: "near0", Index: 1, State: link.Up})
	f.index = 1
	return f
}

// open opens a fake's device in a namespace. Its Held asks the kernel, by a socket that
// is bound to the device.
func (f *fake) open(t *testing.T, ns *netlab.Namespace, name string, on ...link.Mode) {
	t.Helper()
	must(t, ns.Do(func() (err error) {
		if f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return f.dev.Open(name, &f.mu, f, on...)
	}))
	t.Cleanup(f.end)
	must(t, f.dev.Start())
}

// end ends the device, once.
func (f *fake) end() {
	f.mu.Lock()
	ended := f.dev.ended
	if !ended {
		f.dev.EndLocked()
	}
	f.mu.Unlock()
	if !ended {
		f.dev.Tell()
		f.dev.Close()
		unix.Close(f.fd)
	}
}

// until waits until the device is as ok says.
func (f *fake) until(t *testing.T, what string, ok func(link.Info) bool) {
	t.Helper()
	changed := make(chan struct{}, 1)
	f.dev.SetNotify(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	for timeout := time.After(patience); !ok(f.dev.Info()); {
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("not %s: %+v", what, f.dev.Info())
		}
	}
}

func (f *fake) untilState(t *testing.T, s link.State) {
	t.Helper()
	f.until(t, s.String(), func(i link.Info) bool { return i.State == s })
}
