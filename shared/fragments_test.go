package shared

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// pieces are those of a datagram of 48 bytes, its UDP header included.
var thirds = []piece{{0, 16}, {16, 32}, {32, 48}}

// orders are all in which three can come.
var orders = [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// ways in which the pieces of a datagram come.
func fragmentations() (all map[string][]piece) {
	all = map[string][]piece{}
	for _, o := range orders {
		var in []piece
		for _, i := range o {
			in = append(in, thirds[i])
		}
		all[fmt.Sprint(o)] = in
		for at, i := range o {
			twice := append(append(append([]piece{}, in[:at+1]...), thirds[i]), in[at+1:]...)
			all[fmt.Sprintf("%v, %d twice", o, i)] = twice
			all[fmt.Sprintf("%v, %d again at the end", o, i)] = append(append([]piece{}, in...), thirds[i])
		}
	}
	overlaps := [][]piece{{{0, 24}, {16, 32}, {32, 48}}, {{0, 16}, {8, 32}, {32, 48}}, {{0, 16}, {16, 32}, {24, 48}}, {{0, 48 - 8}, {16, 32}, {40, 48}},
		{{32, 48}, {16, 40}, {0, 16}}, {{16, 32}, {0, 24}, {32, 48}}, {{32, 48}, {0, 24}, {16, 32}}, {{16, 32}, {16, 24}, {0, 16}, {32, 48}}}
	for i, o := range overlaps {
		all[fmt.Sprintf("overlap %d", i)] = o
	}
	return all
}

// A receiver is one of two servers of a test: the stack's, or an in-band one.
type receiver func() (payload string, ok bool)

func ofStack(w *world, k *stack.UDPSocket) receiver {
	b := make([]byte, 65536)
	return func() (string, bool) {
		n, _, err := k.Recv(b, 0, w.st.Deadline(soon))
		return string(b[:n]), err == nil
	}
}

func ofKernel(t *testing.T, u *inband.UDP) receiver {
	check(t, u.SetReadTimeout(soon))
	b := make([]byte, 65536)
	return func() (string, bool) {
		n, _, err := u.RecvFrom(b, 0)
		return string(b[:n]), err == nil
	}
}

// A fragmenter sends datagrams in pieces to a port of the near end.
type fragmenter struct {
	*world
	wire *lab.Packet
	id   uint16
	end  uint32
}

func newFragmenter(w *world) *fragmenter { return &fragmenter{world: w, wire: w.Far().Packet(w.t)} }

func (f *fragmenter) datagram(port uint16, payload []byte) *datagram {
	f.id++
	return &datagram{src: addrPort(f.Far(), 5000), dst: addrPort(f.Near(), port), id: f.id, payload: payload}
}

// received returns what a receiver has of a datagram that comes in pieces, and of what has
// come before.
func (f *fragmenter) received(port uint16, from receiver, pieces []piece) (got []string) {
	f.t.Helper()
	d := f.datagram(port, payload40)
	for _, p := range pieces {
		f.wire.Send(f.t, d.frame(f.Lab, p))
	}
	return f.until(port, from)
}

// until returns what a receiver has, up to a datagram that is sent for it to know the end by.
func (f *fragmenter) until(port uint16, from receiver) (got []string) {
	f.t.Helper()
	f.end++
	end := string(binary.BigEndian.AppendUint32([]byte("end"), f.end))
	f.wire.Send(f.t, f.datagram(port, []byte(end)).whole(f.Lab))
	for {
		s, ok := from()
		if !ok {
			f.t.Fatalf("port %d: the end has not come, only %q", port, got)
		}
		if s == end {
			return got
		}
		got = append(got, s)
	}
}

// payload40 is what datagrams in thirds carry.
var payload40 = []byte("the quick brown fox jumps over 40 bytes!")

// fragmentCounters are those that no fragment to a port of the stack's moves.
var quiet = []string{"UdpNoPorts", "UdpInDatagrams", "UdpRcvbufErrors", "UdpInCsumErrors", "IcmpOutMsgs", "IpInDiscards", "IpInHdrErrors"}

// A datagram in fragments, in whatever order, with duplicates and overlaps, is delivered as
// often as in-band, which is once, or never if they overlap. The kernel counts at most an
// error a datagram, and nothing of what comes in order.
func TestFragmentOrders(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		onOneProcessor(t)
		ours := ofStack(w, w.socket("0.0.0.0:7"))
		theirs := ofKernel(t, w.Near().BoundUDP(t, addrPort(w.Near(), 8)))
		f := newFragmenter(w)
		for name, pieces := range fragmentations() {
			want := f.received(8, theirs, pieces)
			before := counters(t, w.Near())
			got := f.received(7, ours, pieces)
			now := counters(t, w.Near())
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Errorf("%s: received %q, in-band %q", name, got, want)
			}
			if g := grown(before, now, quiet...); g != "" {
				t.Errorf("%s: the kernel has counted %s", name, g)
			}
			errors := now["UdpInErrors"] - before["UdpInErrors"]
			if w.host.claims.Rung() == claim.Holder {
				errors-- // the end
			}
			if errors > 1 {
				t.Errorf("%s: the kernel has counted %d errors", name, errors)
			}
			if in := now["IpInReceives"] - before["IpInReceives"]; w.host.claims.Rung() == claim.TCX && name == "[0 1 2]" && in != 0 {
				t.Errorf("%s: the kernel has processed %d", name, in)
			}
		}
		for _, order := range orders { // what is first on the way does not decide for another datagram
			f.id--
			if got := f.received(8, theirs, []piece{thirds[order[0]], thirds[order[1]], thirds[order[2]]}); len(got) != 1 {
				t.Errorf("%v: in-band, after all that: %q", order, got)
			}
		}
	})
}

// Many datagrams to the stack whose tails come first, and many that lose theirs, leave the
// kernel's reassembly at work: what is in-band is delivered right after.
func TestFragmentFloods(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		onOneProcessor(t)
		k := w.socket("0.0.0.0:7")
		ours := ofStack(w, k)
		theirs := ofKernel(t, w.Near().BoundUDP(t, addrPort(w.Near(), 8)))
		f := newFragmenter(w)
		before := counters(t, w.Near())
		n := shorter(20000)
		const some = 50
		for range n / some {
			for range some {
				d := f.datagram(7, payload40)
				f.wire.Send(t, d.frame(w.Lab, piece{24, 48}))
				f.wire.Send(t, d.frame(w.Lab, piece{0, 24}))
			}
			if got := len(f.until(7, ours)); got != some {
				t.Fatalf("%d of %d have come", got, some)
			}
		}
		inBand := func(after string) {
			t.Helper()
			for _, o := range orders {
				if got := f.received(8, theirs, []piece{thirds[o[0]], thirds[o[1]], thirds[o[2]]}); len(got) != 1 {
					t.Errorf("in-band, %v, after %s: %q", o, after, got)
				}
			}
		}
		now := counters(t, w.Near())
		if g := grown(before, now, quiet...); g != "" {
			t.Errorf("the kernel has counted %s", g)
		}
		if e := now["UdpInErrors"] - before["UdpInErrors"]; e > n && w.host.claims.Rung() != claim.Holder || e > n+n/some {
			t.Errorf("the kernel has counted %d errors", e)
		}
		inBand("tails first")
		if w.host.claims.Rung() == claim.TCX { // else the kernel has them, as if nobody were there
			for range n {
				f.wire.Send(t, f.datagram(7, payload40).frame(w.Lab, piece{0, 24}))
			}
			inBand("heads alone")
		}
	})
}
