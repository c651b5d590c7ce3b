package linktest

import (
	"bytes"
	"testing"

	"github.com/outband/outband/link"
)

func TestFrame(t *testing.T) {
	dst, src := link.MAC{1, 2, 3, 4, 5, 6}, link.MAC{6, 5, 4, 3, 2, 1}
	for _, n := range []int{MinFrame, MinFrame + 1, 60, 1514, 65549} {
		f := Frame(dst, src, 1<<47+5, n)
		serial, ok := Serial(f)
		if len(f) != n || !ok || serial != 1<<47+5 || !Intact(f) || !ChecksumOK(f) {
			t.Errorf("frame of %d bytes: length %d, serial %d %v, intact %v, sum %v",
				n, len(f), serial, ok, Intact(f), ChecksumOK(f))
		}
		if link.MAC(f[:6]) != dst || link.MAC(f[6:12]) != src {
			t.Errorf("frame of %d bytes: addresses %x", n, f[:12])
		}
		partialOK(t, f)
	}
}

// partialOK checks that filling in a partial checksum gives the whole one.
func partialOK(t *testing.T, f []byte) {
	want := bytes.Clone(f)
	tx := partial(f)
	at := int(tx.CsumStart + tx.CsumOffset)
	sum := fold(f[tx.CsumStart:])
	f[at], f[at+1] = byte(sum>>8), byte(sum)
	if !bytes.Equal(f, want) {
		t.Errorf("frame of %d bytes: the partial checksum does not complete", len(f))
	}
}

func TestDamageIsSeen(t *testing.T) {
	whole := Frame(link.MAC{}, link.MAC{}, 77, 200)
	for i := 12; i < len(whole); i++ {
		f := bytes.Clone(whole)
		f[i] ^= 0x10
		_, ours := Serial(f)
		switch {
		case i >= MinFrame && Intact(f):
			t.Errorf("a change at %d leaves the frame intact", i)
		case i >= udpStart && i != udpStart+4 && i != udpStart+5 && ours && ChecksumOK(f):
			t.Errorf("a change at %d leaves the sum right", i)
		}
	}
	for n := range whole {
		if Intact(whole[:n]) {
			t.Errorf("cut to %d bytes it is intact", n)
		}
	}
}
