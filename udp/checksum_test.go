package udp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
)

// slowSum is RFC 1071 word by word.
func slowSum(b []byte, initial uint16) uint16 {
	s := uint64(initial)
	for i := 0; i < len(b); i += 2 {
		w := uint64(b[i]) << 8
		if i+1 < len(b) {
			w |= uint64(b[i+1])
		}
		s += w
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		// Runs of 0xff and 0x00 make the carries that random bytes do not.
		switch r.IntN(4) {
		case 0:
			b[i] = 0xff
		case 1:
		default:
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

// pseudo returns the pseudo-header as bytes (RFC 768).
func pseudo(src, dst ipv4.Addr, n int) []byte {
	b := append(append([]byte{}, src[:]...), dst[:]...)
	return binary.BigEndian.AppendUint16(append(b, 0, Protocol), uint16(n))
}

func TestPseudoSum(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		src, dst := ipv4.Addr(randomBytes(r, 4)), ipv4.Addr(randomBytes(r, 4))
		n := r.IntN(65536)
		if got, want := PseudoSum(src, dst, n), slowSum(pseudo(src, dst, n), 0); got != want {
			t.Fatalf("PseudoSum(%v, %v, %d) = %#04x, want %#04x", src, dst, n, got, want)
		}
	}
}

func TestFinishChecksumAgainstFullComputation(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		src, dst := ipv4.Addr(randomBytes(r, 4)), ipv4.Addr(randomBytes(r, 4))
		sport, dport := uint16(r.Uint32()), uint16(r.Uint32())
		payload := randomBytes(r, r.IntN(100))
		d := make([]byte, HeaderLen+len(payload))
		psum := checksum.CopySum(d[HeaderLen:], payload)
		PutHeader(d, sport, dport, len(payload), 0)

		want := ^slowSum(append(pseudo(src, dst, len(d)), d...), 0)
		if want == 0 {
			want = 0xffff
		}
		if got := FinishChecksum(PartialSum(src, dst, sport, dport), len(d), psum); got != want {
			t.Fatalf("FinishChecksum = %#04x, want %#04x", got, want)
		}
		Put(d, src, dst, sport, dport, len(payload))
		if got := Header(d).Checksum(); got != want {
			t.Fatalf("Put wrote %#04x, want %#04x", got, want)
		}
		if !VerifyChecksum(src, dst, d) {
			t.Fatalf("VerifyChecksum rejects %x", d)
		}
		PutPartial(d, src, dst, sport, dport, len(payload))
		binary.BigEndian.PutUint16(d[6:], ^checksum.Sum(d, 0)) // what a device does
		if !VerifyChecksum(src, dst, d) {
			t.Fatalf("VerifyChecksum rejects %x, filled in by a device", d)
		}
	}
}

// The two values of zero: RFC 768 sends a computed 0 as 0xffff, and a field of
// 0 means none was computed.
func TestChecksumZero(t *testing.T) {
	src, dst := ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}
	d := make([]byte, HeaderLen+2)
	PutHeader(d, 1, 2, 2, 0)
	// A payload that makes the sum of everything 0xffff, and so its
	// complement 0.
	binary.BigEndian.PutUint16(d[8:], ^checksum.Sum(d, PseudoSum(src, dst, len(d))))
	Put(d, src, dst, 1, 2, 2)
	if got := Header(d).Checksum(); got != 0xffff {
		t.Errorf("computed checksum 0 is sent as %#04x, want 0xffff", got)
	}
	if !VerifyChecksum(src, dst, d) {
		t.Error("0xffff is rejected")
	}
	d[8] ^= 1
	if VerifyChecksum(src, dst, d) {
		t.Error("a wrong 0xffff is accepted")
	}
	PutHeader(d, 1, 2, 2, 0)
	if !VerifyChecksum(src, dst, d) {
		t.Error("a datagram without checksum is rejected")
	}
}

func TestVerifyChecksumFindsEveryFlippedBit(t *testing.T) {
	src, dst := ipv4.Addr{192, 0, 2, 1}, ipv4.Addr{192, 0, 2, 9}
	d := append(make([]byte, HeaderLen), "an odd number of payload bytes!"...)
	Put(d, src, dst, 4000, 53, len(d)-HeaderLen)
	for i := range d {
		for bit := range 8 {
			d[i] ^= 1 << bit
			if VerifyChecksum(src, dst, d) {
				t.Errorf("byte %d bit %d flipped is accepted", i, bit)
			}
			d[i] ^= 1 << bit
		}
	}
}

func TestChecksumAllocatesNothing(t *testing.T) {
	src, dst := ipv4.Addr{192, 0, 2, 1}, ipv4.Addr{192, 0, 2, 9}
	d, p := make([]byte, HeaderLen+64), make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		sum := checksum.CopySum(d[HeaderLen:], p)
		PutHeader(d, 1, 2, len(p), FinishChecksum(PartialSum(src, dst, 1, 2), len(d), sum))
		if h, _, c := Parse(d); c != CauseNone || !VerifyChecksum(src, dst, h) {
			t.Fatal("rejected")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
