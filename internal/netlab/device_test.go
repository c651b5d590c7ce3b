package netlab

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	nearMAC = [6]byte{2, 0, 0, 0, 0, 1}
	farMAC  = [6]byte{2, 0, 0, 0, 0, 2}
)

// pair makes two namespaces joined by near0 and far0, both down.
func pair(t *testing.T) (near, far *Namespace) {
	t.Helper()
	near, far = newNamespaceT(t), newNamespaceT(t)
	must(t, near.AddVeth(Veth{Name: "near0", PeerName: "far0", Peer: far, MTU: 1400, MAC: nearMAC, PeerMAC: farMAC}))
	return near, far
}

// joined is pair with both devices up and addressed.
func joined(t *testing.T) (near, far *Namespace) {
	t.Helper()
	near, far = pair(t)
	must(t, near.AddAddress("near0", netip.MustParsePrefix("10.9.0.1/24")))
	must(t, far.AddAddress("far0", netip.MustParsePrefix("10.9.0.2/24")))
	must(t, near.SetUp("near0"))
	must(t, far.SetUp("far0"))
	return near, far
}

func TestVeth(t *testing.T) {
	near, far := pair(t)
	for _, end := range []struct {
		ns   *Namespace
		name string
		mac  [6]byte
	}{{near, "near0", nearMAC}, {far, "far0", farMAC}} {
		d, err := end.ns.Device(end.name)
		must(t, err)
		if d.Name != end.name || d.Index == 0 || d.MTU != 1400 || d.HardwareAddr != end.mac || d.Kind != "veth" {
			t.Errorf("%s: %+v", end.name, d)
		}
		if d.Up || d.Running {
			t.Errorf("%s is up at birth", end.name)
		}
		var ipv6 []byte
		must(t, end.ns.Do(func() (err error) {
			ipv6, err = os.ReadFile("/proc/sys/net/ipv6/conf/" + end.name + "/disable_ipv6")
			return err
		}))
		if got := strings.TrimSpace(string(ipv6)); got != "1" && got != "" {
			t.Errorf("%s: disable_ipv6 is %q", end.name, got)
		}
	}
}

func TestUpAndDown(t *testing.T) {
	near, far := pair(t)
	must(t, near.SetUp("near0"))
	if d, _ := near.Device("near0"); !d.Up || d.Running {
		t.Errorf("one end up: %+v", d)
	}
	must(t, far.SetUp("far0"))
	if d, _ := near.Device("near0"); !d.Up || !d.Running {
		t.Errorf("both ends up: %+v", d)
	}
	must(t, near.SetDown("near0"))
	if d, _ := near.Device("near0"); d.Up {
		t.Errorf("set down: %+v", d)
	}
}

func TestChangeDevice(t *testing.T) {
	near, _ := pair(t)
	must(t, near.SetMTU("near0", 9000))
	must(t, near.SetHardwareAddr("near0", [6]byte{2, 0, 0, 0, 0, 9}))
	d, err := near.Device("near0")
	must(t, err)
	if d.MTU != 9000 || d.HardwareAddr != ([6]byte{2, 0, 0, 0, 0, 9}) {
		t.Errorf("%+v", d)
	}
}

func TestMoveAndDelete(t *testing.T) {
	near, far := pair(t)
	third := newNamespaceT(t)
	must(t, near.MoveDevice("near0", third))
	if _, err := near.Device("near0"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("moved away: %v", err)
	}
	must(t, third.DeleteDevice("near0"))
	if _, err := far.Device("far0"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("its peer was deleted: %v", err)
	}
}

func TestNoDevice(t *testing.T) {
	n := newNamespaceT(t)
	calls := map[string]func() error{
		"Device":          func() error { _, err := n.Device("none0"); return err },
		"SetUp":           func() error { return n.SetUp("none0") },
		"SetMTU":          func() error { return n.SetMTU("none0", 1500) },
		"AddAddress":      func() error { return n.AddAddress("none0", netip.MustParsePrefix("10.0.0.1/8")) },
		"DeleteDevice":    func() error { return n.DeleteDevice("none0") },
		"Addresses":       func() error { _, err := n.Addresses("none0"); return err },
		"FlushNeighbours": func() error { return n.FlushNeighbours("none0") },
	}
	for name, call := range calls {
		err := call()
		if !errors.Is(err, unix.ENODEV) || !strings.HasPrefix(err.Error(), "none0: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	near, _ := pair(t)
	want := netip.MustParsePrefix("10.9.0.1/24")
	must(t, near.AddAddress("near0", want))
	got, err := near.Addresses("near0")
	must(t, err)
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %v", got)
	}
	if err := near.AddAddress("near0", want); !errors.Is(err, unix.EEXIST) {
		t.Errorf("again: %v", err)
	}
	must(t, near.RemoveAddress("near0", want))
	if got, _ := near.Addresses("near0"); len(got) != 0 {
		t.Errorf("removed: %v", got)
	}
}

func TestRouteNeedsGatewayInReach(t *testing.T) {
	near, _ := joined(t)
	if err := near.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.9.0.2")); err != nil {
		t.Error(err)
	}
	err := near.AddRoute(netip.MustParsePrefix("10.8.0.0/16"), netip.MustParseAddr("172.16.0.1"))
	if err == nil {
		err = near.AddRoute(netip.MustParsePrefix("10.7.0.0/16"), netip.MustParseAddr("127.0.0.1"))
	}
	if err == nil {
		t.Error("a gateway out of reach was taken")
	}
}

func TestBridgeJoinsThree(t *testing.T) {
	hub := newNamespaceT(t)
	must(t, hub.AddBridge("br0"))
	must(t, hub.SetUp("br0"))
	var ends []*Namespace
	for i := range 3 {
		end := newNamespaceT(t)
		port := "port" + string(rune('0'+i))
		must(t, end.AddVeth(Veth{Name: "end0", PeerName: port, Peer: hub}))
		must(t, hub.AddPort("br0", port))
		must(t, hub.SetUp(port))
		must(t, end.AddAddress("end0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}), 24)))
		must(t, end.SetUp("end0"))
		ends = append(ends, end)
	}
	for i := range 3 {
		exchange(t, ends[i], ends[(i+1)%3], netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}), netip.AddrFrom4([4]byte{10, 9, 0, byte((i+1)%3 + 1)}))
	}
}

func TestNeighbours(t *testing.T) {
	near, far := joined(t)
	far1 := netip.MustParseAddr("10.9.0.2")
	exchange(t, near, far, netip.MustParseAddr("10.9.0.1"), far1)
	all, err := near.Neighbours("near0")
	must(t, err)
	if len(all) != 1 || all[0].Addr != far1 || all[0].MAC != farMAC || all[0].State == "NONE" {
		t.Errorf("after an exchange: %+v", all)
	}
	must(t, near.FlushNeighbours("near0"))
	if all, _ := near.Neighbours("near0"); len(all) != 0 {
		t.Errorf("after a flush: %+v", all)
	}
	must(t, near.SetNeighbour("near0", far1, farMAC))
	if all, _ := near.Neighbours("near0"); len(all) != 1 || all[0].State != "PERMANENT" {
		t.Errorf("after SetNeighbour: %+v", all)
	}
}

func TestStateName(t *testing.T) {
	for state, want := range map[int]string{0: "NONE", 1: "INCOMPLETE", 2: "REACHABLE", 4: "STALE", 8: "DELAY",
		16: "PROBE", 32: "FAILED", 64: "NOARP", 128: "PERMANENT"} {
		if got := stateName(state); got != want {
			t.Errorf("%d: %s, want %s", state, got, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	n := newNamespaceT(t)
	data, err := n.ReadFile("net/snmp")
	must(t, err)
	if !strings.Contains(string(data), "Udp: InDatagrams") {
		t.Errorf("net/snmp: %q", data)
	}
}
