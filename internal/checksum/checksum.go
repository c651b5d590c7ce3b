// Package checksum is the Internet checksum (RFC 1071), for the ways that a datagram
// takes. gVisor's package of the same name, the oracle of the tests, takes 1 to 3 ns
// longer up to 512 bytes (BenchmarkSum), some 2 % of what a datagram costs.
//
// Sums are ones' complement sums of big-endian 16-bit words, not yet complemented. An
// odd last byte counts as the high half of a word.
package checksum

import (
	"encoding/binary"
	"math/bits"
)

// Sum returns the sum of b added to initial.
func Sum(b []byte, initial uint16) uint16 {
	// Words are added as they lie in memory, lowest byte first, eight bytes at
	// a time: the sum comes out with its bytes swapped (RFC 1071, 2 (B)).
	acc := uint64(bits.ReverseBytes16(initial))
	var c uint64
	for len(b) >= 64 {
		w := (*[64]byte)(b)
		acc, c = bits.Add64(acc, load(w[0:8]), 0)
		acc, c = bits.Add64(acc, load(w[8:16]), c)
		acc, c = bits.Add64(acc, load(w[16:24]), c)
		acc, c = bits.Add64(acc, load(w[24:32]), c)
		acc, c = bits.Add64(acc, load(w[32:40]), c)
		acc, c = bits.Add64(acc, load(w[40:48]), c)
		acc, c = bits.Add64(acc, load(w[48:56]), c)
		acc, c = bits.Add64(acc, load(w[56:64]), c)
		acc, _ = bits.Add64(acc, 0, c)
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, c = bits.Add64(acc, load(b), 0)
		acc += c
		b = b[8:]
	}
	if len(b) > 0 {
		acc, c = bits.Add64(acc, tail(b), 0)
		acc += c
	}
	return bits.ReverseBytes16(Fold(acc))
}

// CopySum copies src to dst, which is at least as long, and returns the sum of
// what it copied.
func CopySum(dst, src []byte) uint16 {
	// One pass over the payload was measured slower, from 64 bytes to 1400:
	// copy moves 32 bytes at once, and what it read is in the cache then.
	copy(dst[:len(src)], src)
	return Sum(src, 0)
}

func load(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// Combine adds to sum, the sum of offset bytes, the sum of the bytes that
// follow them. It is how a payload gathered from several slices is summed: a
// piece that begins at an odd offset counts with its bytes swapped (RFC 1071,
// 2 (B)).
func Combine(sum, next uint16, offset int) uint16 {
	if offset&1 != 0 {
		next = bits.ReverseBytes16(next)
	}
	s := uint32(sum) + uint32(next)
	return uint16(s + s>>16)
}

// tail returns 1 to 7 bytes as one little-endian number.
func tail(b []byte) uint64 {
	var v uint64
	if len(b) >= 4 {
		v = uint64(binary.LittleEndian.Uint32(b))
		if len(b) == 4 {
			return v
		}
		// The last four bytes overlap the first four: shift those away.
		rest := uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))
		return v | rest>>(8*(8-uint(len(b))))<<32
	}
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

// Fold reduces a sum to 16 bits by adding the carries back in.
func Fold(v uint64) uint16 {
	v = v>>32 + v&0xffff_ffff       // at most 33 bits
	v = v>>16 + v&0xffff            // at most 18 bits
	v = v>>16 + v&0xffff            // at most 17 bits
	return uint16(v>>16 + v&0xffff) // exact
}
