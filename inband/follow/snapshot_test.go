package follow

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSnapshotOfKinds reads devices of several kinds from the kernel.
func TestSnapshotOfKinds(t *testing.T) {
	l, far := uplinks(t)
	must(t, l.AddBridge("br0"))
	l.ip(`link add mac0 link up0 type macvlan
		tuntap add dev tun0 mode tun
		link set up1 master br0
		link set up0 arp off`)
	s := l.open().Snapshot()
	up0, br0 := l.index("up0"), l.index("br0")
	want := []Device{
		{Name: "lo", MTU: 65536, Up: true, Running: true, Loopback: true},
		{Name: "up0", Kind: "veth", MTU: 1500, Up: true, Running: true, Ethernet: true, NoARP: true},
		{Name: "up1", Kind: "veth", MTU: 1500, Up: true, Running: true, Ethernet: true, Master: br0},
		{Name: "br0", Kind: "bridge", MTU: 1500, Ethernet: true},
		{Name: "mac0", Kind: "macvlan", MTU: 1500, Ethernet: true, Lower: up0},
		{Name: "tun0", Kind: "tun", MTU: 1500, NoARP: true},
	}
	for _, w := range want {
		d, err := l.Device(w.Name)
		must(t, err)
		w.Index, w.MAC = int32(d.Index), d.HardwareAddr
		if got, _ := s.Device(w.Index); got != w {
			t.Errorf("%+v\nwant %+v", got, w)
		}
	}
	if err := s.CheckDevice(l.index("up1")); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "use br0") {
		t.Error(err)
	}
	// The other end's peer has an index of another namespace, which means nothing there.
	for _, d := range far.open().Snapshot().Devices {
		if d.Lower != 0 {
			t.Errorf("%+v", d)
		}
	}
}

// TestUsable has what this kernel need not have.
func TestUsable(t *testing.T) {
	ethernet := func(index int32, name, kind string, master int32) Device {
		return Device{Index: index, Name: name, Kind: kind, Master: master, Ethernet: true}
	}
	s := Snapshot{Devices: []Device{
		{Index: 1, Name: "lo", Loopback: true},
		ethernet(2, "eth0", "", 0),
		ethernet(3, "eth1", "", 10), // of a bond
		ethernet(4, "eth2", "", 11), // in a VRF
		ethernet(5, "eth3", "", 0),  // no address
		{Index: 6, Name: "tun0", Kind: "tun"},
		ethernet(10, "bond0", "bond", 0),
		ethernet(11, "red", "vrf", 0),
		ethernet(12, "eth4", "", 99), // its master is in another namespace
	}}
	for _, d := range s.Devices {
		if d.Name != "eth3" {
			s.Addresses = append(s.Addresses, Address{Device: d.Index, Prefix: netip.MustParsePrefix("10.0.0.1/24")})
		}
	}
	var names []string
	for _, d := range Usable(s) {
		names = append(names, d.Name)
	}
	if got := strings.Join(names, " "); got != "eth0 eth2 bond0 eth4" {
		t.Error(got)
	}
	for _, c := range []struct {
		index int32
		err   error
		says  string
	}{
		{1, nil, ""}, {2, nil, ""}, {3, unix.EINVAL, "use bond0"}, {4, nil, ""}, {5, nil, ""},
		{6, unix.EINVAL, "carries no Ethernet"}, {11, unix.EINVAL, "carries no Ethernet"}, {7, unix.ENODEV, ""},
	} {
		err := s.CheckDevice(c.index)
		if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d: %v, want %v", c.index, err, c.err)
		}
	}
}

// TestLongDumps has more addresses and neighbours than the kernel sends at once.
func TestLongDumps(t *testing.T) {
	l, _ := uplinks(t)
	const many = 1000
	var lines strings.Builder
	for i := range many {
		fmt.Fprintf(&lines, "addr add 10.20.%d.%d/32 dev lo\n", i>>8, i&0xff)
		fmt.Fprintf(&lines, "neigh add 10.0.%d.%d lladdr 02:00:00:00:00:01 dev up0\n", 100+i>>8, i&0xff)
	}
	l.storm(lines.String())
	k := l.open()
	if n := len(k.Snapshot().Addresses); n != many+5 {
		t.Errorf("%d addresses", n)
	}
	if all, err := k.Neighbours(); err != nil || len(all) != many {
		t.Errorf("%d neighbours, %v", len(all), err)
	}
}

// TestDumpAfterOneThatFailed has a buffer that is too short, and then one that is not.
func TestDumpAfterOneThatFailed(t *testing.T) {
	l, _ := uplinks(t)
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, "addr add 10.20.%d.%d/32 dev lo\n", i>>8, i&0xff)
	}
	l.storm(lines.String())
	k := l.open()
	k.dumping.Lock()
	defer k.dumping.Unlock()
	buf := k.dumper.buf
	k.dumper.buf = buf[:64]
	if errno := k.dumper.addresses(&Snapshot{}); errno != unix.EMSGSIZE {
		t.Error(errno)
	}
	k.dumper.buf = buf
	if s, errno := k.dumper.snapshot(); errno != 0 || len(s.Addresses) < 1000 {
		t.Errorf("%d addresses, %v", len(s.Addresses), errno)
	}
}
