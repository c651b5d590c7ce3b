package pcapng

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
)

// Block types, options and values of draft-ietf-opsawg-pcapng. All is written in
// little-endian order, with every part padded to 4 bytes.
const (
	blockSection    = 0x0a0d0d0a // section 4.1
	blockInterface  = 1          // section 4.2
	blockStatistics = 5          // section 4.6
	blockPacket     = 6          // enhanced packet, section 4.3

	byteOrderMagic = 0x1a2b3c4d // section 4.1
	linkTypeEther  = 1          // LINKTYPE_ETHERNET

	optEnd     = 0 // opt_endofopt, section 3.5
	optComment = 1 // opt_comment, section 3.5

	shbUserAppl = 4 // shb_userappl, section 4.1

	ifName    = 2 // if_name, section 4.2
	ifMACAddr = 6 // if_MACaddr
	ifTSResol = 9 // if_tsresol

	nanoseconds = 9 // value of if_tsresol: 10^-9 s

	epbFlags     = 2 // epb_flags, section 4.3
	epbDropCount = 4 // epb_dropcount: packets lost since the one before

	isbIfRecv = 4 // isb_ifrecv, section 4.6
	isbIfDrop = 5 // isb_ifdrop
)

// Values of the epb_flags word (draft-ietf-opsawg-pcapng, section 4.3.1).
const (
	flagInbound     = 1
	flagOutbound    = 2
	flagUnicast     = 1 << 2
	flagMulticast   = 2 << 2
	flagBroadcast   = 3 << 2
	flagPromiscuous = 4 << 2
)

var le = binary.LittleEndian

// packetOverhead is the most that an enhanced packet block has beside the packet: 28
// bytes of header, flags, drop count, end of options, length, and padding.
const packetOverhead = 28 + 8 + 12 + 4 + 4 + 3

// A packet is a frame about to be recorded.
type packet struct {
	data    []byte
	wireLen int
	time    int64
	link    int    // number of the interface in the file
	flags   uint32 // epb_flags
	drops   uint64 // epb_dropcount
	sumAt   int    // offset in data where sum belongs; 0 for none
	sum     uint16
	vlan    bool
	tci     uint16
	tpid    uint16
}

// vlanAt is where a VLAN tag stands in a frame: behind the addresses.
const vlanAt = 12

// maxLen returns an upper bound of what appendTo appends.
func (p *packet) maxLen(snapLen int) int {
	return min(len(p.data)+ether.TagLen, snapLen) + packetOverhead
}

// appendTo appends the packet as an enhanced packet block.
func (p *packet) appendTo(b []byte, snapLen int) []byte {
	start := len(b)
	wireLen := max(p.wireLen, len(p.data))
	b = le.AppendUint32(b, blockPacket)
	b = le.AppendUint32(b, 0) // its length, written below
	b = le.AppendUint32(b, uint32(p.link))
	b = le.AppendUint32(b, uint32(uint64(p.time)>>32))
	b = le.AppendUint32(b, uint32(p.time))
	b = le.AppendUint32(b, 0) // captured length, written below
	b = le.AppendUint32(b, 0) // original length, written below
	body := len(b)
	sumAt := p.sumAt
	if p.vlan && len(p.data) >= vlanAt {
		b = append(b, p.data[:vlanAt]...)
		b = ether.AppendTag(b, ether.Type(p.tpid), ether.Tag(p.tci))
		b = append(b, p.data[vlanAt:min(len(p.data), max(vlanAt, snapLen-ether.TagLen))]...)
		wireLen += ether.TagLen
		if sumAt > 0 {
			sumAt += ether.TagLen
		}
	} else {
		b = append(b, p.data[:min(len(p.data), snapLen)]...)
	}
	b = b[:min(len(b), body+snapLen)]
	captured := len(b) - body
	if sumAt > 0 && sumAt+2 <= captured {
		binary.BigEndian.PutUint16(b[body+sumAt:], p.sum)
	}
	le.PutUint32(b[start+20:], uint32(captured))
	le.PutUint32(b[start+24:], uint32(wireLen))
	b = pad(b, start)
	b = appendOption32(b, epbFlags, p.flags)
	if p.drops > 0 {
		b = appendOption64(b, epbDropCount, p.drops)
	}
	return endBlock(b, start)
}

// appendSectionHeader appends the header of the file.
func appendSectionHeader(b []byte, opts *Options) []byte {
	start := len(b)
	b = le.AppendUint32(b, blockSection)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, byteOrderMagic)
	b = le.AppendUint16(b, 1) // major version
	b = le.AppendUint16(b, 0) // minor version
	b = le.AppendUint64(b, math.MaxUint64)
	if opts.Comment != "" {
		b = appendOption(b, start, optComment, opts.Comment)
	}
	if opts.Application != "" {
		b = appendOption(b, start, shbUserAppl, opts.Application)
	}
	return endBlock(b, start)
}

// appendInterface appends the description of a link.
func appendInterface(b []byte, info *link.Info, snapLen int) []byte {
	start := len(b)
	b = le.AppendUint32(b, blockInterface)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, linkTypeEther)
	b = le.AppendUint16(b, 0) // reserved
	b = le.AppendUint32(b, uint32(snapLen))
	if info.Name != "" {
		b = appendOption(b, start, ifName, info.Name)
	}
	if info.HardwareAddr != (link.MAC{}) {
		b = appendOption(b, start, ifMACAddr, string(info.HardwareAddr[:]))
	}
	b = appendOption(b, start, ifTSResol, string([]byte{nanoseconds}))
	return endBlock(b, start)
}

// appendStatistics appends the counters of a link at the given time.
func appendStatistics(b []byte, id int, at int64, c *counts) []byte {
	start := len(b)
	b = le.AppendUint32(b, blockStatistics)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(id))
	b = le.AppendUint32(b, uint32(uint64(at)>>32))
	b = le.AppendUint32(b, uint32(at))
	b = appendOption64(b, isbIfRecv, c.captured+c.dropped)
	b = appendOption64(b, isbIfDrop, c.dropped)
	return endBlock(b, start)
}

// maxOption is the longest text of an option that is written, in bytes.
const maxOption = 4096

// appendOption appends an option with a text, cut if it is very long.
func appendOption(b []byte, start int, code uint16, text string) []byte {
	text = text[:min(len(text), maxOption)]
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, uint16(len(text)))
	b = append(b, text...)
	return pad(b, start)
}

func appendOption32(b []byte, code uint16, v uint32) []byte {
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, 4)
	return le.AppendUint32(b, v)
}

func appendOption64(b []byte, code uint16, v uint64) []byte {
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, 8)
	return le.AppendUint64(b, v)
}

// pad fills the block that begins at start up to a multiple of 4 bytes.
func pad(b []byte, start int) []byte {
	var zero [3]byte
	return append(b, zero[:-(len(b)-start)&3]...)
}

// endBlock appends the end of the options and the length, which it writes into the
// block's beginning too.
func endBlock(b []byte, start int) []byte {
	b = le.AppendUint32(b, optEnd)
	n := uint32(len(b) - start + 4)
	le.PutUint32(b[start+4:], n)
	return le.AppendUint32(b, n)
}

// A sorter puts the blocks of a buffer in the order of time.
type sorter struct {
	index []blockAt
	out   []byte
}

type blockAt struct {
	time       int64
	start, end int
}

// sort returns blocks, or a copy of them in order. Blocks that are no packets come
// first: packets refer to them.
func (s *sorter) sort(blocks []byte) []byte {
	s.index = s.index[:0]
	sorted := true
	for at, last := 0, int64(math.MinInt64); at < len(blocks); {
		end := at + int(le.Uint32(blocks[at+4:]))
		time := int64(math.MinInt64)
		if le.Uint32(blocks[at:]) == blockPacket {
			time = int64(uint64(le.Uint32(blocks[at+12:]))<<32 | uint64(le.Uint32(blocks[at+16:])))
		}
		sorted = sorted && time >= last
		last = time
		s.index = append(s.index, blockAt{time, at, end})
		at = end
	}
	if sorted {
		return blocks
	}
	slices.SortStableFunc(s.index, func(a, b blockAt) int { return cmp.Compare(a.time, b.time) })
	s.out = s.out[:0]
	for _, e := range s.index {
		s.out = append(s.out, blocks[e.start:e.end]...)
	}
	return s.out
}
