package stack

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/udp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets that are no offsets into what a program sees (linux/filter.h): each
// stands for the beginning of something else.
const (
	skfNetwork   = -0x100000 // SKF_NET_OFF: the IP header
	skfLink      = -0x200000 // SKF_LL_OFF: the frame
	skfAncillary = -0x1000   // SKF_AD_OFF: what is known beside the bytes
)

// What programs are told beside the bytes: the offset from SKF_AD_OFF on. There
// are no others.
const (
	adProtocol   = 0  // SKF_AD_PROTOCOL: the EtherType
	adPacketType = 4  // SKF_AD_PKTTYPE
	adInterface  = 8  // SKF_AD_IFINDEX
	adAttribute  = 12 // SKF_AD_NLATTR: the offset of attribute X from offset A on
	adNested     = 16 // SKF_AD_NLATTR_NEST: the same, in the attribute at A
	adMark       = 20 // SKF_AD_MARK
	adQueue      = 24 // SKF_AD_QUEUE
	adHardware   = 28 // SKF_AD_HATYPE
	adHash       = 32 // SKF_AD_RXHASH
	adCPU        = 36 // SKF_AD_CPU
	adXor        = 40 // SKF_AD_ALU_XOR_X: A ^= X
	adTag        = 44 // SKF_AD_VLAN_TAG
	adTagged     = 48 // SKF_AD_VLAN_TAG_PRESENT
	adPayload    = 52 // SKF_AD_PAY_OFFSET
	adRandom     = 56 // SKF_AD_RANDOM
	adTagType    = 60 // SKF_AD_VLAN_TPID
)

// bpfMemory is how many cells of memory a program has (BPF_MEMWORDS).
const bpfMemory = 16

// filter is a classic BPF program (SO_ATTACH_FILTER), which checkProgram has
// accepted.
type filter struct{ code []bpf.RawInstruction }

// A bpfView is what a program is run on. It has no pointer to the datagram's Info,
// nor to a link.Meta, which would have to be on the heap then.
type bpfView struct {
	s         *Stack
	data      []byte
	network   []byte // from the IP header on; nil: there is none
	offset    int    // of network in data: negative, if data begins behind its header
	kind      link.PacketType
	ifc       int32
	etherType uint16
	// The frame and its tag are found when they are asked for; see findFrame.
	frame     []byte
	tagged    bool
	tci, tpid uint16
	found     bool
}

// setTag takes a tag that the device has taken out of the frame.
func (v *bpfView) setTag(m *link.Meta) {
	v.found, v.tagged, v.tci, v.tpid = true, m.VLAN, m.VLANTCI, m.VLANTPID
}

// run runs a program, and returns how many bytes to keep. What reads where there
// is nothing, or divides by 0, keeps none.
func (f *filter) run(v *bpfView) uint32 {
	var a, x uint32
	var m [bpfMemory]uint32
	for pc := 0; ; pc++ {
		i := &f.code[pc]
		ok := true
		switch i.Op & 0x07 {
		case unix.BPF_LD:
			a, ok = v.load(i, a, x, &m)
		case unix.BPF_LDX:
			x, ok = v.loadIndex(i, &m)
		case unix.BPF_ST:
			m[i.K] = a
		case unix.BPF_STX:
			m[i.K] = x
		case unix.BPF_ALU:
			a, ok = calculate(i, a, x)
		case unix.BPF_JMP:
			pc += jump(i, a, x)
		case unix.BPF_RET:
			if i.Op == unix.BPF_RET|unix.BPF_A {
				return a
			}
			return i.K
		default: // BPF_MISC
			if i.Op == unix.BPF_MISC|unix.BPF_TXA {
				a = x
			} else {
				x = a
			}
		}
		if !ok {
			return 0
		}
	}
}

func (v *bpfView) load(i *bpf.RawInstruction, a, x uint32, m *[bpfMemory]uint32) (uint32, bool) {
	switch i.Op & 0xe0 {
	case unix.BPF_IMM:
		return i.K, true
	case unix.BPF_MEM:
		return m[i.K], true
	case unix.BPF_LEN:
		return uint32(len(v.data)), true
	case unix.BPF_IND:
		return v.at(int32(x+i.K), i.Op)
	default: // BPF_ABS
		if k := int32(i.K); k < 0 && k >= skfAncillary {
			return v.ancillary(int(k)-skfAncillary, a, x), true
		}
		return v.at(int32(i.K), i.Op)
	}
}

func (v *bpfView) loadIndex(i *bpf.RawInstruction, m *[bpfMemory]uint32) (uint32, bool) {
	switch i.Op & 0xe0 {
	case unix.BPF_IMM:
		return i.K, true
	case unix.BPF_MEM:
		return m[i.K], true
	case unix.BPF_LEN:
		return uint32(len(v.data)), true
	default: // BPF_MSH, the length of an IP header
		b, ok := v.at(int32(i.K), unix.BPF_B)
		return b & 0x0f * 4, ok
	}
}

// at loads a number of the size that is in op.
func (v *bpfView) at(off int32, op uint16) (uint32, bool) {
	from, at := v.data, int(off)
	switch {
	case off >= 0:
	case off >= skfNetwork:
		from, at = v.network, int(off)-skfNetwork
	case off >= skfLink:
		v.findFrame()
		from, at = v.frame, int(off)-skfLink
	default:
		return 0, false
	}
	if at > len(from) {
		return 0, false
	}
	from = from[at:]
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

// ancillary returns something that is not in the bytes. Marks, queues and flow
// hashes are what the kernel's IP layer has made of a frame, which none in a ring
// has met: they are 0, as they are in Linux where nobody has set them.
func (v *bpfView) ancillary(what int, a, x uint32) uint32 {
	switch what {
	case adProtocol:
		return uint32(v.etherType)
	case adPacketType:
		return uint32(v.kind)
	case adInterface:
		return uint32(v.ifc)
	case adHardware:
		if i := v.s.InterfaceByIndex(int(v.ifc)); i != nil {
			return uint32(i.HardwareType())
		}
	case adCPU:
		return uint32(link.CPU())
	case adXor:
		return a ^ x
	case adRandom:
		return rand.Uint32()
	case adPayload:
		return v.payloadOffset()
	case adAttribute:
		return findAttribute(v.data, a, x)
	case adNested:
		return findNested(v.data, a, x)
	case adTag, adTagged, adTagType:
		return v.tag(what)
	}
	return 0
}

// tag returns what is known of a VLAN tag that the device has taken out.
func (v *bpfView) tag(what int) uint32 {
	v.findFrame()
	switch {
	case !v.tagged:
		return 0
	case what == adTag:
		return uint32(v.tci)
	case what == adTagType:
		return uint32(v.tpid)
	default:
		return 1
	}
}

// findFrame looks for the frame that has brought the datagram, in the batch that
// is being processed: nobody keeps it for the few programs that ask. What was put
// together of fragments came in none.
func (v *bpfView) findFrame() {
	if v.found || len(v.network) == 0 {
		return
	}
	v.found = true
	for i := range v.s.rx.batch {
		f := &v.s.rx.batch[i]
		if len(f.Data) > link.HeaderLen && &f.Data[link.HeaderLen] == &v.network[0] {
			v.frame = f.Data
			v.setTag(&f.Meta)
			return
		}
	}
}

// payloadOffset returns where the payload begins in the data, behind the headers
// of all layers (skb_get_poff in Linux); 0 if it cannot be told.
func (v *bpfView) payloadOffset() uint32 {
	h, payload, ok := ipv4.ParseQuoted(v.network)
	if !ok || v.etherType != unix.ETH_P_IP {
		return 0
	}
	at := v.offset + len(h)
	if h.FragmentOffset() != 0 {
		return uint32(at)
	}
	switch h.Protocol() {
	case ipv4.ProtocolUDP, ipv4.ProtocolICMP, unix.IPPROTO_IGMP:
		at += udp.HeaderLen // those of ICMP and IGMP are as long
	case unix.IPPROTO_TCP:
		if len(payload) > 12 {
			at += max(20, int(payload[12]>>4)*4)
		}
	}
	return uint32(max(at, 0))
}

// attributeLen is the length of a struct nlattr, and attributeType the part of its
// type that is no flag (linux/netlink.h).
const (
	attributeLen  = 4
	attributeType = 0x3fff
)

// findAttribute returns the offset of the first netlink attribute of a type, from
// an offset on; 0 if there is none.
func findAttribute(data []byte, from, typ uint32) uint32 {
	for at := int(from); at >= 0 && at <= len(data)-attributeLen; {
		n := int(binary.NativeEndian.Uint16(data[at:]))
		if n < attributeLen || n > len(data)-at {
			break
		}
		if uint32(binary.NativeEndian.Uint16(data[at+2:])&attributeType) == typ {
			return uint32(at)
		}
		at += (n + 3) &^ 3
	}
	return 0
}

// findNested is findAttribute for those in the attribute at an offset.
func findNested(data []byte, at, typ uint32) uint32 {
	if int(at) < 0 || int(at) > len(data)-attributeLen {
		return 0
	}
	n := int(binary.NativeEndian.Uint16(data[at:]))
	if n < attributeLen || n > len(data)-int(at) {
		return 0
	}
	return findAttribute(data[:int(at)+n], at+attributeLen, typ)
}

// calculate returns what becomes of A.
func calculate(i *bpf.RawInstruction, a, x uint32) (uint32, bool) {
	v := i.K
	if i.Op&unix.BPF_X != 0 {
		v = x
	}
	switch i.Op & 0xf0 {
	case unix.BPF_ADD:
		a += v
	case unix.BPF_SUB:
		a -= v
	case unix.BPF_MUL:
		a *= v
	case unix.BPF_DIV:
		if v == 0 {
			return 0, false
		}
		a /= v
	case unix.BPF_MOD:
		if v == 0 {
			return 0, false
		}
		a %= v
	case unix.BPF_AND:
		a &= v
	case unix.BPF_OR:
		a |= v
	case unix.BPF_XOR:
		a ^= v
	case unix.BPF_LSH:
		a <<= v & 31
	case unix.BPF_RSH:
		a >>= v & 31
	default: // BPF_NEG
		a = -a
	}
	return a, true
}

// jump returns how many instructions are passed over.
func jump(i *bpf.RawInstruction, a, x uint32) int {
	v := i.K
	if i.Op&unix.BPF_X != 0 {
		v = x
	}
	var yes bool
	switch i.Op & 0xf0 {
	case unix.BPF_JA:
		return int(i.K)
	case unix.BPF_JEQ:
		yes = a == v
	case unix.BPF_JGT:
		yes = a > v
	case unix.BPF_JGE:
		yes = a >= v
	default: // BPF_JSET
		yes = a&v != 0
	}
	if yes {
		return int(i.Jt)
	}
	return int(i.Jf)
}
