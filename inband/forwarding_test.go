package inband

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// TestForwardingIn reads answers of all lengths.
func TestForwardingIn(t *testing.T) {
	header := []byte{unix.AF_INET, 0, 0, 0}
	index, on, off := nl.NewRtAttr(netconfIndex, nl.Uint32Attr(7)).Serialize(),
		nl.NewRtAttr(netconfForwarding, nl.Uint32Attr(1)).Serialize(), nl.NewRtAttr(netconfForwarding, nl.Uint32Attr(0)).Serialize()
	short := nl.NewRtAttr(netconfForwarding, []byte{1, 0, 0}).Serialize()
	broken := binary.NativeEndian.AppendUint16(nil, 3) // shorter than an attribute's header
	for _, tt := range []struct {
		name    string
		answers [][]byte
		want    bool
	}{
		{"none", nil, false},
		{"on", [][]byte{slices.Concat(header, index, on)}, true},
		{"off", [][]byte{slices.Concat(header, index, off)}, false},
		{"a header alone, then on", [][]byte{header, slices.Concat(header, on)}, true},
		{"less than a header, then on", [][]byte{header[:3], slices.Concat(header, on)}, true},
		{"a number cut short", [][]byte{slices.Concat(header, short)}, false},
		{"broken, then on", [][]byte{slices.Concat(header, broken, make([]byte, 6)), slices.Concat(header, on)}, true},
	} {
		if got := forwardingIn(tt.answers); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}
