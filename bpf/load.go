package bpf

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Offsets that are no offsets into what a program sees (linux/filter.h): each
// stands for the beginning of something else.
const (
	skfNetwork   = -0x100000 // SKF_NET_OFF: the IP header
	skfLink      = -0x200000 // SKF_LL_OFF: the frame
	skfAncillary = -0x1000   // SKF_AD_OFF: what is known beside the bytes
)

func (v *View) load(i *Instruction, a, x uint32, m *[memory]uint32) (uint32, bool) {
	switch i.Op & 0xe0 {
	case unix.BPF_IMM:
		return i.K, true
	case unix.BPF_MEM:
		return m[i.K], true
	case unix.BPF_LEN:
		return uint32(len(v.Data)), true
	case unix.BPF_IND:
		return v.at(int32(x+i.K), i.Op)
	default: // BPF_ABS
		if k := int32(i.K); k < 0 && k >= skfAncillary {
			return v.ancillary(int(k)-skfAncillary, a, x), true
		}
		return v.at(int32(i.K), i.Op)
	}
}

func (v *View) loadIndex(i *Instruction, m *[memory]uint32) (uint32, bool) {
	switch i.Op & 0xe0 {
	case unix.BPF_IMM:
		return i.K, true
	case unix.BPF_MEM:
		return m[i.K], true
	case unix.BPF_LEN:
		return uint32(len(v.Data)), true
	default: // BPF_MSH, the length of an IP header
		b, ok := v.at(int32(i.K), unix.BPF_B)
		return b & 0x0f * 4, ok
	}
}

// at loads a number of the size that is in op.
func (v *View) at(off int32, op uint16) (uint32, bool) {
	from, at := v.Data, int(off)
	switch {
	case off >= 0:
	case off >= skfNetwork:
		from, at = v.Network, int(off)-skfNetwork
	case off >= skfLink:
		from, at = v.frame().Data, int(off)-skfLink
	default:
		return 0, false
	}
	from = from[min(at, len(from)):]
	switch size := op & 0x18; {
	case size == unix.BPF_B && len(from) >= 1:
		return uint32(from[0]), true
	case size == unix.BPF_H && len(from) >= 2:
		return uint32(binary.BigEndian.Uint16(from)), true
	case size == unix.BPF_W && len(from) >= 4:
		return binary.BigEndian.Uint32(from), true
	}
	return 0, false
}
