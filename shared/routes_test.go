package shared

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// soon is how long a change of the kernel's may take until the stack goes by it. It is
// 100 ms, but for a machine that is busy with other things.
const soon = 5 * time.Second

// eventually calls f until it returns true, or soon is over.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(soon); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within %v: %s", soon, what)
		}
	}
}

// errnoOfSend returns what a send to an address says.
func (w *world) errnoOfSend(k *stack.UDPSocket, to string) error {
	return k.SendTo([]byte("x"), 0, w.st.Deadline(time.Second), netip.MustParseAddrPort(to))
}

// Routes are the kernel's, as they are now: prohibit, unreachable, blackhole, and none.
func TestRoutesAreTheKernels(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	k := w.socket("0.0.0.0:7")
	for _, c := range []struct {
		kind string
		want unix.Errno
	}{{"prohibit", unix.EACCES}, {"unreachable", unix.EHOSTUNREACH}, {"blackhole", unix.EINVAL}} {
		w.ip("route", "add", c.kind, "192.0.2.0/24")
		w.eventually(c.kind, func() bool { return w.errnoOfSend(k, "192.0.2.1:9") == c.want })
		w.ip("route", "del", c.kind, "192.0.2.0/24")
		w.eventually("no route", func() bool { return w.errnoOfSend(k, "192.0.2.1:9") == unix.ENETUNREACH })
	}
	w.ip("route", "add", "default", "via", "10.9.0.2")
	w.eventually("a default route", func() bool { return w.errnoOfSend(k, "192.0.2.1:9") == nil })
}

// ip calls ip(8) at the near end.
func (w *world) ip(args ...string) { w.t.Helper(); runIn(w.t, w.Near().Namespace, "ip", args...) }

// A rule and a mark choose the route, and the source that goes with it.
func TestRuleAndMark(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	w.ip("address", "add", "10.9.0.77/32", "dev", "near0")
	w.ip("route", "add", "192.0.2.0/24", "via", "10.9.0.2", "src", "10.9.0.77", "table", "7")
	w.ip("rule", "add", "fwmark", "5", "table", "7")
	k := w.socket("")
	k.Sending().SetMark(5)
	w.eventually("connects by the rule", func() bool { return k.Connect(netip.MustParseAddrPort("192.0.2.1:9")) == nil })
	if got := k.LocalAddr().Addr().String(); got != "10.9.0.77" {
		t.Errorf("from %s", got)
	}
	if err := w.errnoOfSend(w.socket(""), "192.0.2.1:9"); err != unix.ENETUNREACH {
		t.Errorf("without the mark: %v", err)
	}
}

// A link that goes down and comes back, another MTU, another name: the stack goes along.
func TestDeviceChanges(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		ours, client := w.socket("0.0.0.0:7"), w.Far().UDP(t, 5000)
		to := addrPort(w.Far(), 5000).String()
		w.ip("link", "set", "near0", "down")
		w.eventually("down", func() bool { return w.errnoOfSend(ours, to) == unix.ENETUNREACH })
		w.ip("link", "set", "near0", "up")
		w.eventually("up", func() bool { return w.errnoOfSend(ours, to) == nil })
		recvInBand(t, client)
		w.ip("link", "set", "near0", "mtu", "1200")
		w.eventually("another MTU", func() bool {
			k := w.socket("")
			defer k.Close()
			check(t, k.Connect(netip.MustParseAddrPort(to)))
			mtu, _ := k.PathMTU()
			return mtu == 1200
		})
		w.ip("link", "set", "near0", "name", "other0")
		check(t, client.SendTo([]byte("renamed"), addrPort(w.Near(), 7)))
		if got, _ := w.recv(ours); got != "renamed" {
			t.Errorf("%q", got)
		}
		w.eventually("another name", func() bool { return w.st.InterfaceByName("other0") != nil })
	})
}

// A device that is deleted and made again has a ring again.
func TestDeviceMadeAnew(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		ours := w.socket("0.0.0.0:7")
		check(t, w.Near().DeleteDevice("near0"))
		w.eventually("gone", func() bool { return w.st.InterfaceByName("near0") == nil })
		near, far := w.Near(), w.Far()
		check(t, near.AddVeth(netlab.Veth{Name: near.Name, PeerName: far.Name, Peer: far.Namespace, MTU: 1500}))
		for _, e := range []*lab.Endpoint{near, far} {
			check(t, e.AddAddress(e.Name, netip.PrefixFrom(e.Addr, lab.Bits)))
			check(t, e.SetUp(e.Name))
		}
		w.eventually("back", func() bool { return w.st.InterfaceByName("near0") != nil })
		client := far.UDP(t, 0)
		before := counters(t, near)
		w.eventually("receives", func() bool {
			check(t, client.SendTo([]byte("x"), addrPort(near, 7)))
			b := make([]byte, 16)
			_, _, err := ours.Recv(b, 0, w.st.Deadline(50*time.Millisecond))
			return err == nil
		})
		if g := grown(before, counters(t, near), "UdpNoPorts"); g != "" {
			t.Errorf("the kernel has counted %s", g)
		}
	})
}

// A neighbour with another hardware address is found again; what the administrator says of
// neighbours holds.
func TestNeighbours(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	ours, client := w.socket("0.0.0.0:7"), w.Far().UDP(t, 5000)
	check(t, ours.SendTo([]byte("1"), 0, stack.NoDeadline, addrPort(w.Far(), 5000)))
	recvInBand(t, client)
	mac := [6]byte{2, 0, 0, 0, 0, 0x99}
	check(t, w.Far().SetHardwareAddr("far0", mac)) // the kernel tells by a gratuitous ARP, or is asked
	w.ip("neigh", "replace", "10.9.0.2", "lladdr", "02:00:00:00:00:99", "dev", "near0", "nud", "permanent")
	w.eventually("the new address", func() bool {
		check(t, ours.SendTo([]byte("2"), 0, stack.NoDeadline, addrPort(w.Far(), 5000)))
		check(t, client.SetReadTimeout(20*time.Millisecond))
		b := make([]byte, 8)
		_, _, err := client.RecvFrom(b, 0)
		return err == nil
	})
	w.eventually("permanent", func() bool {
		for _, n := range w.st.Neighbours() {
			if n.Addr == ([4]byte{10, 9, 0, 2}) && n.State.String() == "PERMANENT" && n.MAC == mac {
				return true
			}
		}
		return false
	})
	w.ip("neigh", "del", "10.9.0.2", "dev", "near0")
	w.eventually("forgotten", func() bool {
		for _, n := range w.st.Neighbours() {
			if n.Addr == ([4]byte{10, 9, 0, 2}) && n.State.String() == "PERMANENT" {
				return false
			}
		}
		return true
	})
}

// An address that the kernel gets later is the stack's too, and one that goes is not.
func TestAddressesAreFollowed(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		ours, client := w.socket("0.0.0.0:7"), w.Far().UDP(t, 0)
		check(t, w.Far().AddLinkRoute("far0", netip.MustParsePrefix("198.51.100.0/24")))
		w.ip("address", "add", "198.51.100.1/24", "dev", "near0")
		to := netip.MustParseAddrPort("198.51.100.1:7")
		b := make([]byte, 16)
		w.eventually("the new address", func() bool {
			check(t, client.SendTo([]byte("x"), to))
			_, _, err := ours.Recv(b, 0, w.st.Deadline(20*time.Millisecond))
			return err == nil
		})
		specific := w.socket("198.51.100.1:8")
		w.ip("address", "del", "198.51.100.1/24", "dev", "near0")
		w.eventually("gone", func() bool {
			k, err := w.st.NewUDPSocket()
			check(t, err)
			defer k.Close()
			return k.Bind(netip.MustParseAddrPort("198.51.100.1:9")) == unix.EADDRNOTAVAIL
		})
		if got := specific.LocalAddr().String(); got != "198.51.100.1:8" {
			t.Errorf("a socket has lost its address: %s", got)
		}
	})
}

// An address on lo counts, as everywhere on Linux (the weak host model).
func TestWeakHost(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.ip("address", "add", "198.51.100.1/32", "dev", "lo")
		check(t, w.Far().AddRoute(netip.MustParsePrefix("198.51.100.1/32"), w.Near().Addr))
		ours, client := w.socket("198.51.100.1:7"), w.Far().UDP(t, 0)
		b := make([]byte, 16)
		w.eventually("received", func() bool {
			check(t, client.SendTo([]byte("x"), netip.MustParseAddrPort("198.51.100.1:7")))
			_, _, err := ours.Recv(b, 0, w.st.Deadline(20*time.Millisecond))
			return err == nil
		})
	})
}

// What the kernel knows when Open is called, the stack knows when it returns.
func TestOpenKnows(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.All})
	runIn(t, l.Near().Namespace, "ip", "neigh", "replace", "10.9.0.2", "lladdr", "02:00:00:00:00:99", "dev", "near0", "nud", "permanent")
	for range 20 {
		w := worldOf(t, l, Config{Devices: []string{"near0"}})
		if all := w.st.Neighbours(); len(all) != 1 || all[0].MAC != [6]byte{2, 0, 0, 0, 0, 0x99} {
			t.Fatalf("%+v", all)
		}
		check(t, w.host.Close())
	}
}
