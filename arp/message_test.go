package arp

import (
	"bytes"
	"testing"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// Real packets, as tcpdump shows them, Ethernet header left out.
var (
	// 192.168.1.10 (b8:27:eb:12:34:56) asks for 192.168.1.1, with the padding of
	// a 60-byte frame.
	realRequest = append([]byte{
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
		0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56, 192, 168, 1, 10,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 192, 168, 1, 1,
	}, make([]byte, 18)...)
	// 192.168.1.1 (00:0d:b9:aa:bb:cc) answers.
	realReply = []byte{
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02,
		0x00, 0x0d, 0xb9, 0xaa, 0xbb, 0xcc, 192, 168, 1, 1,
		0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56, 192, 168, 1, 10,
	}
	// A host about to take 192.168.1.10 probes for it.
	realProbe = []byte{
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
		0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56, 0, 0, 0, 0,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 192, 168, 1, 10,
	}
	// arping -A -I: a gratuitous reply.
	realGratuitous = []byte{
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02,
		0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56, 192, 168, 1, 10,
		0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56, 192, 168, 1, 10,
	}
)

func TestParseReal(t *testing.T) {
	m, c := Parse(realRequest)
	if c != CauseNone || len(m) != Len || cap(m) != Len {
		t.Fatalf("Parse: %v, %d bytes", c, len(m))
	}
	if m.HardwareType() != HardwareEthernet || m.ProtocolType() != ProtocolIPv4 || m.Op() != OpRequest {
		t.Errorf("types %d %#x, op %d", m.HardwareType(), m.ProtocolType(), m.Op())
	}
	mac := ether.MAC{0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56}
	if m.SenderMAC() != mac || m.SenderIP() != (ipv4.Addr{192, 168, 1, 10}) {
		t.Errorf("sender %v %v", m.SenderMAC(), m.SenderIP())
	}
	if m.TargetMAC() != (ether.MAC{}) || m.TargetIP() != (ipv4.Addr{192, 168, 1, 1}) {
		t.Errorf("target %v %v", m.TargetMAC(), m.TargetIP())
	}
	var b [Len]byte
	put(&b, m.Op(), m.SenderMAC(), m.SenderIP(), m.TargetMAC(), m.TargetIP())
	if !bytes.Equal(b[:], realRequest[:Len]) {
		t.Errorf("put wrote % x", b)
	}
}

func TestMessageKinds(t *testing.T) {
	for _, tc := range []struct {
		name              string
		b                 []byte
		probe, gratuitous bool
	}{
		{"request", realRequest, false, false},
		{"reply", realReply, false, false},
		{"probe", realProbe, true, false},
		{"gratuitous reply", realGratuitous, false, true},
		{"announcement", packet(OpRequest, peerMAC, peerIP, ether.MAC{}, peerIP), false, true},
		{"gratuitous reply with another target MAC", packet(OpReply, peerMAC, peerIP, ether.Broadcast, peerIP), false, false},
		{"reply from 0.0.0.0", packet(OpReply, peerMAC, ipv4.Addr{}, ourMAC, ourIP), false, false},
	} {
		m, c := Parse(tc.b)
		if c != CauseNone || m.IsProbe() != tc.probe || m.IsGratuitous() != tc.gratuitous {
			t.Errorf("%s: %v, probe %v, gratuitous %v", tc.name, c, m.IsProbe(), m.IsGratuitous())
		}
	}
}

func TestParseCauses(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   int
		b    byte
		want Cause
	}{
		{"IEEE 802 networks are accepted, as by Linux", 1, HardwareIEEE802, CauseNone},
		{"hardware type, high byte", 0, 1, CauseHardwareType},
		{"hardware type 0", 1, 0, CauseHardwareType},
		{"hardware type InfiniBand", 1, 32, CauseHardwareType},
		{"protocol type IPv6", 2, 0x86, CauseProtocolType},
		{"protocol type, low byte", 3, 1, CauseProtocolType},
		{"hardware length 8", 4, 8, CauseHardwareLen},
		{"hardware length 0", 4, 0, CauseHardwareLen},
		{"protocol length 16", 5, 16, CauseProtocolLen},
		{"operation 0", 7, 0, CauseOperation},
		{"operation RARP request", 7, 3, CauseOperation},
		{"operation inverse ARP", 7, 8, CauseOperation},
		{"operation, high byte", 6, 1, CauseOperation},
	} {
		b := bytes.Clone(realRequest)
		b[tc.at] = tc.b
		m, c := Parse(b)
		if c != tc.want || (m == nil) != (c != CauseNone) {
			t.Errorf("%s: %v, want %v", tc.name, c, tc.want)
		}
	}
	for n := range Len {
		if m, c := Parse(realRequest[:n]); c != CauseTooShort || m != nil {
			t.Errorf("%d bytes: %v", n, c)
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for c := CauseNone; c < NumCauses; c++ {
		if s := c.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("cause %d: %q", c, s)
		} else {
			seen[s] = true
		}
	}
	if NumCauses.String() != "unknown" || EventKind(99).String() != "unknown" || State(3).String() != "UNKNOWN" {
		t.Error("values out of range have names")
	}
	for k := Transmit; k <= AddressReady; k++ {
		if k.String() == "unknown" {
			t.Errorf("event kind %d has no name", k)
		}
	}
	for s, want := range map[State]string{0: "NONE", 1: "INCOMPLETE", 2: "REACHABLE", 4: "STALE", 8: "DELAY",
		0x10: "PROBE", 0x20: "FAILED", 0x40: "NOARP", 0x80: "PERMANENT"} {
		if s.String() != want {
			t.Errorf("state %#x: %s, want %s", uint16(s), s, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range [][]byte{realRequest, realReply, realProbe, realGratuitous, {}, realReply[:27]} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, c := Parse(b)
		if c != CauseNone {
			if m != nil {
				t.Fatal("a view of a bad packet")
			}
			return
		}
		var again [Len]byte
		put(&again, m.Op(), m.SenderMAC(), m.SenderIP(), m.TargetMAC(), m.TargetIP())
		m.IsProbe()
		m.IsGratuitous()
		again[1] = byte(m.HardwareType())
		if !bytes.Equal(again[:], b[:Len]) {
			t.Fatalf("% x became % x", b[:Len], again)
		}
	})
}
