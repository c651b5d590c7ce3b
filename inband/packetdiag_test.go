package inband

import (
	"encoding/binary"
	"testing"

	"github.com/vishvananda/netlink/nl"
)

// TestHolderIn reads answers of all lengths.
func TestHolderIn(t *testing.T) {
	const device, ours, holder = 7, 100, 101
	info := func(dev int, addr [4]byte, mark uint32) []byte {
		var b []byte
		for _, v := range []uint32{uint32(dev), 0, 0, holderNumber(addr), mark, 0} {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
		return b
	}
	answer := func(inode uint32, typ int, info []byte) []byte {
		b := make([]byte, packetMsgLen)
		binary.NativeEndian.PutUint32(b[packetMsgInode:], inode)
		return append(b, nl.NewRtAttr(typ, info).Serialize()...)
	}
	good := info(device, reserved, holderMark)
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"a holder", answer(holder, packetDiagInfo, good), true},
		{"ourselves", answer(ours, packetDiagInfo, good), false},
		{"of another device", answer(holder, packetDiagInfo, info(device+1, reserved, holderMark)), false},
		{"of another address", answer(holder, packetDiagInfo, info(device, [4]byte{10, 9, 0, 3}, holderMark)), false},
		{"without the mark", answer(holder, packetDiagInfo, info(device, reserved, 1)), false},
		{"another attribute", answer(holder, packetDiagInfo+1, good), false},
		{"cut short", answer(holder, packetDiagInfo, good[:packetInfoLen-4]), false},
		{"no attribute", answer(holder, packetDiagInfo, good)[:packetMsgLen], false},
		{"less than a message", answer(holder, packetDiagInfo, good)[:packetMsgLen-1], false},
		{"broken", append(answer(holder, packetDiagInfo, good)[:packetMsgLen], 3, 0, 0, 0), false},
	} {
		inode, there := holderIn([][]byte{tt.b}, device, reserved, ours)
		if there != tt.want || there && inode != holder {
			t.Errorf("%s: %d, %t", tt.name, inode, there)
		}
	}
	if _, there := holderIn([][]byte{{1}, answer(holder, packetDiagInfo, good)}, device, reserved, ours); !there {
		t.Error("a holder behind a message cut short is not found")
	}
}
