package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// believed checks how many errors a socket has been told of.
func (w *wire) believed(k *Endpoint, n int) {
	w.t.Helper()
	want := unix.Errno(0)
	if n > 0 {
		want = unix.ECONNREFUSED
	}
	if got := k.Errors().Queued(); got != n {
		w.t.Errorf("%d errors queued, want %d", got, n)
	}
	if e := k.Errors().Take(); e != want {
		w.t.Errorf("SO_ERROR: %v, want %v", e, want)
	}
}

// portUnreachable feeds the error that says so of a datagram.
func (w *wire) portUnreachable(quoted []byte) {
	w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodePort, 0, quoted))
}

// TestRawForgedError: an error about what the socket never sent is no error.
func TestRawForgedError(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := rawSocketOf(t, w.s, testProtocol)
		k.Errors().SetRecvErr(true)
		stranger := ipv4.Addr{10, 9, 0, 99}
		quoted := ipv4Datagram(testProtocol, near4, stranger, "never sent")
		w.portUnreachable(quoted)
		w.believed(&k.Endpoint, 0)
		w.grew("OutbandDropICMPUnvalidated", 1)
		sendTo(t, k, []byte("sent"), netip.AddrFrom4(stranger))
		w.portUnreachable(quoted)
		w.believed(&k.Endpoint, 1)
		if e, ok := k.Errors().TakeQueued(); !ok || string(e.Payload) != "never sent" || e.DstPort != 0 {
			t.Errorf("queued %v %+v", ok, e)
		}
	})
}

// TestForgedErrorsUnconnected: whoever sends to several is told of errors about those
// only.
func TestForgedErrorsUnconnected(t *testing.T) {
	for name, open := range map[string]func(w *wire) (Socket, []byte){
		"UDP": func(w *wire) (Socket, []byte) { return w.socket("10.9.0.1:9", ""), payload(20) },
		"ping": func(w *wire) (Socket, []byte) {
			k, err := w.s.NewPingSocket()
			check(w.t, err)
			w.t.Cleanup(func() { k.Close() })
			return k, icmp.AppendEcho(nil, icmp.Echo, 0, 1, payload(20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				k, b := open(w)
				defer k.Close()
				k.Base().Errors().SetRecvErr(true)
				check(t, k.SendTo(b, 0, NoDeadline, netip.AddrPortFrom(farAddr, 7)))
				sent := w.sentIP()[0].data[output.IPOffset:]
				w.portUnreachable(with(sent, 16, 10, 9, 0, 99))
				w.believed(k.Base(), 0)
				w.grew("OutbandDropICMPUnvalidated", 1)
				w.portUnreachable(sent)
				w.believed(k.Base(), 1)
			})
		})
	}
}

// TestErrorQueueIsBounded: the error queue takes as much as SO_RCVBUF says, and what is
// taken out makes room.
func TestErrorQueueIsBounded(t *testing.T) {
	const room = 5
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		k.Errors().SetRecvErr(true)
		w.send(k, payload(20))
		sent := w.sentIP()[0].data[output.IPOffset:]
		k.SetReceiveBuffer(int(room * queue.Charge(20)))
		for range room + 3 {
			w.portUnreachable(sent)
		}
		w.believed(&k.Endpoint, room)
		w.grew("OutbandErrorQueueFull", 3)
		if _, ok := k.Errors().TakeQueued(); !ok {
			t.Fatal("the queue is empty")
		}
		w.portUnreachable(sent)
		w.portUnreachable(sent)
		w.believed(&k.Endpoint, room)
		w.grew("OutbandErrorQueueFull", 3+1)
	})
}
