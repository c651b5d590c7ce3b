package nftables

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes.

func text(typ int, s string) *nl.RtAttr   { return nl.NewRtAttr(typ, nl.ZeroTerminated(s)) }
func number(typ int, v uint32) *nl.RtAttr { return nl.NewRtAttr(typ, nl.BEUint32Attr(v)) }
func value(typ int, data ...byte) *nl.RtAttr {
	return nest(typ, nl.NewRtAttr(unix.NFTA_DATA_VALUE, data))
}

func nest(typ int, inner ...*nl.RtAttr) *nl.RtAttr {
	a := nl.NewRtAttr(typ|unix.NLA_F_NESTED, nil)
	for _, i := range inner {
		a.AddChild(i)
	}
	return a
}

// expression is one step of a rule.
func expression(name string, attrs ...*nl.RtAttr) *nl.RtAttr {
	return nest(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, name), nest(unix.NFTA_EXPR_DATA, attrs...))
}

// A Base is what an offset in a frame counts from.
type Base uint32

// Bases. The transport header is behind all options; a later fragment has none.
const (
	LinkHeader      Base = unix.NFT_PAYLOAD_LL_HEADER
	NetworkHeader   Base = unix.NFT_PAYLOAD_NETWORK_HEADER
	TransportHeader Base = unix.NFT_PAYLOAD_TRANSPORT_HEADER
)

// Load loads bytes of the frame into register 1. The rule ends where the frame has not
// got them: of the link header, a frame that the host loops back to itself has none.
func (from Base) Load(offset, n uint32) *nl.RtAttr { return from.load(unix.NFT_REG_1, offset, n) }

// LoadField loads bytes of the frame as a field of a concatenation, which is in register
// 1 from the field's number of 4 bytes on.
func (from Base) LoadField(field, offset, n uint32) *nl.RtAttr {
	return from.load(unix.NFT_REG32_00+field, offset, n)
}

func (from Base) load(register, offset, n uint32) *nl.RtAttr {
	return expression("payload", number(unix.NFTA_PAYLOAD_DREG, register),
		number(unix.NFTA_PAYLOAD_BASE, uint32(from)), number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, n))
}

// LoadMeta loads what is known about the frame (unix.NFT_META_...) into register 1.
func LoadMeta(key uint32) *nl.RtAttr {
	return expression("meta", number(unix.NFTA_META_KEY, key), number(unix.NFTA_META_DREG, unix.NFT_REG_1))
}

// Mask leaves of register 1 what is in the mask.
func Mask(mask ...byte) *nl.RtAttr {
	return expression("bitwise", number(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1), number(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1),
		number(unix.NFTA_BITWISE_LEN, uint32(len(mask))), value(unix.NFTA_BITWISE_MASK, mask...),
		value(unix.NFTA_BITWISE_XOR, make([]byte, len(mask))...))
}

// A Comparison is of register 1 with something, byte by byte.
type Comparison uint32

// Comparisons.
const (
	Equal     Comparison = unix.NFT_CMP_EQ
	Unequal   Comparison = unix.NFT_CMP_NEQ
	NotHigher Comparison = unix.NFT_CMP_LTE
)

// Compare ends the rule unless register 1 compares so with the given.
func Compare(how Comparison, data ...byte) *nl.RtAttr {
	return expression("cmp", number(unix.NFTA_CMP_SREG, unix.NFT_REG_1), number(unix.NFTA_CMP_OP, uint32(how)),
		value(unix.NFTA_CMP_DATA, data...))
}

// In ends the rule unless register 1 is in a set.
func In(set string) *nl.RtAttr { return lookup(set, 0) }

// NotIn ends the rule if register 1 is in a set.
func NotIn(set string) *nl.RtAttr { return lookup(set, unix.NFT_LOOKUP_F_INV) }

func lookup(set string, flags uint32) *nl.RtAttr {
	return expression("lookup", text(unix.NFTA_LOOKUP_SET, set), number(unix.NFTA_LOOKUP_SREG, unix.NFT_REG_1),
		number(unix.NFTA_LOOKUP_FLAGS, flags))
}

// Verdicts of nf_tables.
const (
	verdictDrop   = 0 // NF_DROP
	verdictAccept = 1 // NF_ACCEPT
)

// Drop ends the frame's way.
func Drop() *nl.RtAttr { return verdict(verdictDrop) }

// Accept has the frame go on behind the chains of this priority.
func Accept() *nl.RtAttr { return verdict(verdictAccept) }

// Jump has the rules of another chain asked.
func Jump(chain string) *nl.RtAttr {
	return verdict(unix.NFT_JUMP, text(unix.NFTA_VERDICT_CHAIN, chain))
}

func verdict(code int32, more ...*nl.RtAttr) *nl.RtAttr {
	attrs := append([]*nl.RtAttr{number(unix.NFTA_VERDICT_CODE, uint32(code))}, more...)
	return expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nest(unix.NFTA_IMMEDIATE_DATA, nest(unix.NFTA_DATA_VERDICT, attrs...)))
}
