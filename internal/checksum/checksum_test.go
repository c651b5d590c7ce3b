package checksum

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	gvisor "gvisor.dev/gvisor/pkg/tcpip/checksum"
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

// same reports whether two sums are the same number in ones' complement, where
// 0 and 0xffff are both zero.
func same(a, b uint16) bool { return a == b || a|b == 0xffff && a&b == 0 && (a == 0 || b == 0) }

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

func TestSumEveryLengthAndAlignment(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	dst := make([]byte, 400)
	for n := range 300 {
		for off := range 9 {
			b := randomBytes(r, n+off)[off:]
			initial := uint16(r.Uint32())
			want := slowSum(b, initial)
			if got := Sum(b, initial); !same(got, want) {
				t.Fatalf("Sum(%x, %#04x) = %#04x, want %#04x", b, initial, got, want)
			}
			if got := gvisor.Checksum(b, initial); !same(got, want) {
				t.Fatalf("reference Checksum(%x, %#04x) = %#04x, want %#04x", b, initial, got, want)
			}
			clear(dst)
			if got := CopySum(dst[off:], b); !same(got, slowSum(b, 0)) {
				t.Fatalf("CopySum(%x) = %#04x, want %#04x", b, got, slowSum(b, 0))
			}
			if !bytes.Equal(dst[off:off+n], b) || dst[off+n] != 0 {
				t.Fatalf("CopySum copied %x as %x", b, dst[off:off+n+1])
			}
		}
	}
}

func TestSumExtremes(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 8, 63, 64, 65, 1472, 65535} {
		for _, fill := range []byte{0, 0xff} {
			b := bytes.Repeat([]byte{fill}, n)
			for _, initial := range []uint16{0, 1, 0xfffe, 0xffff} {
				if got, want := Sum(b, initial), slowSum(b, initial); !same(got, want) {
					t.Errorf("Sum(%d x %#02x, %#04x) = %#04x, want %#04x", n, fill, initial, got, want)
				}
			}
		}
	}
}

func TestCombine(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		b := randomBytes(r, r.IntN(80))
		var sum uint16
		for off := 0; off < len(b); {
			n := 1 + r.IntN(len(b)-off)
			sum = Combine(sum, Sum(b[off:off+n], 0), off)
			off += n
		}
		if want := slowSum(b, 0); !same(sum, want) {
			t.Fatalf("pieces of %x sum to %#04x, want %#04x", b, sum, want)
		}
	}
}

var sink uint16

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{8, 20, 64, 72, 256, 1400} {
		buf := make([]byte, n+8)
		dst := make([]byte, n+8)
		for _, f := range []struct {
			name string
			f    func() uint16
		}{
			{"Sum", func() uint16 { return Sum(buf[:n], 0) }},
			{"SumUnaligned", func() uint16 { return Sum(buf[2:n+2], 0) }},
			{"gVisor", func() uint16 { return gvisor.Checksum(buf[:n], 0) }},
			{"gVisorUnaligned", func() uint16 { return gvisor.Checksum(buf[2:n+2], 0) }},
			{"CopySum", func() uint16 { return CopySum(dst, buf[:n]) }},
			{"copyThenSum", func() uint16 { copy(dst, buf[:n]); return Sum(dst[:n], 0) }},
			{"copyThenGVisor", func() uint16 { copy(dst, buf[:n]); return gvisor.Checksum(dst[:n], 0) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", f.name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					sink = f.f()
				}
			})
		}
	}
}
