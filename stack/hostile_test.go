package stack

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// repairIP makes the header checksum of the IP packet in a frame right again.
func repairIP(frame []byte) []byte {
	b := frame[link.HeaderLen:]
	n := int(b[0]&15) * 4
	if n < ipv4.MinHeaderLen || n > len(b) {
		return frame
	}
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ipv4.Checksum(b[:n]))
	return frame
}

// with returns a copy of a frame with bytes replaced.
func with(frame []byte, at int, bytes ...byte) []byte {
	b := append([]byte(nil), frame...)
	copy(b[at:], bytes)
	return b
}

// readdressed returns a datagram without a UDP checksum, from far's port 7 to
// near's port 9, with another source (at 26) or destination (at 30).
func readdressed(data string, at int, addr []byte) []byte {
	return repairIP(with(with(udpFrom(7, 9, data), 40, 0, 0), at, addr...))
}

// TestBadFrames feeds frames that must be dropped, each with the counter that
// says so. Nothing may be delivered, and nothing answered.
func TestBadFrames(t *testing.T) {
	good := udpFrom(7, 9, "hello")
	echo := icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, 1, []byte("ping")))
	src := func(a ...byte) []byte { return readdressed("hello", 26, a) }
	dst := func(a ...byte) []byte { return readdressed("hello", 30, a) }
	for _, c := range []struct {
		name    string
		frame   []byte
		counter string
	}{
		{"EtherType", eth(0x88cc, payload(60)), "OutbandDropEtherType"},
		{"IPv6", eth(0x86dd, payload(60)), "OutbandDropEtherType"},
		{"802.3 length", eth(46, payload(46)), "OutbandDropEtherType"},
		{"tag in the frame", eth(0x8100, payload(60)), "OutbandDropVLAN"},
		{"for another host", ethTo(otherMAC, farMAC, unix.ETH_P_IP, good[14:]), "OutbandDropOtherHost"},

		{"IP version 6", with(good, 14, 0x65), "IpInHdrErrors"},
		{"IP header length 16", repairIP(with(good, 14, 0x44)), "IpInHdrErrors"},
		{"IP header length 60", repairIP(with(good, 14, 0x4f)), "IpInHdrErrors"},
		{"IP header checksum", with(good, 24, 0xde, 0xad), "IpExtInCsumErrors"},
		{"IP total length 19", repairIP(with(good, 16, 0, 19)), "IpInHdrErrors"},
		{"IP total length too long", repairIP(with(good, 16, 0, 34)), "IpExtInTruncatedPkts"},
		{"IP total length 65535", repairIP(with(good, 16, 255, 255)), "IpExtInTruncatedPkts"},

		{"source 127.0.0.1", src(127, 0, 0, 1), "OutbandDropMartianSource"},
		{"source 0.0.0.0", src(0, 0, 0, 0), "OutbandDropMartianSource"},
		{"source multicast", src(224, 0, 0, 1), "OutbandDropMartianSource"},
		{"source limited broadcast", src(255, 255, 255, 255), "OutbandDropMartianSource"},
		{"source ours", src(10, 9, 0, 1), "OutbandDropOwnSource"},
		{"source directed broadcast", src(10, 9, 0, 255), "OutbandDropOwnSource"},
		{"destination 127.0.0.1", dst(127, 0, 0, 1), "OutbandDropMartianDestination"},
		{"destination 0.0.0.0", dst(0, 0, 0, 0), "OutbandDropMartianDestination"},
		{"destination not ours", dst(10, 9, 0, 3), "OutbandDropNotOurAddress"},
		{"group not joined", dst(224, 0, 0, 251), "OutbandDropNoMember"},

		{"UDP length 7", ip(ipv4.Fields{}, with(good[34:], 4, 0, 7)), "UdpInErrors"},
		{"UDP length too long", ip(ipv4.Fields{}, with(good[34:], 4, 0, 200)), "UdpInErrors"},
		{"UDP cut in its header", ip(ipv4.Fields{}, good[34:41]), "UdpInErrors"},
		{"UDP nothing", ip(ipv4.Fields{}, nil), "UdpInErrors"},
		{"UDP checksum", ip(ipv4.Fields{}, with(good[34:], 6, 0xba, 0xad)), "UdpInCsumErrors"},
		{"UDP payload damaged", with(good, len(good)-1, 'O'), "UdpInCsumErrors"},

		{"ICMP cut in its header", ip(ipv4.Fields{Protocol: 1}, echo[34:41]), "IcmpInErrors"},
		{"ICMP checksum", ip(ipv4.Fields{Protocol: 1}, with(echo[34:], 2, 1, 2)), "IcmpInCsumErrors"},
		{"ICMP type unknown", icmpFrom(icmp.AppendEcho(nil, 42, 0, 0, nil)), "OutbandIcmpInOther"},
		{"ICMP redirect", icmpError(icmp.Redirect, 1, 0x0a090003, good[14:]), "IcmpInRedirects"},
		{"ICMP timestamp too short", icmpFrom(icmp.AppendEcho(nil, icmp.Timestamp, 1, 1, nil)), "IcmpInTimestamps"},
		{"ICMP error with no quote", icmpFrom(icmp.AppendEcho(nil, icmp.DestinationUnreachable, 0, 0, nil)), "OutbandDropICMPUnvalidated"},
		{"echo reply to nobody", icmpFrom(icmp.AppendEcho(nil, icmp.EchoReply, 1, 1, nil)), "IcmpInEchoReps"},

		{"ARP too short", eth(unix.ETH_P_ARP, make([]byte, 27)), "OutbandArpTooShort"},
		{"ARP operation", arpPacket(nearMAC, 3, farMAC, far4, nearMAC, near4), "OutbandArpOperation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				k := w.socket("0.0.0.0:9", "")
				if w.base.Get(c.counter); !strings.Contains(c.counter, "Arp") {
					w.mark()
				}
				w.sent()
				w.feed(c.frame)
				w.grewSome(c.counter)
				w.empty(k)
				if f := w.sent(); len(f) != 0 {
					t.Errorf("answered with %x", f[0].data)
				}
			})
		})
	}
}

// grewSome fails unless the counter grew by one; ARP's are named after what
// arp.Cause says and are looked for by their first word.
func (w *wire) grewSome(name string) {
	w.t.Helper()
	all := changes(w.base, w.s.Stats())
	for n, d := range all {
		if n == name && d == 1 || strings.HasPrefix(name, "OutbandArp") && strings.HasPrefix(n, "OutbandArp") && n != "OutbandArpIn" {
			return
		}
	}
	w.t.Errorf("%s did not grow by one: %v", name, all)
}

// TestMetadataThatDrops feeds frames that are good but for what the link says.
func TestMetadataThatDrops(t *testing.T) {
	good := udpFrom(7, 9, "hello")
	bad := with(good, 40, 0xba, 0xad)
	for _, c := range []struct {
		name    string
		frame   []byte
		meta    link.Meta
		counter string // "": delivered
	}{
		{"untouched", good, link.Meta{}, ""},
		{"VLAN 5", good, link.Meta{VLAN: true, VLANTCI: 5, VLANTPID: 0x8100}, "OutbandDropVLAN"},
		{"VLAN 5 with priority", good, link.Meta{VLAN: true, VLANTCI: 0xe005, VLANTPID: 0x8100}, "OutbandDropVLAN"},
		{"priority tag", good, link.Meta{VLAN: true, VLANTCI: 0xe000, VLANTPID: 0x8100}, ""},
		{"other host", good, link.Meta{Type: link.OtherHost}, "OutbandDropOtherHost"},
		{"outgoing", good, link.Meta{Type: link.Outgoing}, "OutbandDropOtherHost"},
		{"truncated", good, link.Meta{WireLen: len(good) + 1}, "OutbandDropTruncatedFrame"},
		{"shorter than Ethernet", good[:13], link.Meta{}, "OutbandDropShortFrame"},
		{"empty", nil, link.Meta{}, "OutbandDropShortFrame"},
		{"checksum partial", bad, link.Meta{Checksum: link.ChecksumPartial}, ""},
		{"checksum valid says the device", bad, link.Meta{Checksum: link.ChecksumValid}, ""},
		{"checksum wrong", bad, link.Meta{}, "UdpInCsumErrors"},
		{"GSO of another kind", good, link.Meta{GSO: link.GSOOther, GSOSize: 3}, "OutbandDropGSO"},
		{"GSO of size 0", good, link.Meta{GSO: link.GSOUDP}, "OutbandDropGSO"},
		{"unicast datagram, broadcast frame", good, link.Meta{Type: link.Broadcast}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				k := w.socket("10.9.0.1:9", "")
				w.mark()
				if !w.near.Inject(link.Frame{Data: c.frame, Meta: c.meta}) {
					t.Fatal("the pipe is full")
				}
				w.settle()
				if c.counter == "" {
					w.got(k, "hello")
					return
				}
				w.grew(c.counter, 1)
				w.empty(k)
			})
		})
	}
}

func TestGSOPacketIsCut(t *testing.T) {
	for _, c := range []struct{ n, size, want int }{
		{1, 100, 1}, {100, 100, 1}, {101, 100, 2}, {1000, 100, 10}, {1001, 100, 11}, {60000, 1400, 43}, {0, 100, 1},
	} {
		t.Run(fmt.Sprintf("%d by %d", c.n, c.size), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				k := w.socket("10.9.0.1:9", "")
				data := payload(c.n)
				f := ip(ipv4.Fields{}, datagram(far4, near4, 7, 9, data))
				w.near.Inject(link.Frame{Data: f, Meta: link.Meta{
					GSO: link.GSOUDP, GSOSize: uint16(c.size), Checksum: link.ChecksumPartial}})
				w.settle()
				for i := range c.want {
					w.got(k, string(data[i*c.size:min((i+1)*c.size, c.n)]))
				}
				w.empty(k)
				w.grew("UdpInDatagrams", uint64(c.want))
			})
		})
	}
}

// TestFramesCutAtEveryByte feeds good frames of all kinds cut at every byte, on
// the wire and by the ring, and then whole. Every one of them must show in a
// counter, and none may be taken for the whole.
func TestFramesCutAtEveryByte(t *testing.T) {
	for name, frame := range goodFrames() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				k := w.socket("10.9.0.1:9", "")
				for n := range frame {
					for _, wireLen := range []int{n, len(frame)} {
						before := w.s.Stats()
						w.near.Inject(link.Frame{Data: frame[:n], Meta: link.Meta{WireLen: wireLen}})
						w.settle()
						if len(changes(before, w.s.Stats())) == 0 {
							t.Fatalf("cut to %d bytes: no counter says so", n)
						}
						if s, err := try(k); err == nil {
							t.Fatalf("cut to %d bytes: %d bytes delivered", n, len(s))
						}
					}
				}
			})
		})
	}
}

// TestEveryLengthWrong sets every field that is a length or leads somewhere to
// every value of its high and low byte, with the checksums mended.
func TestEveryLengthWrong(t *testing.T) {
	for name, frame := range goodFrames() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				k := w.socket("10.9.0.1:9", "")
				for _, at := range lengthFields(frame) {
					for v := range 256 {
						f := with(frame, at, byte(v))
						if frame[12] == 8 && frame[13] == 0 {
							repairIP(f)
						}
						before := w.s.Stats()
						w.near.Inject(link.Frame{Data: f})
						w.settle()
						if len(changes(before, w.s.Stats())) == 0 {
							t.Fatalf("byte %d set to %d: no counter says so", at, v)
						}
						if s, err := try(k); err == nil && !strings.Contains("hello, this is a datagram", s) {
							t.Fatalf("byte %d set to %d: %q delivered", at, v, s)
						}
					}
					w.sent()
				}
			})
		})
	}
}

// lengthFields returns where a frame has bytes that say how long something is,
// or where it is.
func lengthFields(frame []byte) []int {
	if frame[13] == 6 {
		return []int{14, 15, 16, 17, 18, 19, 20, 21}
	}
	at := []int{14, 16, 17, 20, 21}
	for i := 34; i < min(len(frame), 14+int(frame[14]&15)*4); i++ {
		at = append(at, i)
	}
	l4 := 14 + int(frame[14]&15)*4
	switch frame[23] {
	case ipv4.ProtocolUDP:
		at = append(at, l4+4, l4+5)
	case ipv4.ProtocolICMP:
		at = append(at, l4, l4+1, l4+5)
		if len(frame) > l4+28 {
			at = append(at, l4+8, l4+10, l4+11, l4+14, l4+15)
		}
	}
	return at
}

// goodFrames returns a frame of every kind that the stack takes.
func goodFrames() map[string][]byte {
	text := []byte("hello, this is a datagram")
	d := datagram(far4, near4, 7, 9, text)
	ours := ip(ipv4.Fields{Src: near4, Dst: far4}, datagram(near4, far4, 9, 7, text))[output.IPOffset:]
	return map[string][]byte{
		"UDP":           ip(ipv4.Fields{}, d),
		"options":       ip(ipv4.Fields{Options: []byte{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, d),
		"router alert":  ip(ipv4.Fields{Options: []byte{148, 4, 0, 0}}, d),
		"fragment":      ip(ipv4.Fields{ID: 1, MoreFragments: true}, d[:32]),
		"last":          ip(ipv4.Fields{ID: 2, FragmentOffset: 24}, d[24:]),
		"echo":          icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 7, 1, text)),
		"echo reply":    icmpFrom(icmp.AppendEcho(nil, icmp.EchoReply, 7, 1, text)),
		"timestamp":     icmpFrom(icmp.AppendEcho(nil, icmp.Timestamp, 7, 1, make([]byte, 12))),
		"unreachable":   icmpError(icmp.DestinationUnreachable, icmp.CodePort, 0, ours),
		"frag needed":   icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, 1400, ours),
		"time exceeded": icmpError(icmp.TimeExceeded, icmp.CodeTTL, 0, ours),
		"parameter":     icmpError(icmp.ParameterProblem, icmp.CodePointer, icmp.PointerRest(1), ours),
		"ARP request":   arpPacket(ether.Broadcast, arp.OpRequest, farMAC, far4, link.MAC{}, near4),
		"ARP reply":     arpReply(farMAC),
		"IGMP query":    generalQuery(),
		"multicast":     fromHost(2, groupA, 9, "to a group"),
	}
}

func TestOptions(t *testing.T) {
	d := datagram(far4, near4, 7, 9, []byte("hello"))
	for _, c := range []struct {
		name    string
		options []byte
		pointer int // of the parameter problem; 0: delivered, -1: dropped in silence
	}{
		{"nop, end", []byte{1, 1, 0, 0}, 0},
		{"router alert", []byte{148, 4, 0, 0}, 0},
		{"record route", []byte{7, 7, 4, 0, 0, 0, 0, 0}, 0},
		{"unknown", []byte{99, 4, 1, 2}, 0},
		{"length 0", []byte{7, 0, 0, 0}, 20},
		{"length 1", []byte{99, 1, 0, 0}, 20},
		{"past the end", []byte{1, 99, 9, 0}, 21},
		{"pointer 3", []byte{7, 7, 3, 0, 0, 0, 0, 0}, 22},
		{"loose source route", []byte{131, 7, 4, 10, 9, 0, 3, 0}, -1},
		{"strict source route", []byte{137, 7, 4, 10, 9, 0, 3, 0}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				k := w.socket("10.9.0.1:9", "")
				w.feed(ip(ipv4.Fields{Options: c.options}, d))
				if c.pointer == 0 {
					w.got(k, "hello")
					w.silent()
					return
				}
				w.empty(k)
				w.grew("OutbandDropOptions", 1)
				if c.pointer < 0 {
					w.silent()
					return
				}
				_, p := w.one()
				m, _ := icmp.Parse(p)
				if m.Type() != icmp.ParameterProblem || int(m.Pointer()) != c.pointer {
					t.Fatalf("type %d, pointer %d; want parameter problem at %d", m.Type(), m.Pointer(), c.pointer)
				}
			})
		})
	}
}

// TestNoAddressNoDatagram has a stack whose interface has no address yet.
func TestNoAddressNoDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.Options{})
		w := &wire{t: t, s: newStack(t, Config{}), near: a, far: b}
		t.Cleanup(func() { b.Close() })
		if _, err := w.s.AddLink(a, InterfaceConfig{}); err != nil {
			t.Fatal(err)
		}
		k := w.socket("0.0.0.0:9", "")
		w.mark()
		w.feed(readdressed("x", 30, make([]byte, 4)))
		w.empty(k)
		w.grew("OutbandDropMartianDestination", 1)
	})
}

// TestFloods sends far more than a stack can hold to one that nobody reads: 20,000 frames,
// 500 every 2 ms.
func TestFloods(t *testing.T) {
	mac := func(i int) link.MAC { return link.MAC{2, 1, byte(i >> 16), byte(i >> 8), byte(i)} }
	addr := func(i int) ipv4.Addr { return ipv4.Addr{10, 9, 0, byte(3 + i%200)} }
	for _, c := range []struct {
		name  string
		frame func(i int) []byte
		sent  int // so many frames come back, as Linux' limits have it
	}{
		{"ARP requests", func(i int) []byte {
			return arpPacket(ether.Broadcast, arp.OpRequest, mac(i), addr(i), link.MAC{}, near4)
		}, 20000}, // each is answered: Linux limits no replies
		{"gratuitous ARP", func(i int) []byte {
			return arpPacket(ether.Broadcast, arp.OpRequest, mac(i), addr(i), link.MAC{}, addr(i))
		}, 0},
		{"echo", func(i int) []byte {
			return icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, uint16(i), payload(1000)))
		}, 20000}, // each is answered: icmp_ratemask has no echo replies
		{"closed ports", func(i int) []byte { return udpFrom(7, uint16(1000+i%5000), "x") },
			6}, // to one host, with one more a second (icmp_ratelimit)
		{"echo from everywhere", func(i int) []byte {
			return ip(ipv4.Fields{Src: addr(i), Protocol: 1}, icmp.AppendEcho(nil, icmp.Echo, 1, uint16(i), payload(1000)))
		}, 200}, // a request for each neighbour, the next after a second; none answers
		{"UDP that nobody reads", func(i int) []byte { return udpFrom(7, 9, "x") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				w.socket("10.9.0.1:9", "")
				w.sent()
				frames := 0
				for i := range 20000 {
					w.far.Send(c.frame(i))
					if i%500 == 499 {
						w.settle()
						frames += len(w.sent())
					}
				}
				if frames != c.sent {
					t.Errorf("%d frames came back, want %d", frames, c.sent)
				}
				if n := w.s.Stats().Get("LinkRxFrames"); n != 20000 {
					t.Errorf("%d frames were seen", n)
				}
				if n := len(w.s.Neighbours()); n > 201 {
					t.Errorf("%d neighbours", n)
				}
				if w.s.pool.Held > w.s.pool.Max {
					t.Errorf("%d bytes kept", w.s.pool.Held)
				}
			})
		})
	}
}
