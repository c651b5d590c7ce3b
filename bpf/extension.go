package bpf

import (
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/sys/unix"
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

// ipHeader is the length of an IP header without options.
const ipHeader = 20

// ancillary returns something that is not in the bytes. Marks, queues and flow
// hashes are what the kernel's IP layer has made of a frame, which none in a ring
// has met: they are 0, as they are in Linux where nobody has set them.
func (v *View) ancillary(what int, a, x uint32) uint32 {
	switch what {
	case adProtocol:
		return uint32(v.EtherType)
	case adPacketType:
		return uint32(v.PacketType)
	case adInterface:
		return uint32(v.Interface)
	case adHardware:
		if v.Host != nil {
			return uint32(v.Host.HardwareType(v.Interface))
		}
	case adCPU:
		if v.Host != nil {
			return uint32(v.Host.CPU())
		}
	case adXor:
		return a ^ x
	case adRandom:
		return rand.Uint32()
	case adPayload:
		return v.payloadOffset()
	case adAttribute:
		return findAttribute(v.Data, a, x)
	case adNested:
		return findNested(v.Data, a, x)
	case adTag, adTagged, adTagType:
		return v.tag(what)
	}
	return 0
}

// tag returns what is known of a VLAN tag that the device has taken out.
func (v *View) tag(what int) uint32 {
	f := v.frame()
	switch {
	case !f.Tagged:
		return 0
	case what == adTag:
		return uint32(f.TCI)
	case what == adTagType:
		return uint32(f.TPID)
	default:
		return 1
	}
}

// payloadOffset returns where the payload begins in the data, behind the headers
// of all layers (skb_get_poff in Linux); 0 if it cannot be told.
func (v *View) payloadOffset() uint32 {
	h := v.Network
	if v.EtherType != unix.ETH_P_IP || len(h) < ipHeader || h[0]>>4 != 4 {
		return 0
	}
	n := int(h[0]&0x0f) * 4
	if n < ipHeader || n > len(h) {
		return 0
	}
	at := v.Offset + n
	if fragment := binary.BigEndian.Uint16(h[6:]) & 0x1fff; fragment != 0 {
		return uint32(at)
	}
	switch payload := h[n:]; h[9] {
	case unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_IGMP:
		at += 8
	case unix.IPPROTO_TCP:
		if len(payload) > 12 {
			at += max(20, int(payload[12]>>4)*4)
		}
	}
	return uint32(max(at, 0))
}
