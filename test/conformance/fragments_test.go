package conformance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/inband"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A piece is one fragment: length bytes of the datagram from offset, with more
// to come or not. other fills it with other bytes than the datagram's.
type piece struct {
	offset, length int
	more, other    bool
}

// pieces cuts a UDP datagram of total bytes, header included.
func pieces(total, size int) (p []piece) {
	for at := 0; at < total; at += size {
		n := min(size, total-at)
		p = append(p, piece{at, n, at+n < total, false})
	}
	return p
}

func order(p []piece, by ...int) (out []piece) {
	for _, i := range by {
		out = append(out, p[i])
	}
	return out
}

// fragmentTotal is the length of the datagrams that are cut up: header and payload.
const fragmentTotal = 8 + 1000

// fragmentCases are ways in which fragments come, and whether the datagram comes
// of it. Linux is asked too.
func fragmentCases() map[string][]piece {
	four := pieces(fragmentTotal, 256)
	return map[string][]piece{
		"in order":            four,
		"backwards":           order(four, 3, 2, 1, 0),
		"shuffled":            order(four, 2, 0, 3, 1),
		"one lost":            order(four, 0, 1, 3),
		"first lost":          order(four, 1, 2, 3),
		"last lost":           order(four, 0, 1, 2),
		"one twice":           order(four, 0, 1, 1, 2, 3),
		"all twice":           order(four, 0, 0, 1, 1, 2, 2, 3, 3),
		"first twice":         order(four, 0, 1, 2, 0, 3),
		"last twice":          order(four, 3, 3, 0, 1, 2),
		"after it is whole":   order(four, 0, 1, 2, 3, 1),
		"overlap in front":    {four[0], {248, 264, true, false}, four[2], four[3]},
		"overlap behind":      {four[0], {256, 264, true, false}, four[2], four[3]},
		"overlap, other data": {four[0], four[1], {248, 16, true, true}, four[2], four[3]},
		"within, same data":   {four[0], {64, 64, true, false}, four[1], four[2], four[3]},
		"within, other data":  {four[0], {64, 64, true, true}, four[1], four[2], four[3]},
		"around":              {four[0], four[2], {248, 520, true, false}, four[1], four[3]},
		"two ends":            {four[0], four[1], {768, 200, false, false}, four[2], four[3]},
		"beyond the end":      {four[0], four[3], {1024, 64, true, false}, four[1], four[2]},
		"end within":          {four[0], four[1], four[2], {512, 64, false, false}, four[3]},
		"no multiple of 8":    {four[0], {256, 255, true, false}, four[2], four[3]},
		"tiny first":          append([]piece{{0, 8, true, false}}, pieces(fragmentTotal, 8)[1:]...),
		"many":                pieces(fragmentTotal, 8),
	}
}

// A trio is our stack, the kernel, and a third end that sends both the same.
type trio struct {
	*world
	wire   *lab.Packet
	third  *lab.Endpoint
	ours   *stack.UDPSocket
	theirs *inband.UDP
	id     uint16
}

func newTrio(t *testing.T) *trio {
	w := newWorld(t, setup{lab: lab.Config{Ends: 3}})
	third := w.lab.Ends[2]
	x := &trio{world: w, third: third, wire: third.Packet(t), ours: w.udp(7), theirs: w.far.UDP(t, 7)}
	// The third end does not answer ARP: neither must have to ask for it.
	check(t, w.ifc.SetNeighbour(third.Addr, third.MAC, arp.Permanent))
	check(t, w.far.SetNeighbour(w.far.Name, third.Addr, third.MAC))
	x.warmUp(t)
	return x
}

// warmUp waits until the bridge passes frames on to both ends, which takes it a
// moment after its ports are up.
func (x *trio) warmUp(t *testing.T) {
	t.Helper()
	var ours, theirs bool
	b := make([]byte, 16)
	await(t, "the bridge passes frames on", func() bool {
		x.mark(t, "are you there?")
		_, _, err := x.ours.Recv(b, 0, x.stack.Deadline(20*time.Millisecond))
		ours = ours || err == nil
		_, err = x.theirs.Recv(b, unix.MSG_DONTWAIT)
		theirs = theirs || err == nil
		return ours && theirs
	})
	x.mark(t, "marker")
	for string(b) != "marker" {
		b, _ = x.recv(x.ours)
	}
	for b = nil; string(b) != "marker"; {
		b, _ = recvInBand(t, x.theirs)
	}
}

// mark sends a whole datagram to both ends.
func (x *trio) mark(t *testing.T, text string) {
	t.Helper()
	for _, to := range []*lab.Endpoint{x.near, x.far} {
		f := ipv4.Fields{TTL: 64, Protocol: ipv4.ProtocolUDP, Src: x.third.Addr.As4(), Dst: to.Addr.As4()}
		x.wire.Send(t, ethernet(to.MAC, x.third.MAC, unix.ETH_P_IP,
			packet(f, datagram(f.Src, f.Dst, 9, 7, []byte(text)))))
	}
}

// play sends one datagram in pieces to both ends, and a marker after it. It
// returns what of it each end delivered.
func (x *trio) play(t *testing.T, play []piece) (ours, theirs [][]byte) {
	t.Helper()
	x.id++
	for _, to := range []*lab.Endpoint{x.near, x.far} {
		f := ipv4.Fields{TTL: 64, Protocol: ipv4.ProtocolUDP, ID: x.id, Src: x.third.Addr.As4(), Dst: to.Addr.As4()}
		whole := datagram(f.Src, f.Dst, 9, 7, pattern(fragmentTotal-8, uint32(x.id)))
		other := pattern(1<<16, ^uint32(x.id))
		for _, p := range play {
			f.FragmentOffset, f.MoreFragments = p.offset, p.more
			b := make([]byte, p.length)
			if p.other || p.offset >= len(whole) {
				copy(b, other)
			} else {
				copy(b, whole[p.offset:])
			}
			x.wire.Send(t, ethernet(to.MAC, x.third.MAC, unix.ETH_P_IP, packet(f, b)))
		}
	}
	x.mark(t, "marker")
	for {
		b, _ := x.recv(x.ours)
		if string(b) == "marker" {
			break
		}
		ours = append(ours, b)
	}
	for {
		b, _ := recvInBand(t, x.theirs)
		if string(b) == "marker" {
			return ours, theirs
		}
		theirs = append(theirs, b)
	}
}

// compare plays pieces and fails the test unless both ends delivered the same,
// and nothing but what was sent.
func (x *trio) compare(t *testing.T, play []piece) (delivered bool) {
	t.Helper()
	ours, theirs := x.play(t, play)
	if len(ours) != len(theirs) {
		t.Errorf("we delivered %d datagrams, Linux %d, of %v", len(ours), len(theirs), play)
		return false
	}
	for i := range ours {
		wantBytes(t, ours[i], theirs[i])
		wantBytes(t, ours[i], pattern(fragmentTotal-8, uint32(x.id)))
	}
	return len(ours) > 0
}

// Fragments that come late, twice, not at all or over each other: we deliver
// what Linux delivers, which is never a mixture.
func TestFragments(t *testing.T) {
	x := newTrio(t)
	for name, play := range fragmentCases() {
		t.Run(name, func(t *testing.T) { t.Logf("delivered: %v", x.compare(t, play)) })
	}
}

// What is malformed takes the datagram with it that it pretends to belong to, as in
// Linux.
func TestMalformedFragments(t *testing.T) {
	x := newTrio(t)
	four := pieces(fragmentTotal, 256)
	for name, bad := range map[string]piece{
		"empty":            {256, 0, true, false},
		"past 65535 bytes": {65528, 256, false, false},
	} {
		ours, theirs := x.play(t, []piece{four[0], bad, four[1], four[2], four[3]})
		if len(ours) != 0 || len(theirs) != 0 {
			t.Errorf("%s: we delivered %d, Linux %d, want none", name, len(ours), len(theirs))
		}
	}
	x.wantStat("OutbandDropFragment", 2)
}

// Sequences that nobody has thought of.
func TestFragmentsAtRandom(t *testing.T) {
	x := newTrio(t)
	rnd := rand.New(rand.NewPCG(20, 26))
	delivered := 0
	for range 300 {
		if t.Failed() {
			return
		}
		if x.compare(t, randomPieces(rnd)) {
			delivered++
		}
	}
	t.Logf("%d of 300 datagrams delivered", delivered)
	if delivered < 30 || delivered > 270 {
		t.Errorf("%d of 300 datagrams delivered: the sequences try too little", delivered)
	}
}

// randomPieces cuts a datagram, shuffles a little, and now and then loses,
// doubles or displaces a piece.
func randomPieces(rnd *rand.Rand) []piece {
	p := pieces(fragmentTotal, 8*(8+rnd.IntN(40)))
	for i := range p {
		switch rnd.IntN(40) {
		case 0:
			p = append(p, p[i])
		case 1:
			p[i].offset = max(0, p[i].offset-8)
		case 2:
			q := p[i]
			q.offset, q.length, q.more = q.offset+8, max(8, q.length-16)&^7, true
			p = append(p, q)
		case 3:
			p[i].more = !p[i].more
		case 4:
			p = append(p[:i:i], p[i+1:]...)
			return p
		case 5:
			q := p[i]
			q.other = true
			p = append(p, q)
		}
	}
	for range rnd.IntN(2 * len(p)) {
		i, j := rnd.IntN(len(p)), rnd.IntN(len(p))
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// Fragments of datagrams from one host that share an identification with those
// of another, or of another protocol, do not mix.
func TestFragmentsApart(t *testing.T) {
	w := newWorld(t, setup{})
	k, h := w.udp(7), w.hand()
	a := h.fields(ipv4.ProtocolUDP)
	b := a
	b.Src = stranger
	c := a
	c.Protocol = 253
	whole := map[string][]byte{
		"a": datagram(a.Src, a.Dst, 9, 7, pattern(992, 1)),
		"b": datagram(b.Src, b.Dst, 9, 7, pattern(992, 2)),
		"c": pattern(1000, 3),
	}
	for _, at := range []int{504, 0} {
		for name, f := range map[string]ipv4.Fields{"a": a, "b": b, "c": c} {
			f.FragmentOffset, f.MoreFragments = at, at == 0
			end := 504
			if at > 0 {
				end = 1000
			}
			h.send(f, whole[name][at:end])
		}
	}
	for range 2 {
		got, info := w.recv(k)
		seed := uint32(1)
		if info.From == stranger {
			seed = 2
		}
		wantBytes(t, got, pattern(992, seed))
	}
}

// A flood of first fragments costs the oldest, never memory without a bound, and
// whole datagrams get through all the while.
func TestFragmentFlood(t *testing.T) {
	w := newWorld(t, setup{stack: stack.Config{Reassembly: ipv4.ReassemblyConfig{HighThresh: 1 << 18}}})
	k, h := w.udp(7), w.hand()
	f := h.fields(ipv4.ProtocolUDP)
	const flood = 2000
	for i := range flood {
		f.ID, f.MoreFragments = uint16(i), true
		f.Src = [4]byte{10, 9, 0, byte(100 + i%100)}
		h.send(f, make([]byte, 1024))
		if i%100 == 0 {
			h.marker(7)
			w.recv(k)
		}
	}
	h.marker(7)
	w.recv(k)
	if got := w.stat("IpReasmReqds"); got != flood {
		t.Errorf("IpReasmReqds is %d, want %d", got, flood)
	}
	if fails := w.stat("IpReasmFails"); fails < flood-512 {
		t.Errorf("IpReasmFails is %d: more than fit in 256 KiB were kept", fails)
	}
	f = h.fields(ipv4.ProtocolUDP)
	whole := datagram(f.Src, f.Dst, 9, 7, pattern(1000, 5))
	f.ID, f.MoreFragments = 9999, true
	h.send(f, whole[:504])
	f.FragmentOffset, f.MoreFragments = 504, false
	h.send(f, whole[504:])
	got, _ := w.recv(k)
	wantBytes(t, got, pattern(1000, 5))
}

func (p piece) String() string {
	s := fmt.Sprintf("%d+%d", p.offset, p.length)
	if p.more {
		s += "+"
	}
	if p.other {
		s += "!"
	}
	return s
}
