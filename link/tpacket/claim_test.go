package tpacket

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// ipInReceives returns how many datagrams the kernel's IP layer has seen in the
// host's namespace.
func (h *host) ipInReceives() string {
	h.t.Helper()
	var count string
	h.in(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 3 && f[0] == "Ip:" {
				count = f[3]
			}
		}
		return err
	})
	return count
}

// TestClaim sends datagrams to addresses that are claimed and to one that is not:
// the link receives all of them, the kernel the last one.
func TestClaim(t *testing.T) {
	tests := []struct {
		name    string
		claimed [][4]byte
		reopen  bool
		opts    Options
		seen    bool
	}{
		{"claimed", [][4]byte{{1, 2, 3, 4}, farIP}, false, Options{}, false},
		{"claimed on a device that came back", [][4]byte{farIP}, true, Options{}, false},
		{"another address", [][4]byte{{1, 2, 3, 4}}, false, Options{}, true},
		{"none", nil, false, Options{}, true},
		{"not wanted", [][4]byte{farIP}, false, Options{NoClaim: true}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lb := newLab(t, 1500)
			l := lb.far.open(tt.opts)
			l.Claim([][4]byte{{9, 9, 9, 9}}) // to be replaced
			check(t, l.Claim(tt.claimed))
			if by := l.ClaimedBy(); (by == "") != tt.opts.NoClaim {
				t.Fatalf("claimed by %q", by)
			}
			if tt.reopen {
				w := watch(t, l)
				check(t, lb.far.nl.LinkDel(lb.far.link()))
				lb.join(1500)
				w.until("the device is back", func(i link.Info) bool { return i.State == link.Up && l.Stats().Reopened == 1 })
			}
			raw := lb.near.raw(0, false)
			before := lb.far.ipInReceives()
			_, err := unix.Write(raw, udpFrame(lb.far.mac(), lb.near.mac(), []byte("x"), false))
			check(t, err)
			receive(t, l, 1)
			if seen := lb.far.ipInReceives() != before; seen != tt.seen {
				t.Errorf("the kernel saw the datagram: %v, want %v", seen, tt.seen)
			}
		})
	}
}
