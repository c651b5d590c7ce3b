package icmp

import (
	"testing"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

func TestErrno(t *testing.T) {
	const hard, soft = true, false
	for _, tt := range []struct {
		name      string
		typ, code uint8
		errno     unix.Errno
		hard, ok  bool
	}{
		{"net", 3, 0, unix.ENETUNREACH, soft, true},
		{"host", 3, 1, unix.EHOSTUNREACH, soft, true},
		{"protocol", 3, 2, unix.ENOPROTOOPT, hard, true},
		{"port", 3, 3, unix.ECONNREFUSED, hard, true},
		{"fragmentation needed", 3, 4, unix.EMSGSIZE, soft, true},
		{"source route failed", 3, 5, unix.EOPNOTSUPP, soft, true},
		{"net unknown", 3, 6, unix.ENETUNREACH, hard, true},
		{"host unknown", 3, 7, unix.EHOSTDOWN, hard, true},
		{"isolated", 3, 8, unix.ENONET, hard, true},
		{"net prohibited", 3, 9, unix.ENETUNREACH, hard, true},
		{"host prohibited", 3, 10, unix.EHOSTUNREACH, hard, true},
		{"net for TOS", 3, 11, unix.ENETUNREACH, soft, true},
		{"host for TOS", 3, 12, unix.EHOSTUNREACH, soft, true},
		{"filtered", 3, 13, unix.EHOSTUNREACH, hard, true},
		{"precedence", 3, 14, unix.EHOSTUNREACH, hard, true},
		{"precedence cutoff", 3, 15, unix.EHOSTUNREACH, hard, true},
		{"unknown code", 3, 16, 0, soft, false},
		{"highest code", 3, 255, 0, soft, false},
		{"source quench", 4, 0, 0, soft, false},
		{"redirect", 5, 1, 0, soft, false},
		{"TTL", 11, 0, unix.EHOSTUNREACH, soft, true},
		{"reassembly", 11, 1, 0, soft, false},
		{"parameter problem", 12, 0, unix.EPROTO, hard, true},
		{"option missing", 12, 1, unix.EPROTO, hard, true},
		{"echo", 8, 0, 0, soft, false},
		{"echo reply", 0, 0, 0, soft, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if e, h, ok := Errno(tt.typ, tt.code); e != tt.errno || h != tt.hard || ok != tt.ok {
				t.Errorf("Errno(%d, %d) = %v, %v, %v; want %v, %v, %v", tt.typ, tt.code, e, h, ok, tt.errno, tt.hard, tt.ok)
			}
		})
	}
}

func TestMayAnswer(t *testing.T) {
	src, dst := ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}
	for _, tt := range []struct {
		name string
		t    Trigger
		want Cause
	}{
		{"UDP", Trigger{Src: src, Dst: dst, Protocol: 17}, CauseNone},
		{"loopback", Trigger{Src: ipv4.Addr{127, 0, 0, 1}, Dst: ipv4.Addr{127, 0, 0, 1}, Protocol: 17}, CauseNone},
		{"later fragment", Trigger{Src: src, Dst: dst, Protocol: 17, FragmentOffset: 8}, CauseFragment},
		{"link-layer broadcast", Trigger{Src: src, Dst: dst, Protocol: 17, LinkBroadcast: true}, CauseLinkBroadcast},
		{"directed broadcast", Trigger{Src: src, Dst: ipv4.Addr{10, 0, 0, 255}, DstBroadcast: true}, CauseBroadcast},
		{"limited broadcast", Trigger{Src: src, Dst: ipv4.Addr{255, 255, 255, 255}}, CauseBroadcast},
		{"multicast", Trigger{Src: src, Dst: ipv4.Addr{224, 0, 0, 1}}, CauseBroadcast},
		{"last multicast", Trigger{Src: src, Dst: ipv4.Addr{239, 255, 255, 255}}, CauseBroadcast},
		{"last unicast", Trigger{Src: src, Dst: ipv4.Addr{223, 255, 255, 255}}, CauseNone},
		{"from nowhere", Trigger{Dst: dst}, CauseSource},
		{"from net 0", Trigger{Src: ipv4.Addr{0, 1, 2, 3}, Dst: dst}, CauseSource},
		{"from multicast", Trigger{Src: ipv4.Addr{224, 0, 0, 1}, Dst: dst}, CauseSource},
		{"from class E", Trigger{Src: ipv4.Addr{240, 0, 0, 1}, Dst: dst}, CauseSource},
		{"from broadcast", Trigger{Src: ipv4.Addr{255, 255, 255, 255}, Dst: dst}, CauseSource},
		{"type without ICMP", Trigger{Src: src, Dst: dst, Protocol: 17, ICMPType: 3}, CauseNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := MayAnswer(tt.t); got != tt.want {
				t.Errorf("MayAnswer(%+v) = %v, want %v", tt.t, got, tt.want)
			}
		})
	}
	for typ := range 256 {
		query := typ == 0 || typ == 8 || typ >= 13 && typ <= 18
		want := CauseError
		if query {
			want = CauseNone
		}
		if got := MayAnswer(Trigger{Src: src, Dst: dst, Protocol: Protocol, ICMPType: uint8(typ)}); got != want {
			t.Errorf("about ICMP type %d: %v, want %v", typ, got, want)
		}
		if IsError(uint8(typ)) == query {
			t.Errorf("IsError(%d) = %v", typ, !query)
		}
	}
}

// What Linux 6.18 sent.
func TestErrorTOS(t *testing.T) {
	for tos, want := range map[uint8]uint8{0: 0xc0, 0xff: 0xde, 0x1e: 0xde, 0x10: 0xd0, 0x02: 0xc2, 0x03: 0xc2, 0x20: 0xc0, 0xb8: 0xd8} {
		if got := ErrorTOS(tos); got != want {
			t.Errorf("ErrorTOS(%#02x) = %#02x, want %#02x", tos, got, want)
		}
	}
}
