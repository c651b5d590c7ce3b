package host

import (
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	bpflink "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// A frame leaves by the device that it names, though the route is another, and by rules for
// its mark, its source and its service.
func TestRoute(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	tun := lb.tun(t)
	index := func(name string) int32 { d, err := lb.near.Device(name); must(t, err); return int32(d.Index) }
	blackhole(t, lb.near, netip.MustParsePrefix("203.0.113.0/24"))
	alternative(t, lb.near, int(index("tun0")))
	frame := func(src ipv4.Addr, tos uint8) []byte {
		f := datagram(src, ipv4.Addr{203, 0, 113, 1}, 8, 7, "x")
		f[15] = tos
		return f
	}
	other := ipv4.Addr{10, 9, 0, 77}
	must(t, lb.near.AddAddress("lo", netip.PrefixFrom(netip.AddrFrom4(other), 32)))
	buf := make([]byte, 100)
	for name, f := range map[string]link.TxFrame{
		"mark":    {Data: frame(nearIP, 0), Mark: 5},
		"source":  {Data: frame(other, 0)},
		"service": {Data: frame(nearIP, 0x10)},
		"device":  {Data: frame(nearIP, 0), Device: index("tun0")},
	} {
		if _, err := k.SendBatch([]link.TxFrame{f}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := tun.Read(buf); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := k.Send(frame(nearIP, 0)); err != unix.EINVAL {
		t.Errorf("none of them: %v", err) // blackhole
	}
	far := udp(t, lb.far, "0.0.0.0:7")
	for _, device := range []int32{1, lb.device} {
		f := link.TxFrame{Data: datagram(nearIP, ipv4.LimitedBroadcast, 8, 7, "all"), Device: device}
		if n, err := k.SendBatch([]link.TxFrame{f}); n != 1 || err != nil {
			t.Errorf("broadcast by device %d: %v", device, err)
		}
		if _, err := far.Recv(buf, unix.MSG_DONTWAIT); (err == nil) != (device == lb.device) {
			t.Errorf("broadcast by device %d: far: %v", device, err)
		}
	}
}

// blackhole adds a route to nowhere.
func blackhole(t *testing.T, n *netlab.Namespace, to netip.Prefix) {
	t.Helper()
	must(t, n.Do(func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(to), Type: unix.RTN_BLACKHOLE})
	}))
}

// alternative has datagrams of a mark, a source and a service leave by a device.
func alternative(t *testing.T, n *netlab.Namespace, index int) {
	t.Helper()
	must(t, n.Do(func() error {
		all := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		if err := netlink.RouteAdd(&netlink.Route{Dst: all, LinkIndex: index, Table: 100, Scope: netlink.SCOPE_LINK}); err != nil {
			return err
		}
		for i, set := range []func(*netlink.Rule){
			func(r *netlink.Rule) { r.Mark = 5 },
			func(r *netlink.Rule) { r.Src = ipNet(netip.MustParsePrefix("10.9.0.77/32")) },
			func(r *netlink.Rule) { r.Tos = 0x10 },
		} {
			r := netlink.NewRule()
			r.Table, r.Priority = 100, 50+i
			set(r)
			if err := netlink.RuleAdd(r); err != nil {
				return err
			}
		}
		return nil
	}))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// What the kernel refuses an in-band socket it refuses a frame, with the same errno; what
// was sent before it in a batch was sent, and is counted so.
func TestErrnosAsInBand(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	blackhole(t, lb.near, netip.MustParsePrefix("203.0.113.0/24"))
	server := udp(t, lb.near, "127.0.0.1:7")
	u := udp(t, lb.near, "10.9.0.1:0")
	must(t, u.SetOption(unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE))
	for _, tt := range []struct {
		dst    ipv4.Addr
		length int
	}{
		{farIP, 1472}, {farIP, 1473}, {ipv4.Addr{192, 0, 2, 1}, 1}, {ipv4.Addr{203, 0, 113, 1}, 1},
		{localhost, 65507}, {ipv4.Addr{240, 0, 0, 1}, 1}, {ipv4.Addr{10, 9, 0, 0}, 1},
	} {
		var want error
		if err := u.SendTo(make([]byte, tt.length), addrPort(tt.dst, 9)); err != nil {
			want = err
		}
		f := datagram(nearIP, tt.dst, portOf(t, u), 9, string(make([]byte, tt.length)))
		before := k.Stats()
		ok := link.TxFrame{Data: datagram(localhost, localhost, 8, 7, "before")}
		n, err := k.SendBatch([]link.TxFrame{ok, ok, {Data: f}, ok})
		after := k.Stats()
		wantSent, wantErrors := 4, uint64(0)
		if want != nil {
			wantSent, wantErrors = 2, 1
		}
		if err != want || n != wantSent {
			t.Errorf("%v, %d bytes: %d, %v; in-band %v", tt.dst, tt.length, n, err, want)
		}
		for range n - 1 + int(wantErrors) {
			if _, err := server.Recv(make([]byte, 10), unix.MSG_DONTWAIT); err != nil {
				t.Errorf("what was sent beside it: %v", err)
			}
		}
		if after.TxFrames-before.TxFrames != uint64(n) || after.TxErrors-before.TxErrors != wantErrors {
			t.Errorf("%d frames and %d errors are counted", after.TxFrames-before.TxFrames, after.TxErrors-before.TxErrors)
		}
	}
}

// What netfilter drops on its way out is refused as in-band.
func TestNetfilter(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	u := udp(t, lb.near, "127.0.0.1:7")
	const localOut, drop = 3, 0 // NF_INET_LOCAL_OUT, NF_DROP
	var rule bpflink.Link
	err := lb.near.Do(func() error {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Netfilter, AttachType: ebpf.AttachNetfilter, License: "Apache-2.0",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, drop), asm.Return()}})
		if err != nil {
			return err
		}
		defer p.Close()
		rule, err = bpflink.AttachNetfilter(bpflink.NetfilterOptions{Program: p, ProtocolFamily: unix.AF_INET, HookNumber: localOut, Priority: 1})
		return err
	})
	if err != nil {
		t.Skip("no netfilter program to be had (before Linux 6.4, or without CAP_BPF): ", err)
	}
	f := datagram(localhost, localhost, 7, 7, "x")
	want := u.SendTo([]byte("x"), addrPort(localhost, 7))
	if err := k.Send(f); want == nil || err != want {
		t.Errorf("%v, in-band %v", err, want)
	}
	must(t, rule.Close())
	must(t, k.Send(f))
}
