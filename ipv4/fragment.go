package ipv4

import "encoding/binary"

// FragmentPayload returns how many bytes of payload each fragment but the last
// carries on a path of this MTU with headers of headerLen bytes: a multiple of
// 8 (RFC 791, section 2.3). It is not positive if there is no room for any.
func FragmentPayload(mtu, headerLen int) int { return (mtu - headerLen) &^ 7 }

// A Fragmenter cuts one datagram into fragments (RFC 791, section 3.2). It is
// a plain value that allocates nothing, made ready by Reset for each datagram:
//
//	var g ipv4.Fragmenter
//	if c := g.Reset(fields, payload, mtu); c != ipv4.CauseNone { ... }
//	for more := true; more; {
//		var n int
//		n, more = g.Next(buf)
//		send(buf[:n])
//	}
//
// All fragments have the header's fields. Options without the copied bit stand
// in the first one only; in the others no-operations take their place, so that
// all headers are of one length, as Linux has it. A datagram that is a fragment
// itself is cut further: its offset counts, and so does its MoreFragments.
type Fragmenter struct {
	header [MaxHeaderLen]byte
	later  [MaxOptionsLen]byte // the options of all fragments but the first
	hlen   int
	room   int // bytes of payload in a fragment
	left   int // bytes of payload not yet sent
	field  uint16
	offset int      // of the next fragment, in bytes
	cur    []byte   // what of the payload comes next
	rest   [][]byte // and after it
	sum    uint32   // PartialSum of the header with a zero fragment field
	first  bool
}

// Reset makes the Fragmenter ready for the datagram of this header and payload,
// which must not change until all fragments are out. mtu is the longest
// fragment in bytes. DontFragment is not asked about, only written: whoever
// must not fragment does not come here.
//
// The cause is CauseTooLong if the datagram is longer than MaxLen,
// CauseMTUTooSmall if it does not fit in mtu and there is no room for 8 bytes
// behind a header, CauseBadFields as for [Fields.Put].
func (g *Fragmenter) Reset(f *Fields, payload []byte, mtu int) Cause {
	return g.reset(f, payload, nil, len(payload), mtu)
}

// ResetGather is Reset for a payload in pieces.
func (g *Fragmenter) ResetGather(f *Fields, payload [][]byte, mtu int) Cause {
	n := 0
	for _, p := range payload {
		n += len(p)
	}
	return g.reset(f, nil, payload, n, mtu)
}

func (g *Fragmenter) reset(f *Fields, cur []byte, rest [][]byte, n, mtu int) Cause {
	g.hlen = f.HeaderLen()
	g.left, g.room, g.first = 0, 0, false
	if g.hlen <= MaxHeaderLen && f.FragmentOffset+n > MaxLen-g.hlen {
		return CauseTooLong
	}
	if f.Put(g.header[:], n) == 0 {
		return CauseBadFields
	}
	if g.hlen+n > mtu {
		g.room = FragmentPayload(mtu, g.hlen)
		if g.room < 8 {
			return CauseMTUTooSmall
		}
	} else {
		g.room = n
	}
	g.left, g.cur, g.rest = n, cur, rest
	g.offset, g.field, g.first = f.FragmentOffset, f.fragmentField()&^offsetMask, true
	g.sum = g.headerSum()
	if g.hlen > MinHeaderLen && g.room < n {
		copy(g.later[:], g.header[MinHeaderLen:g.hlen])
		Options(g.later[:g.hlen-MinHeaderLen]).keepCopied()
	}
	return CauseNone
}

// headerSum returns the sum of the header's fixed fields.
func (g *Fragmenter) headerSum() uint32 {
	clear(g.header[6:8])
	return PartialSum(g.header[:g.hlen])
}

// Next writes the next fragment, header and payload, to the start of buf, and
// returns its length in bytes and whether more are to come. It returns 0 and
// what was before if buf is shorter than the fragment; a buf of MTU bytes never
// is. After the last fragment it returns 0 and false.
func (g *Fragmenter) Next(buf []byte) (n int, more bool) {
	size := min(g.room, g.left)
	if size == 0 && !g.first {
		return 0, false
	}
	if len(buf) < g.hlen+size {
		return 0, true
	}
	g.putHeader(buf[:g.hlen], size)
	g.gather(buf[g.hlen : g.hlen+size])
	g.left -= size
	g.offset += size
	if g.first && g.left > 0 {
		copy(g.header[MinHeaderLen:g.hlen], g.later[:])
		g.sum = g.headerSum()
	}
	g.first = false
	return g.hlen + size, g.left > 0
}

// putHeader writes the header of the next fragment.
func (g *Fragmenter) putHeader(b []byte, size int) {
	copy(b, g.header[:])
	field := g.field | uint16(g.offset>>3)
	if size < g.left {
		field |= flagMF
	}
	binary.BigEndian.PutUint16(b[6:8], field)
	Patch(b, g.sum+uint32(field), uint16(g.hlen+size), binary.BigEndian.Uint16(b[4:6]))
}

// gather fills b with what comes next of the payload.
func (g *Fragmenter) gather(b []byte) {
	for {
		n := copy(b, g.cur)
		g.cur, b = g.cur[n:], b[n:]
		if len(b) == 0 {
			return
		}
		g.cur, g.rest = g.rest[0], g.rest[1:]
	}
}
