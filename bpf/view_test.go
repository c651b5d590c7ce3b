package bpf

import (
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// host is what the tests' datagrams came to.
type host struct{}

func (host) HardwareType(index int32) uint16 { return uint16(index) + 100 }
func (host) CPU() int32                      { return 3 }
func (host) Frame([]byte) Frame {
	return Frame{Data: []byte{1, 2, 3, 4, 5, 6}, Tagged: true, TCI: 0x6005, TPID: unix.ETH_P_8021AD}
}

func TestExtensions(t *testing.T) {
	ip := []byte{0x46, 0, 0, 40, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0, 9, 9, 9, 9}
	fragment := append([]byte(nil), ip...)
	fragment[7] = 1
	tcp := append(append([]byte(nil), ip...), make([]byte, 12)...)
	tcp[9], tcp[24+12] = unix.IPPROTO_TCP, 8<<4
	short := append([]byte{0x45}, ip[1:20]...)
	stub := append([]byte(nil), tcp...)
	stub[24+12] = 4 << 4
	full := View{Host: host{}, Data: ip[24:], Network: ip, Offset: -24, PacketType: 2, Interface: 7, EtherType: unix.ETH_P_IP}
	framed := full
	framed.Frame, framed.Found = Frame{Data: []byte{9}}, true
	of := func(network []byte) View { v := full; v.Network, v.Offset = network, 14; return v }
	for _, tt := range []struct {
		name string
		view View
		load bpf.Instruction
		want uint32
	}{
		{"protocol", full, bpf.LoadExtension{Num: bpf.ExtProto}, unix.ETH_P_IP},
		{"packet type", full, bpf.LoadExtension{Num: bpf.ExtType}, 2},
		{"interface", full, bpf.LoadExtension{Num: bpf.ExtInterfaceIndex}, 7},
		{"hardware type", full, bpf.LoadExtension{Num: bpf.ExtLinkLayerType}, 107},
		{"hardware type without a host", View{Interface: 7}, bpf.LoadExtension{Num: bpf.ExtLinkLayerType}, 0},
		{"CPU", full, bpf.LoadExtension{Num: bpf.ExtCPUID}, 3},
		{"CPU without a host", View{}, bpf.LoadExtension{Num: bpf.ExtCPUID}, 0},
		{"mark", full, bpf.LoadExtension{Num: bpf.ExtMark}, 0},
		{"tag", full, bpf.LoadExtension{Num: bpf.ExtVLANTag}, 0x6005},
		{"tag present", full, bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}, 1},
		{"tag type", full, bpf.LoadExtension{Num: bpf.ExtVLANProto}, unix.ETH_P_8021AD},
		{"tag of a frame that is known", framed, bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}, 0},
		{"tag without a host", View{Network: ip}, bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}, 0},
		{"link layer", full, bpf.LoadAbsolute{Off: 0xffe00000 + 2, Size: 4}, 0x03040506},
		{"link layer, its first byte", full, bpf.LoadAbsolute{Off: 0xffe00000, Size: 1}, 1},
		{"below the link layer", full, bpf.LoadAbsolute{Off: 0xffdfffff, Size: 1}, 0},
		{"network layer, its first byte", full, bpf.LoadAbsolute{Off: 0xfff00000, Size: 1}, 0x46},
		{"below the network layer, far into the link layer's", full, bpf.LoadAbsolute{Off: 0xffefffff, Size: 1}, 0},
		{"link layer, beyond", full, bpf.LoadAbsolute{Off: 0xffe00000 + 3, Size: 4}, 0},
		{"network layer", full, bpf.LoadAbsolute{Off: 0xfff00000 + 12, Size: 4}, 0x0a000001},
		{"below all", full, bpf.LoadAbsolute{Off: 0xff000000, Size: 1}, 0},
		{"payload of UDP", of(ip), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 14 + 24 + 8},
		{"payload of TCP", of(tcp), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 14 + 24 + 32},
		{"payload of a fragment", of(fragment), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 14 + 24},
		{"payload behind the header", full, bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 8},
		{"payload of a header alone", of(short), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 14 + 20 + 8},
		{"payload of a header that is too short", of(append([]byte{0x44}, ip[1:]...)), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 0},
		{"payload of TCP without the length", of(tcp[:24+12]), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 14 + 24},
		{"payload of TCP with too small a length", of(stub), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 14 + 24 + 20},
		{"payload of nothing", of(ip[:19]), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 0},
		{"payload of half a header", of(ip[:23]), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 0},
		{"payload of version 6", of(append([]byte{0x65}, ip[1:]...)), bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, 0},
	} {
		p, ok := New(assemble(t, tt.load, bpf.RetA{}))
		if !ok {
			t.Fatalf("%s: refused", tt.name)
		}
		if got := p.Run(&tt.view); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
}

// TestNewCopies has the caller change what it has given.
func TestNewCopies(t *testing.T) {
	code := assemble(t, bpf.RetConstant{Val: 7})
	p, ok := New(code)
	if !ok {
		t.Fatal("refused")
	}
	code[0].K = 8
	if got := p.Run(&View{}); got != 7 {
		t.Errorf("returns %d", got)
	}
	if _, ok := New(nil); ok {
		t.Error("a program without instructions is accepted")
	}
}

// hostWithFrames has a frame for whatever it is asked about.
type hostWithFrames struct{ Host }

func (hostWithFrames) Frame([]byte) Frame { return Frame{Tagged: true} }

// A host is asked for a frame once, and only for that of a network header.
func TestFrameOfNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    View
		want bool
	}{
		{"asked for", View{Host: hostWithFrames{}, Network: make([]byte, 20)}, true},
		{"no network header", View{Host: hostWithFrames{}}, false},
		{"known", View{Host: hostWithFrames{}, Network: make([]byte, 20), Found: true}, false},
		{"no host", View{Network: make([]byte, 20)}, false},
	} {
		if got := tt.v.frame().Tagged; got != tt.want {
			t.Errorf("%s: from the host is %t", tt.name, got)
		}
	}
}
