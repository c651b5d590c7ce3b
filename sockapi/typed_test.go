package sockapi

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTypedOptions sets each and reads it by its number, out-of-band and in-band.
func TestTypedOptions(t *testing.T) {
	for name, typ := range map[string]int{"out-of-band": SOCK_OOB, "in-band": 0} {
		t.Run(name, func(t *testing.T) {
			s := evlSocket(t, newAPI(t), typ, localIP)
			on := func(set func(bool) error) func() error { return func() error { return set(true) } }
			to := func(set func(int) error, v int) func() error { return func() error { return set(v) } }
			for _, tt := range []struct {
				name          string
				set           func() error
				level, option int
				want          int
			}{
				{"SetReadBuffer", to(s.SetReadBuffer, 5000), unix.SOL_SOCKET, unix.SO_RCVBUF, 10000},
				{"SetWriteBuffer", to(s.SetWriteBuffer, 5000), unix.SOL_SOCKET, unix.SO_SNDBUF, 10000},
				{"SetBroadcast", on(s.SetBroadcast), unix.SOL_SOCKET, unix.SO_BROADCAST, 1},
				{"SetReuseAddr", on(s.SetReuseAddr), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
				{"SetTTL", to(s.SetTTL, 7), unix.SOL_IP, unix.IP_TTL, 7},
				{"SetTOS", to(s.SetTOS, 8), unix.SOL_IP, unix.IP_TOS, 8},
				{"SetMulticastTTL", to(s.SetMulticastTTL, 9), unix.SOL_IP, unix.IP_MULTICAST_TTL, 9},
				{"SetMulticastLoopback", func() error { return s.SetMulticastLoopback(false) }, unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0},
			} {
				if err := tt.set(); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
				if v, err := s.GetsockoptInt(tt.level, tt.option); v != tt.want || err != nil {
					t.Errorf("%s: %d, %v, want %d", tt.name, v, err, tt.want)
				}
			}
			for name, get := range map[string]func() (int, error){"TTL": s.TTL, "TOS": s.TOS, "MulticastTTL": s.MulticastTTL} {
				if v, err := get(); v != map[string]int{"TTL": 7, "TOS": 8, "MulticastTTL": 9}[name] || err != nil {
					t.Errorf("%s: %d, %v", name, v, err)
				}
			}
			if loop, err := s.MulticastLoopback(); loop || err != nil {
				t.Errorf("MulticastLoopback: %v, %v", loop, err)
			}
		})
	}
}

// TestGroupCalls joins and leaves by each call, with the errnos of Linux.
func TestGroupCalls(t *testing.T) {
	group, ssm := netip.MustParseAddr("239.1.2.3"), netip.MustParseAddr("232.1.2.3")
	source, other := netip.MustParseAddr("10.9.0.7"), netip.MustParseAddr("10.9.0.8")
	const lo = 1
	for name, typ := range map[string]int{"out-of-band": SOCK_OOB, "in-band": 0} {
		t.Run(name, func(t *testing.T) {
			s := evlSocket(t, newAPI(t), typ, localIP)
			for i, tt := range []struct{ got, want error }{
				{s.JoinGroup(lo, group), nil},
				{s.JoinGroup(lo, group), unix.EADDRINUSE},
				{s.JoinGroup(lo, netip.AddrFrom16(group.As16())), unix.EADDRINUSE}, // mapped into IPv6
				{s.JoinGroup(lo, source), unix.EINVAL},
				{s.JoinGroup(99999, group), unix.ENODEV},
				{s.BlockSource(lo, group, source), nil},
				{s.BlockSource(lo, group, source), unix.EADDRNOTAVAIL},
				{s.UnblockSource(lo, group, source), nil},
				{s.UnblockSource(lo, group, source), unix.EADDRNOTAVAIL},
				{s.BlockSource(lo, ssm, source), unix.EINVAL},
				{s.LeaveGroup(lo, group), nil},
				{s.LeaveGroup(lo, group), unix.EADDRNOTAVAIL},
				{s.JoinSourceGroup(lo, ssm, source), nil},
				{s.JoinSourceGroup(lo, ssm, source), unix.EADDRNOTAVAIL},
				{s.JoinSourceGroup(lo, ssm, other), nil},
				{s.LeaveSourceGroup(lo, ssm, source), nil},
				{s.LeaveSourceGroup(lo, ssm, source), unix.EADDRNOTAVAIL},
				{s.LeaveSourceGroup(lo, ssm, other), nil},
				{s.LeaveGroup(lo, ssm), unix.EADDRNOTAVAIL},
				{s.SetMulticastInterface(lo), nil},
				{s.SetMulticastInterface(99999), unix.EADDRNOTAVAIL},
				{s.SetMulticastInterface(0), nil},
			} {
				if tt.got != tt.want {
					t.Errorf("call %d: %v, want %v", i, tt.got, tt.want)
				}
			}
		})
	}
}

// Only sockets of the stack's have a wait to set, and only while they are open.
func TestSetYield(t *testing.T) {
	api := newAPI(t)
	for typ, want := range map[int]error{unix.SOCK_DGRAM: unix.EOPNOTSUPP, unix.SOCK_DGRAM | SOCK_OOB: nil} {
		s, err := api.Socket(unix.AF_INET, typ, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetYield(true); err != want {
			t.Errorf("out-of-band %t: %v, want %v", s.OutOfBand(), err, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.SetYield(false); want == nil && err != unix.EBADF {
			t.Errorf("closed: %v", err)
		}
	}
}
