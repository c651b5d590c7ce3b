package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// TestPeekAtOffsetWaits has a call wait for what is behind the offset, while less
// than that is queued, until it comes or the socket is closed.
func TestPeekAtOffsetWaits(t *testing.T) {
	for _, closes := range []bool{false, true} {
		p := newPair(t, Config{}, pipe.Options{})
		near, far := udpSocket(t, p.near, "10.9.0.1:7"), udpSocket(t, p.far, "10.9.0.2:7")
		send := func(s string) {
			t.Helper()
			if err := near.SendTo([]byte(s), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:7")); err != nil {
				t.Fatal(err)
			}
		}
		far.Receiving().SetPeekOffset(6)
		send("first")
		type result struct {
			s   string
			err error
		}
		got := make(chan result, 1)
		go func() {
			b := make([]byte, 10)
			n, _, err := far.Recv(b, unix.MSG_PEEK, NoDeadline)
			got <- result{string(b[:n]), err}
		}()
		select {
		case r := <-got:
			t.Fatalf("got %+v of what is not there", r)
		case <-time.After(20 * time.Millisecond):
		}
		want := result{"econd", nil}
		if closes {
			far.Close()
			want = result{"", unix.EBADF}
		} else {
			send("second")
		}
		select {
		case r := <-got:
			if r != want {
				t.Errorf("got %+v, want %+v", r, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("still waits")
		}
	}
}

func TestPeekOffsetMoves(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	near, far := udpSocket(t, p.near, "10.9.0.1:7"), udpSocket(t, p.far, "10.9.0.2:7")
	if off := far.Receiving().PeekOffset(); off != -1 {
		t.Errorf("offset %d at first", off)
	}
	far.Receiving().SetPeekOffset(0)
	for _, s := range []string{"abc", "defgh"} {
		if err := near.SendTo([]byte(s), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:7")); err != nil {
			t.Fatal(err)
		}
	}
	deadline := p.far.Deadline(10 * time.Second)
	for _, tt := range []struct {
		flags int
		room  int
		want  string
		off   int32
	}{
		{unix.MSG_PEEK, 2, "ab", 2},
		{unix.MSG_PEEK, 9, "c", 3},
		{unix.MSG_PEEK, 2, "de", 5},
		{0, 9, "abc", 2},
		{unix.MSG_PEEK, 1, "f", 3},
		{0, 2, "de", 1},
	} {
		b := make([]byte, tt.room)
		n, _, err := far.Recv(b, tt.flags, deadline)
		if err != nil || string(b[:n]) != tt.want || far.Receiving().PeekOffset() != tt.off {
			t.Fatalf("%+v: %q, %v, offset %d", tt, b[:n], err, far.Receiving().PeekOffset())
		}
	}
	far.Receiving().SetPeekOffset(-1)
	if far.state.Load()&output.StateRecvExtras != 0 {
		t.Error("a socket without an offset is looked at")
	}
}
