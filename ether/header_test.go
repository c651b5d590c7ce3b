package ether

import (
	"bytes"
	"encoding/hex"
	"testing"
)

var frame = []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 0x08, 0x06, 7, 8}

func TestParse(t *testing.T) {
	h, payload, ok := Parse(frame)
	if !ok {
		t.Fatal("refused")
	}
	if d := h.Destination(); d != (MAC{2, 0, 0, 0, 0, 1}) {
		t.Errorf("destination %x", d)
	}
	if s := h.Source(); s != (MAC{2, 0, 0, 0, 0, 0x99}) {
		t.Errorf("source %x", s)
	}
	if h.Type() != TypeARP {
		t.Errorf("type %#x", h.Type())
	}
	if !bytes.Equal(payload, []byte{7, 8}) {
		t.Errorf("payload % x", payload)
	}
	for n := range HeaderLen {
		if _, _, ok := Parse(frame[:n]); ok {
			t.Errorf("%d bytes are a header", n)
		}
	}
	if _, payload, ok := Parse(frame[:HeaderLen]); !ok || len(payload) != 0 {
		t.Errorf("a header alone: %t, %d bytes of payload", ok, len(payload))
	}
}

func TestPut(t *testing.T) {
	b := make([]byte, HeaderLen+1)
	Put(b, MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 0x99}, TypeARP)
	if !bytes.Equal(b[:HeaderLen], frame[:HeaderLen]) || b[HeaderLen] != 0 {
		t.Errorf("% x", b)
	}
}

func TestGroup(t *testing.T) {
	for a, want := range map[MAC]bool{Broadcast: true, {1, 0, 0x5e}: true, {3, 0xbf}: true, {2}: false, {}: false} {
		if IsGroup(a) != want {
			t.Errorf("%x: %t", a, !want)
		}
	}
}

func TestTag(t *testing.T) {
	tag := Tag(0xb02a)
	if tag.VLAN() != 42 || tag.Priority() != 5 || !tag.DropEligible() {
		t.Errorf("%d, %d, %t", tag.VLAN(), tag.Priority(), tag.DropEligible())
	}
	if tag = 0xe001; tag.VLAN() != 1 || tag.Priority() != 7 || tag.DropEligible() {
		t.Errorf("%d, %d, %t", tag.VLAN(), tag.Priority(), tag.DropEligible())
	}
}

func TestSkipPriorityTags(t *testing.T) {
	for _, tt := range []struct {
		name    string
		first   Type
		payload string
		next    Type
		rest    string
		ok      bool
	}{
		{"none", TypeIPv4, "4500", TypeIPv4, "4500", true},
		{"one", TypeVLAN, "a00008004500", TypeIPv4, "4500", true},
		{"two of both types", TypeVLAN, "a00088a8000008064500", TypeARP, "4500", true},
		{"many", TypeQinQ, "0000810000008100000081000000080045", TypeIPv4, "45", true},
		{"a VLAN's", TypeVLAN, "002a08004500", TypeVLAN, "002a08004500", true},
		{"a VLAN's behind one", TypeVLAN, "0000810020010800", TypeVLAN, "20010800", true},
		{"cut", TypeVLAN, "000008", TypeVLAN, "", false},
		{"cut in the second", TypeVLAN, "000081000000", TypeVLAN, "", false},
		{"nothing behind", TypeVLAN, "00000800", TypeIPv4, "", true},
	} {
		payload, err := hex.DecodeString(tt.payload)
		if err != nil {
			t.Fatal(err)
		}
		next, rest, ok := SkipPriorityTags(tt.first, payload)
		if next != tt.next || hex.EncodeToString(rest) != tt.rest || ok != tt.ok {
			t.Errorf("%s: %#x, %x, %t", tt.name, next, rest, ok)
		}
	}
}

// FuzzParse holds getters to any bytes.
func FuzzParse(f *testing.F) {
	f.Add(frame)
	f.Add(append(bytes.Clone(frame[:12]), 0x81, 0, 0, 0, 0x88, 0xa8, 0, 0, 8, 0, 0x45))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, ok := Parse(b)
		if ok != (len(b) >= HeaderLen) {
			t.Fatalf("%d bytes: %t", len(b), ok)
		}
		if !ok {
			return
		}
		again := make([]byte, HeaderLen)
		Put(again, h.Destination(), h.Source(), h.Type())
		if !bytes.Equal(again, b[:HeaderLen]) {
			t.Fatalf("% x became % x", b[:HeaderLen], again)
		}
		next, rest, ok := SkipPriorityTags(h.Type(), payload)
		if ok && (len(payload)-len(rest))%TagLen != 0 {
			t.Fatalf("passed over %d bytes", len(payload)-len(rest))
		}
		if tag, _, _, whole := ParseTag(rest); ok && next.IsTag() && whole && tag.VLAN() == 0 {
			t.Fatal("a priority tag is left")
		}
	})
}
