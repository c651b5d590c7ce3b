package icmp

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// withExtension returns an error that says its quote of n bytes is words of 4, with
// an extension structure behind it.
func withExtension(typ, words byte, n int, tail ...byte) Message {
	return append(append([]byte{typ, 1, 0, 0, 0, words, 0, 0}, make([]byte, n)...), tail...)
}

func TestParseExtension(t *testing.T) {
	good := []byte{0x20, 0, 0, 0, 0, 8, 1, 1, 1, 2, 3, 4}
	summed := append([]byte(nil), good...)
	sum := ^checksum.Checksum(summed, 0)
	summed[2], summed[3] = byte(sum>>8), byte(sum)
	for _, tt := range []struct {
		name    string
		m       Message
		headers int
		want    Extension
		ok      bool
	}{
		{"none", withExtension(3, 0, 128, good...), 28, Extension{}, false},
		{"one object", withExtension(3, 32, 128, good...), 28, Extension{At: 100}, true},
		{"with a sum", withExtension(11, 32, 128, summed...), 28, Extension{At: 100}, true},
		{"raw socket's header", withExtension(12, 32, 128, good...), 0, Extension{At: 128}, true},
		{"echo", withExtension(8, 32, 128, good...), 28, Extension{}, false},
		{"redirect", withExtension(5, 32, 128, good...), 28, Extension{}, false},
		{"too small a length", withExtension(3, 31, 128, good...), 28, Extension{}, false},
		{"among the headers", withExtension(3, 32, 128, good...), 129, Extension{}, false},
		{"at the end of the headers", withExtension(3, 32, 128, good...), 128, Extension{}, true},
		{"past the end", withExtension(3, 35, 128, good...), 28, Extension{}, false},
		{"wrong sum", withExtension(3, 32, 128, 0x20, 0, 1, 1), 28, Extension{At: 100, Invalid: true}, true},
		{"another version", withExtension(3, 32, 128, 0x10, 0, 1, 1, 0, 0), 28, Extension{At: 100}, true},
		{"object too short", withExtension(3, 32, 128, 0x20, 0, 0, 0, 0, 3, 1, 1), 28, Extension{At: 100, Invalid: true}, true},
		{"object too long", withExtension(3, 32, 128, 0x20, 0, 0, 0, 0, 5, 1, 1), 28, Extension{At: 100, Invalid: true}, true},
		{"header of an object alone", withExtension(3, 32, 128, 0x20, 0, 0, 0, 0, 4, 1, 1), 28, Extension{At: 100}, true},
		{"one byte of an object", withExtension(3, 32, 128, 0x20, 0, 0, 0, 0), 28, Extension{At: 100, Invalid: true}, true},
		{"object cut", withExtension(3, 32, 128, 0x20, 0, 0, 0, 0, 4, 1), 28, Extension{At: 100, Invalid: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := ParseExtension(tt.m, tt.headers); got != tt.want || ok != tt.ok {
				t.Errorf("%+v, %t, want %+v, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func FuzzParseExtension(f *testing.F) {
	f.Add([]byte(withExtension(3, 32, 128, 0x20, 0, 0, 0, 0, 4, 1, 1)), 28)
	f.Add([]byte{3, 1, 0, 0, 0, 255, 0, 0}, 0)
	f.Fuzz(func(t *testing.T, b []byte, headers int) {
		if len(b) < HeaderLen || headers < 0 || headers > len(b)-HeaderLen {
			return
		}
		if x, ok := ParseExtension(b, headers); ok && (x.At < 0 || headers+x.At+extensionHeaderLen > len(b)-HeaderLen) {
			t.Fatalf("extensions at %d behind %d bytes of headers, of %d", x.At, headers, len(b))
		}
	})
}
