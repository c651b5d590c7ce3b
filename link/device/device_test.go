package device

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/link"
)

// TestLife has a device go through what can happen to one.
func TestLife(t *testing.T) {
	near, far := newPair(t)
	f := newFake()
	f.caps = link.CapMark
	f.open(t, near, "near0", link.Promiscuous)
	f.mu.Lock()
	if f.let[Frames{Kind: All}] != 1 || len(f.passes) != 0 {
		t.Errorf("lets in %v, passes %v", f.let, f.passes)
	}
	f.mu.Unlock()
	d, err := near.Device("near0")
	must(t, err)
	want := link.Info{Name: "near0", Index: d.Index, MTU: d.MTU, HardwareAddr: d.HardwareAddr, State: link.Up, Caps: link.CapMark}
	f.mu.Lock()
	if got := f.dev.Info(); got != want || f.index != d.Index || f.name != "near0" {
		t.Errorf("%+v, held by index %d as %q", got, f.index, f.name)
	}
	f.mu.Unlock()

	must(t, near.SetDown("near0"))
	f.untilState(t, link.Down)
	must(t, near.SetUp("near0"))
	f.untilState(t, link.Up)
	must(t, far.SetDown("far0"))
	f.untilState(t, link.NoCarrier)
	must(t, far.SetUp("far0"))
	f.untilState(t, link.Up)
	must(t, near.SetMTU("near0", 1400))
	f.until(t, "at MTU 1400", func(i link.Info) bool { return i.MTU == 1400 })
	if n := f.dev.Reopened(); n != 0 {
		t.Errorf("reopened %d times", n)
	}

	must(t, near.DeleteDevice("near0"))
	f.untilState(t, link.Gone)
	if i := f.dev.Info(); i.Index != 0 || i.Name != "near0" || i.Caps != link.CapMark {
		t.Errorf("gone: %+v", i)
	}
	join(t, near, far)
	f.untilState(t, link.Up)
	f.mu.Lock()
	let := f.let[Frames{Kind: All}]
	f.mu.Unlock()
	if n := f.dev.Reopened(); n != 1 || let != 1 {
		t.Errorf("reopened %d times, lets in %d", n, let)
	}

	// Moved away and back, it may have the index that it had.
	must(t, near.MoveDevice("near0", far))
	f.untilState(t, link.Gone)
	must(t, far.MoveDevice("near0", near))
	f.untilState(t, link.Down)
	if n := f.dev.Reopened(); n != 2 {
		t.Errorf("reopened %d times", n)
	}
	f.end()
	if s := f.dev.State(); s != link.Gone {
		t.Errorf("ended: %v", s)
	}
}

// TestOtherDevices has others come and go, and one of the name that cannot be taken.
func TestOtherDevices(t *testing.T) {
	near, far := newPair(t)
	f := newFake()
	f.open(t, near, "near0")
	must(t, near.DeleteDevice("near0"))
	f.untilState(t, link.Gone)
	must(t, near.AddVeth(netlab.Veth{Name: "other0", PeerName: "peer0", Peer: far}))
	f.mu.Lock()
	f.refuse = unix.EPERM
	f.mu.Unlock()
	join(t, near, far)
	f.dev.Refresh()
	if s := f.dev.State(); s != link.Gone {
		t.Errorf("a device that could not be taken is %v", s)
	}
	f.mu.Lock()
	f.refuse = nil
	f.mu.Unlock()
	f.dev.Refresh()
	if i := f.dev.Info(); i.State != link.Up || i.Name != "near0" {
		t.Errorf("%+v", i)
	}
}

// TestCheckHeld has a holder find out by itself that the device is gone.
func TestCheckHeld(t *testing.T) {
	f := memory()
	told := 0
	f.dev.name = "near0"
	f.dev.SetNotify(func() { told++ })
	f.dev.CheckHeld()
	if s := f.dev.State(); s != link.Up || told != 0 {
		t.Fatalf("%v, told %d times", s, told)
	}
	f.held = func() int { return -1 }
	f.dev.CheckHeld()
	f.dev.CheckHeld()
	if s := f.dev.State(); s != link.Gone || told != 1 {
		t.Errorf("%v, told %d times", s, told)
	}
	f.dev.SetNotify(nil)
	f.dev.Tell()
	if told != 1 {
		t.Error("told after SetNotify(nil)")
	}
}

func TestOpenRefused(t *testing.T) {
	ns := newNamespace(t)
	must(t, ns.AddBridge("br0"))
	f := newFake()
	defer f.dev.Close()
	must(t, ns.Do(func() error {
		if err := f.dev.Open("none0", &f.mu, f); err != unix.ENODEV {
			t.Errorf("no device: %v", err)
		}
		return nil
	}))
	g := newFake()
	g.refuse = unix.EPERM
	must(t, ns.Do(func() error { return g.dev.Open("br0", &g.mu, g) }))
	if err := g.dev.Start(); err != unix.EPERM {
		t.Errorf("not to be taken: %v", err)
	}
	g.dev.Close()
}

// TestUnusable has a device that carries no Ethernet frames.
func TestUnusable(t *testing.T) {
	ns := newNamespace(t)
	fd := -1
	must(t, ns.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("tun0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}))
	defer unix.Close(fd)
	f := newFake()
	defer f.dev.Close()
	must(t, ns.Do(func() error {
		err := f.dev.Open("tun0", &f.mu, f)
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "Ethernet") {
			t.Errorf("got %v", err)
		}
		return nil
	}))
}

func TestLoopback(t *testing.T) {
	ns := newNamespace(t)
	must(t, ns.SetUp("lo"))
	f := newFake()
	f.caps = link.CapMark
	f.open(t, ns, "lo")
	for range 2 {
		if i := f.dev.Info(); i.Caps != link.CapLoopback|link.CapMark || i.State != link.Up {
			t.Errorf("%+v", i)
		}
		f.dev.Refresh()
	}
}

func TestStateOf(t *testing.T) {
	for flags, want := range map[uint32]link.State{
		0: link.Down, unix.IFF_LOWER_UP: link.Down, unix.IFF_UP: link.NoCarrier, unix.IFF_UP | unix.IFF_RUNNING: link.NoCarrier,
		unix.IFF_UP | unix.IFF_LOWER_UP: link.Up, unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_RUNNING: link.Up,
	} {
		if got := stateOf(flags); got != want {
			t.Errorf("%#x: %v, want %v", flags, got, want)
		}
	}
}

// TestConcerned gives the watcher messages of all sorts.
func TestConcerned(t *testing.T) {
	f := memory()
	f.dev.name = "near0"
	message := func(typ uint16, index byte, name string) syscall.NetlinkMessage {
		data := make([]byte, unix.SizeofIfInfomsg)
		data[4] = index
		if name != "" {
			attr := append([]byte{byte(4 + len(name) + 1), 0, unix.IFLA_IFNAME, 0}, name...)
			data = append(data, append(attr, make([]byte, 4-len(name)%4)...)...)
		}
		return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: typ}, Data: data}
	}
	for _, tt := range []struct {
		what string
		msg  syscall.NetlinkMessage
		want bool
	}{
		{"of the device", message(unix.RTM_NEWLINK, 1, "renamed"), true},
		{"of its end", message(unix.RTM_DELLINK, 1, "near0"), true},
		{"of another of its name", message(unix.RTM_NEWLINK, 7, "near0"), true},
		{"of another", message(unix.RTM_NEWLINK, 7, "other0"), false},
		{"of an address", message(unix.RTM_NEWADDR, 1, "near0"), false},
		{"too short", syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWLINK}, Data: make([]byte, unix.SizeofIfInfomsg-1)}, false},
	} {
		if got := f.dev.concerned([]syscall.NetlinkMessage{tt.msg}); got != tt.want {
			t.Errorf("%s: %t", tt.what, got)
		}
	}
}

// TestHeldDeviceIsNotThere has a holder that does not know yet: the next of the name is
// taken. If the kernel does not answer, all stays.
func TestHeldDeviceIsNotThere(t *testing.T) {
	near, _ := newPair(t)
	f := newFake()
	f.open(t, near, "near0")
	before := f.dev.Info()
	f.mu.Lock()
	f.held = func() int { return before.Index + 1000 }
	f.mu.Unlock()
	f.dev.Refresh()
	if n := f.dev.Reopened(); n != 1 || f.dev.Info() != before {
		t.Errorf("reopened %d times, %+v", n, f.dev.Info())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = nil
	f.dev.queries.Close() // it would open another socket, for which there is no descriptor
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}))
	changed := f.dev.RefreshLocked()
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	if changed || f.dev.Info() != before {
		t.Errorf("without an answer: %+v", f.dev.Info())
	}
}
