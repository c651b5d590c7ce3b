package stack

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
)

// TestGSOPackets sends runs of equal datagrams, which leave as GSO packets,
// and looks at what arrives.
func TestGSOPackets(t *testing.T) {
	tests := []struct {
		name   string
		sizes  []int
		frames uint64 // that the link may need at most
	}{
		{"equal", repeated(64, 100), 2},
		{"shorter last", append(repeated(100, 10), 7), 1},
		{"shorter in the middle", append(append(repeated(100, 5), 50), repeated(100, 5)...), 2},
		{"growing", []int{1, 2, 3, 4}, 4},
		{"empty", []int{0, 10, 10, 0, 0}, 4},
		{"full size", repeated(1472, 50), 2},
		{"too long for one frame", repeated(1473, 4), 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, Config{}, pipe.Options{Caps: link.CapGSO | link.CapChecksum})
			rx := udpSocket(t, p.far, "10.9.0.2:7")
			rx.SetReceiveBuffer(1 << 24)
			tx := udpSocket(t, p.near, "")
			if err := tx.Connect(netip.AddrPortFrom(farAddr, 7)); err != nil {
				t.Fatal(err)
			}
			if err := p.near.Interfaces()[1].SetNeighbour(farAddr, farMAC, arp.Permanent); err != nil {
				t.Fatal(err)
			}
			if err := tx.Send(nil, 0, NoDeadline); err != nil { // which finds the path
				t.Fatal(err)
			}
			recv(t, rx)
			before := p.nearEnd.Stats().TxFrames
			msgs := make([]OutMessage, len(tt.sizes))
			for i, n := range tt.sizes {
				b := payload(n)
				if n > 0 {
					b[0] = byte(i)
				}
				msgs[i].Buffers = [][]byte{b[:n/2], b[n/2:]}
			}
			if n, err := tx.SendMessages(msgs, 0, NoDeadline); n != len(msgs) || err != nil {
				t.Fatalf("SendMessages: %d, %v", n, err)
			}
			if n := p.nearEnd.Stats().TxFrames - before; n > tt.frames {
				t.Errorf("%d frames for %d datagrams, want at most %d", n, len(msgs), tt.frames)
			}
			for i, n := range tt.sizes {
				got, info := recv(t, rx)
				if want := bytes.Join(msgs[i].Buffers, nil); !bytes.Equal(got, want) || info.Len != n {
					t.Fatalf("datagram %d: %d bytes, want %d", i, len(got), n)
				}
			}
		})
	}
}

func repeated(v, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = v
	}
	return s
}
