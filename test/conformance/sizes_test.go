package conformance

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// maxPayload is the longest UDP payload that an IPv4 datagram holds, in bytes.
const maxPayload = 65535 - 20 - 8

// sizes are lengths of payloads at which something changes: nothing at all, one
// byte, the longest whole datagram of each MTU and one more, the longest of all.
var sizes = []int{0, 1, 2, 63, 1472, 1473, 2953, 8972, 8973, maxPayload}

func TestSizesBothWays(t *testing.T) {
	for _, mtu := range []int{576, 1500, 9000} {
		t.Run(fmt.Sprint("MTU ", mtu), func(t *testing.T) {
			w := newWorld(t, setup{lab: lab.Config{MTU: mtu}})
			k, peer := w.udp(7), w.far.UDP(t, 7)
			check(t, peer.SetBuffers(1<<20))
			for i, n := range sizes {
				b := pattern(n, uint32(i))
				w.send(k, b, w.kernels(7))
				got, from := recvInBand(t, peer)
				wantBytes(t, got, b)
				if from != w.ours(7) {
					t.Errorf("the kernel sees %v, want %v", from, w.ours(7))
				}
				check(t, peer.SendTo(b, w.ours(7)))
				got, info := w.recv(k)
				wantBytes(t, got, b)
				wantFragSize(t, info, n, mtu)
			}
		})
	}
}

// wantFragSize checks that a datagram is said to have come in fragments if it
// must have.
func wantFragSize(t *testing.T, info stack.Info, n, mtu int) {
	t.Helper()
	if fragmented := n+28 > mtu; fragmented != (info.FragSize > 0) || int(info.FragSize) > mtu {
		t.Errorf("%d bytes over MTU %d: largest fragment said to be %d", n, mtu, info.FragSize)
	}
}

func TestTooLongForUDP(t *testing.T) {
	w := newWorld(t, setup{})
	k := w.udp(7)
	b := make([]byte, maxPayload+1)
	wantErr(t, k.SendTo(b, 0, stack.NoDeadline, w.kernels(7)), unix.EMSGSIZE)
	check(t, k.Connect(w.kernels(7)))
	wantErr(t, k.Send(b, 0, stack.NoDeadline), unix.EMSGSIZE)
	// The kernel says the same of its own.
	wantErr(t, w.far.UDP(t, 0).SendTo(b, w.ours(7)), unix.EMSGSIZE)
}

// A buffer that is too short gets the beginning, and the length of all.
func TestShortBuffer(t *testing.T) {
	for _, n := range []int{100, 3000} {
		w := newWorld(t, setup{})
		k, peer := w.udp(7), w.far.UDP(t, 7)
		check(t, peer.SendTo(pattern(n, 1), w.ours(7)))
		b := make([]byte, 10)
		got, info, err := k.Recv(b, 0, w.stack.Deadline(lab.Patience))
		check(t, err)
		if got != 10 || info.Len != n {
			t.Errorf("stored %d of %d bytes, want 10 of %d", got, info.Len, n)
		}
		wantBytes(t, b, pattern(n, 1)[:10])
	}
}

// Whole batches in both directions keep number, order and content.
func TestBatches(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	check(t, peer.SetBuffers(4<<20))
	k.SetReceiveBuffer(4 << 20)
	check(t, peer.Connect(w.ours(7)))
	w.echoOnce(k, peer, []byte("resolve"))

	const n = 200
	out := make([]stack.OutMessage, n)
	for i := range out {
		b := sealed(8+i*13, uint32(i))
		out[i] = stack.OutMessage{Buffers: [][]byte{b[:3], b[3:5], b[5:]}, To: w.kernels(7)}
	}
	sent, err := k.SendMessages(out, 0, w.stack.Deadline(lab.Patience))
	if sent != n || err != nil {
		t.Fatalf("SendMessages sent %d: %v", sent, err)
	}
	for i := range n {
		got, _ := recvInBand(t, peer)
		wantBytes(t, got, sealed(8+i*13, uint32(i)))
	}
	sendAndCountBatches(t, w, k, peer)
}

func sendAndCountBatches(t *testing.T, w *world, k *stack.UDPSocket, peer *inband.UDP) {
	t.Helper()
	const n = 200
	for i := range n {
		_, err := peer.Send(sealed(8+i*13, uint32(i)))
		check(t, err)
	}
	in := make([]stack.Message, 7)
	for i := range in {
		b := make([]byte, 4096)
		in[i].Buffers = [][]byte{b[:1], b[1:100], b[100:]}
	}
	for i := 0; i < n; {
		got, err := k.RecvMessages(in, 0, w.stack.Deadline(lab.Patience))
		check(t, err)
		for _, m := range in[:got] {
			var b []byte
			for _, part := range m.Buffers {
				b = append(b, part...)
			}
			wantBytes(t, b[:m.N], sealed(8+i*13, uint32(i)))
			i++
		}
	}
}
