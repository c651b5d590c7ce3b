package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/link/loopback"
	"golang.org/x/sys/unix"
)

// A prompted link counts calls that begin.
type prompted struct {
	*loopback.Link
	n int
}

func (p *prompted) Prompt() { p.n++ }

// Each call that does not wait prompts the loopback link before it looks.
func TestPrompt(t *testing.T) {
	lo := &prompted{Link: loopback.New(loopback.Options{})}
	s, err := New(Config{Loopback: lo})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k, err := s.NewUDPSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.Bind(netip.MustParseAddrPort("127.0.0.1:7")); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		was := lo.n
		if _, _, err := k.Recv(make([]byte, 1), unix.MSG_DONTWAIT, NoDeadline); err != unix.EAGAIN {
			t.Error(err)
		}
		if lo.n <= was {
			t.Errorf("prompted %d times in %d calls", lo.n, i+1)
		}
	}
}
