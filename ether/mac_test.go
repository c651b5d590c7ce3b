package ether

import "testing"

func TestGroup(t *testing.T) {
	for a, want := range map[MAC]bool{Broadcast: true, {1, 0, 0x5e}: true, {3, 0xbf}: true, {2}: false, {}: false} {
		if a.IsGroup() != want {
			t.Errorf("%x: %t", a, !want)
		}
	}
}

func TestMACString(t *testing.T) {
	for a, want := range map[MAC]string{{2, 0, 0x0a, 9, 0xf0, 1}: "02:00:0a:09:f0:01", {}: "00:00:00:00:00:00", Broadcast: "ff:ff:ff:ff:ff:ff"} {
		if got := a.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
