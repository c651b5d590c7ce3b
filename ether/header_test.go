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

func TestTag(t *testing.T) {
	tag := Tag(0xb02a)
	if tag.VLAN() != 42 || tag.Priority() != 5 || !tag.DropEligible() {
		t.Errorf("%d, %d, %t", tag.VLAN(), tag.Priority(), tag.DropEligible())
	}
	if tag = 0xe001; tag.VLAN() != 1 || tag.Priority() != 7 || tag.DropEligible() {
		t.Errorf("%d, %d, %t", tag.VLAN(), tag.Priority(), tag.DropEligible())
	}
}

func TestMakeTag(t *testing.T) {
	for _, tt := range []struct {
		vlan, priority int
		want           Tag
	}{{42, 5, 0xa02a}, {4095, 7, 0xefff}, {0, 0, 0}, {4096, 8, 0}} {
		if got := MakeTag(tt.vlan, tt.priority); got != tt.want {
			t.Errorf("%d, %d: %#x, want %#x", tt.vlan, tt.priority, got, tt.want)
		}
	}
}

func TestParseTag(t *testing.T) {
	tag, next, rest, ok := ParseTag([]byte{0xa0, 0x2a, 0x88, 0xa8, 1, 2})
	if tag != 0xa02a || next != TypeQinQ || !bytes.Equal(rest, []byte{1, 2}) || !ok {
		t.Errorf("%#x, %#x, % x, %t", tag, next, rest, ok)
	}
	if _, _, rest, ok := ParseTag([]byte{0, 0, 8, 0}); len(rest) != 0 || !ok {
		t.Errorf("a tag alone: % x, %t", rest, ok)
	}
	for n := range TagLen {
		if _, _, _, ok := ParseTag(make([]byte, n)); ok {
			t.Errorf("%d bytes are a tag", n)
		}
	}
}

// TestTaggedFrame writes a frame of a customer's VLAN in a provider's, and takes it apart.
func TestTaggedFrame(t *testing.T) {
	b := AppendTag(bytes.Clone(frame[:12]), TypeQinQ, MakeTag(7, 0))
	b = AppendTag(b, TypeVLAN, MakeTag(42, 5))
	b = append(b, frame[12:]...)
	if want := "020000000001020000000099" + "88a80007" + "8100a02a" + "08060708"; hex.EncodeToString(b) != want {
		t.Fatalf("%x, want %s", b, want)
	}
	for _, want := range []struct {
		of  Type
		tag Tag
	}{{TypeQinQ, 7}, {TypeVLAN, 0xa02a}} {
		h, payload, _ := Parse(b)
		tag, _, _, ok := ParseTag(payload)
		if h.Type() != want.of || tag != want.tag || !ok {
			t.Errorf("%#x, %#x, %t; want %#x, %#x", h.Type(), tag, ok, want.of, want.tag)
		}
		b = Untag(b)
	}
	if !bytes.Equal(b, frame) {
		t.Errorf("% x is left", b)
	}
}

func TestStripPriorityTags(t *testing.T) {
	const addresses = "020000000001020000000099"
	for _, tt := range []struct{ name, frame, rest string }{ // behind the addresses
		{"none", "08004500", "08004500"},
		{"one", "8100a00008004500", "08004500"},
		{"two of both types", "8100a00088a8000008064500", "08064500"},
		{"many", "88a80000810000008100000081000000080045", "080045"},
		{"a VLAN's", "8100002a08004500", ""},
		{"a VLAN's behind one", "810000008100200108004500", ""},
		{"cut", "8100000008", ""},
		{"cut in the second", "81000000810000", ""},
		{"nothing behind", "810000000800", "0800"},
	} {
		b, err := hex.DecodeString(addresses + tt.frame)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := StripPriorityTags(b)
		if ok != (tt.rest != "") || ok && hex.EncodeToString(rest) != addresses+tt.rest {
			t.Errorf("%s: %x, %t", tt.name, rest, ok)
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
		if !bytes.Equal(again, b[:HeaderLen]) || len(payload) != len(b)-HeaderLen {
			t.Fatalf("% x became % x", b[:HeaderLen], again)
		}
		b = bytes.Clone(b)
		rest, ok := StripPriorityTags(b)
		if (len(b)-len(rest))%TagLen != 0 || !bytes.Equal(rest[:12], again[:12]) {
			t.Fatalf("% x of % x is left", rest, b)
		}
		tag, _, _, whole := ParseTag(rest[HeaderLen:])
		switch tagged := Header(rest).Type().IsTag(); {
		case ok && tagged, !ok && !tagged:
			t.Fatalf("type %#x: %t", Header(rest).Type(), ok)
		case !ok && whole && tag.VLAN() == 0:
			t.Fatal("a priority tag is left")
		}
	})
}
