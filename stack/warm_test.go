package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// TestWarmingLeavesNoTrace lets sockets spin for datagrams that do not come: what
// they take through the receive path meanwhile is nobody's.
func TestWarmingLeavesNoTrace(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, s *Stack, k Socket)
		warms bool
	}{
		{"bound", func(*testing.T, *Stack, Socket) {}, true},
		{"connected", func(t *testing.T, _ *Stack, k Socket) {
			if err := k.Connect(netip.AddrPortFrom(farAddr, 7)); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"one of a group", func(t *testing.T, s *Stack, k Socket) {
			for range 3 {
				other, err := s.NewUDPSocket()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if other.queue.N.Load() != 0 {
						t.Error("another socket of the group got a datagram")
					}
					other.Close()
				})
				other.SetReuse(false, true)
				if err := other.Bind(netip.MustParseAddrPort("10.9.0.1:9")); err != nil {
					t.Fatal(err)
				}
			}
		}, true},
		{"beside a raw socket that has all of UDP", func(t *testing.T, s *Stack, _ Socket) {
			raw := rawSocketOf(t, s, unix.IPPROTO_UDP)
			t.Cleanup(func() { nothing(t, raw) })
		}, false},
		{"with a filter for what is received", func(_ *testing.T, _ *Stack, k Socket) { k.Base().Receiving().SetKeepDrops(true) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, r, _ := replayStack(t)
			k, err := s.NewUDPSocket()
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			k.SetReuse(false, true)
			if err := k.Bind(netip.MustParseAddrPort("10.9.0.1:9")); err != nil {
				t.Fatal(err)
			}
			tt.setup(t, s, k)
			k.Spinner().Set(time.Millisecond)
			before, frames := s.Stats(), r.frames
			for range 3 {
				if _, _, err := k.Recv(make([]byte, 100), 0, s.Deadline(2*time.Millisecond)); err != unix.EAGAIN {
					t.Fatalf("Recv: %v", err)
				}
			}
			for i, c := range s.Stats().Counters {
				if c != before.Counters[i] {
					t.Errorf("%s went from %d to %d", c.Name, before.Counters[i].Value, c.Value)
				}
			}
			if n := r.frames - frames; n != 0 {
				t.Errorf("%d frames were sent", n)
			}
			s.lockLanes()
			warmed := s.lanes.first.warmCounters[counter.IPInReceives] > 0
			s.unlockLanes()
			if warmed != tt.warms {
				t.Errorf("warmed: %v, want %v", warmed, tt.warms)
			}
			comes := tt.name == "connected" || tt.name == "bound"
			s.lockLanes() // whoever drives the link looks at these
			if r.frame = udpFrame(9, []byte("the real one")); comes {
				r.ready = 1
			}
			s.unlockLanes()
			if comes {
				if got, _ := recv(t, k); string(got) != "the real one" {
					t.Errorf("received %q", got)
				}
			}
		})
	}
}
