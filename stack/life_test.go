package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// By a device that is down nothing leaves, whatever names it, its own address is still
// ours, and another route is taken; without a carrier all is as ever, and lost.
func TestDownAndNoCarrier(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	check(t, p.near.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("239.0.0.0/8"), Iface: p.nearIfc.Index(), Scope: ipv4.ScopeLink}))
	far, own, group := "10.9.0.2:9", "10.9.0.1:9", "239.1.1.1:9"
	try := func(what string, want map[string]error) {
		t.Helper()
		for to, err := range want {
			for _, device := range []int{0, p.nearIfc.Index()} {
				k := udpSocket(t, p.near, "")
				check(t, k.SetDevice(device))
				// Linux looks whether the device is up before it looks whose the address is.
				if to == own && device != 0 && what == "down" {
					err = unix.ENETUNREACH
				}
				if e := k.SendTo(nil, 0, NoDeadline, netip.MustParseAddrPort(to)); e != err {
					t.Errorf("%s: device %d, SendTo %s: %v, want %v", what, device, to, e, err)
				}
				if e := k.Connect(netip.MustParseAddrPort(to)); e != err {
					t.Errorf("%s: device %d, Connect to %s: %v, want %v", what, device, to, e, err)
				}
			}
		}
	}
	all := map[string]error{far: nil, own: nil, group: nil}
	try("up", all)
	p.nearEnd.SetUp(false)
	try("down", map[string]error{far: unix.ENETUNREACH, own: nil, group: unix.ENETUNREACH})
	p.nearEnd.SetUp(true)
	try("up again", all)
	p.farEnd.SetUp(false)
	lost := p.nearEnd.Stats().TxLost
	try("no carrier", all)
	if p.nearEnd.Stats().TxLost == lost || p.near.Stats().Get("LinkTxNoCarrier") == 0 {
		t.Error("nothing was counted as lost for want of a carrier")
	}
	p.farEnd.SetUp(true)
	try("with a carrier again", all)
}

// There is one name for a device, the present one.
func TestRename(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	old := p.nearIfc.Name()
	p.nearEnd.SetName("renamed")
	if p.nearIfc.Name() != "renamed" || p.near.InterfaceByName("renamed") != p.nearIfc || p.near.InterfaceByName(old) != nil {
		t.Errorf("the interface is %q", p.nearIfc.Name())
	}
}
