package stack

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// The model of sending: programs of random calls on sockets of all kinds run against
// a link that refuses any frame with any error, and what arrives is compared with a
// list of what the calls have promised. A datagram that a call counts as sent arrives
// once, unless a counter says that the device has lost it; one that a call refuses
// with EAGAIN never arrives; one of a call that failed otherwise arrives once at most.

// promise is what is known of one datagram.
type promise uint8

const (
	promised promise = iota // once, or counted as lost
	perhaps                 // once at most
	refused                 // never
)

// A ledger is the list of promises, by the number that each datagram bears.
type ledger struct {
	mu   sync.Mutex
	list []promise
	kind []string
}

// enter takes n datagrams up and returns the first one's number.
func (l *ledger) enter(n int, kind string) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := len(l.list)
	for range n {
		l.list, l.kind = append(l.list, refused), append(l.kind, kind)
	}
	return uint32(first)
}

// settle notes what the call said of n datagrams from first on.
func (l *ledger) settle(first uint32, n int, err error) {
	p := promised
	switch err {
	case nil:
	case unix.EAGAIN:
		p = refused
	default:
		p = perhaps
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		l.list[int(first)+i] = p
	}
}

// A sendProgram is one socket and who sends by it.
type sendProgram struct {
	k   *Endpoint
	rng *rand.Rand
	l   *ledger
	ifc int
}

// numbered returns a payload of n bytes that begins with a number.
func numbered(number uint32, n int) []byte {
	b := payload(max(n, 8))
	binary.BigEndian.PutUint32(b, 0x5eed0000|uint32(len(b))&0xffff)
	binary.BigEndian.PutUint32(b[4:], number)
	return b
}

func (p *sendProgram) size() int {
	switch p.rng.IntN(4) {
	case 0:
		return 8 + p.rng.IntN(9000)
	case 1:
		return 1472
	default:
		return 8 + p.rng.IntN(1400)
	}
}

// call returns flags and a deadline for a call.
func (p *sendProgram) call() (flags int, deadline int64) {
	switch p.rng.IntN(3) {
	case 0:
		return unix.MSG_DONTWAIT, NoDeadline
	case 1:
		return 0, p.k.s.Deadline(time.Duration(p.rng.IntN(500)) * time.Microsecond)
	default:
		return 0, NoDeadline
	}
}

// one sends one datagram, or one payload that is cut into segments.
func (p *sendProgram) one() {
	flags, deadline := p.call()
	if p.k.kind.name() == "udp" && p.rng.IntN(2) == 0 {
		n, size := 1+p.rng.IntN(40), 8+p.rng.IntN(1400)
		if p.rng.IntN(3) == 0 {
			n, size = 1+p.rng.IntN(100), 8+p.rng.IntN(300)
		}
		first := p.l.enter(n, "segment")
		var b []byte
		for i := range n {
			b = append(b, numbered(first+uint32(i), size)...)
		}
		m := []OutMessage{{Buffers: [][]byte{b}, Options: &SendOptions{Segment: size}}}
		_, err := p.k.SendMessages(m, flags, deadline)
		p.l.settle(first, n, err)
		return
	}
	first := p.l.enter(1, "datagram")
	p.l.settle(first, 1, p.k.Send(p.datagram(first), flags, deadline))
}

// datagram returns what is sent as one datagram by the program's kind of socket.
func (p *sendProgram) datagram(number uint32) []byte {
	b := numbered(number, p.size())
	switch {
	case p.k.kind.name() == "packet":
		return ip(ipv4.Fields{Src: near4, Dst: far4, ID: 1, Protocol: 253}, b[:min(len(b), 1400)])
	case p.k.kind.name() == "icmp":
		return icmp.AppendEcho(nil, icmp.Echo, 0, 1, b)
	default:
		return b
	}
}

// batch sends several at once.
func (p *sendProgram) batch() {
	flags, deadline := p.call()
	n := 1 + p.rng.IntN(100)
	first := p.l.enter(n, "batch")
	msgs := make([]OutMessage, n)
	equal := p.rng.IntN(2) == 0 // so that they may leave as GSO packets
	for i := range msgs {
		b := p.datagram(first + uint32(i))
		if equal && p.k.kind.name() == "udp" {
			b = numbered(first+uint32(i), 200)
		}
		cut := p.rng.IntN(len(b))
		msgs[i].Buffers = [][]byte{b[:cut], b[cut:]}
	}
	sent, err := p.k.SendMessages(msgs, flags, deadline)
	switch {
	case sent == 0 && err == nil:
		panic("SendMessages returned 0 and no error")
	case sent > 0 && err != nil:
		panic(fmt.Sprintf("SendMessages returned %d and %v", sent, err))
	}
	p.l.settle(first, sent, nil)
	if sent < n { // what stopped it says the next call; the rest was not begun
		if err == nil {
			err = unix.EIO
		}
		p.l.settle(first+uint32(sent), 1, err)
		p.l.settle(first+uint32(sent)+1, n-sent-1, unix.EAGAIN)
	}
}

// A sendWorld is a stack on a bad link, whose other end is listened to.
type sendWorld struct {
	t    *testing.T
	s    *Stack
	bad  *fault.Link
	far  *pipe.Link
	ifc  *Interface
	l    ledger
	seen map[uint32]int
	part map[[5]uint32]map[int]int // of fragments: how often each offset came
	data map[[5]uint32][]byte
}

func newSendWorld(t *testing.T, refuse fault.Refusals, caps link.Caps) *sendWorld {
	a, b := pipe.New(pipe.Options{Caps: caps, Queue: 1 << 20})
	w := &sendWorld{t: t, s: newStack(t, Config{}), far: b, seen: make(map[uint32]int),
		data: make(map[[5]uint32][]byte), part: make(map[[5]uint32]map[int]int)}
	w.bad = fault.Wrap(a, fault.Config{Seed: 7})
	i, err := w.s.AddLink(w.bad, InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	w.ifc = i
	if err := i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := i.SetNeighbour(farAddr, farMAC, arp.Permanent); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	w.bad.SetConfig(fault.Config{Seed: 7, Tx: fault.Faults{Refuse: refuse, Limit: 1 << 20}})
	return w
}

// program opens a socket of a kind.
func (w *sendWorld) program(kind string, seed uint64) *sendProgram {
	var k Socket
	var err error
	peer := netip.AddrPortFrom(farAddr, 7)
	switch kind {
	case "udp", "udp told", "udp small":
		k, err = w.s.NewUDPSocket()
	case "ping":
		k, err = w.s.NewPingSocket()
	case "raw":
		k, err = w.s.NewRawSocket(253)
	case "packet":
		k, err = w.s.NewPacketSocket(false, unix.ETH_P_IP)
		if err == nil {
			err = k.(*PacketSocket).BindLink(w.ifc.Index(), unix.ETH_P_IP)
		}
	}
	if err == nil && kind != "packet" {
		k.Base().kind.ip().SetMTUDiscover(unix.IP_PMTUDISC_DONT)
		err = k.Connect(peer)
	}
	if err != nil {
		w.t.Fatal(kind, err)
	}
	k.Base().Errors().SetRecvErr(kind == "udp told")
	if kind == "udp small" {
		k.Base().SetSendBuffer(4608)
	}
	return &sendProgram{k: k.Base(), rng: rand.New(rand.NewPCG(seed, 1)), l: &w.l, ifc: w.ifc.Index()}
}

// listen takes in what has arrived.
func (w *sendWorld) listen() {
	var batch [64]link.Frame
	for {
		n := w.far.Receive(batch[:])
		for i := range n {
			w.frame(&batch[i])
		}
		w.far.Release()
		if n == 0 {
			return
		}
	}
}

func (w *sendWorld) frame(f *link.Frame) {
	h, body, c := ipv4.Parse(f.Data[link.HeaderLen:])
	if c != ipv4.CauseNone {
		return // ARP
	}
	if f.GSO == link.GSOUDP {
		w.t.Fatal("fault cuts GSO packets")
	}
	if !h.MoreFragments() && h.FragmentOffset() == 0 {
		w.datagram(h.Protocol(), body)
		return
	}
	dst := h.Dst()
	key := [5]uint32{uint32(h.ID()), uint32(h.Protocol()), binary.BigEndian.Uint32(dst[:])}
	if w.part[key] == nil {
		w.part[key] = make(map[int]int)
	}
	if w.part[key][h.FragmentOffset()]++; w.part[key][h.FragmentOffset()] > 1 {
		w.t.Errorf("fragment %d of datagram %d came twice", h.FragmentOffset(), h.ID())
	}
	whole := w.data[key]
	if need := h.FragmentOffset() + len(body); need > len(whole) {
		whole = append(whole, make([]byte, need-len(whole))...)
	}
	copy(whole[h.FragmentOffset():], body)
	w.data[key] = whole
	got := 0
	for at := range w.part[key] {
		got += at*0 + 1
	}
	if want := w.wholeLen(h.Protocol(), whole); want > 0 && len(whole) == want && got == (want+1479)/1480 {
		w.datagram(h.Protocol(), whole)
	}
}

// wholeLen returns how long the datagram is whose beginning is b; 0: not known yet.
func (w *sendWorld) wholeLen(proto uint8, b []byte) int {
	head := headerOf(proto)
	if len(b) < head+8 || binary.BigEndian.Uint16(b[head:]) != 0x5eed {
		return 0
	}
	return head + int(binary.BigEndian.Uint16(b[head+2:]))
}

func headerOf(proto uint8) int {
	if proto == ipv4.ProtocolUDP || proto == ipv4.ProtocolICMP {
		return 8
	}
	return 0
}

func (w *sendWorld) datagram(proto uint8, b []byte) {
	head := headerOf(proto)
	if len(b) < head+8 || binary.BigEndian.Uint16(b[head:]) != 0x5eed {
		w.t.Errorf("a datagram of %d bytes that nobody sent", len(b))
		return
	}
	w.seen[binary.BigEndian.Uint32(b[head+4:])]++
}

// judge compares what has arrived with what was promised.
func (w *sendWorld) judge(lost uint64) {
	missing, kinds := uint64(0), make(map[string]int)
	for number, p := range w.l.list {
		n := w.seen[uint32(number)]
		switch {
		case n > 1:
			w.t.Errorf("%s %d came %d times", w.l.kind[number], number, n)
		case p == refused && n > 0:
			w.t.Errorf("%s %d was refused, and came", w.l.kind[number], number)
		case p == promised && n == 0:
			missing++
			kinds[w.l.kind[number]]++
		}
	}
	if missing > lost {
		w.t.Errorf("%d datagrams are missing, %v, and %d are counted as lost", missing, kinds, lost)
	}
}

func TestSendModel(t *testing.T) {
	all := fault.Refusals{Again: 0.05, NoBufs: 0.02, Down: 0.01, TooLong: 0.01}
	tests := []struct {
		name   string
		refuse fault.Refusals
		caps   link.Caps
	}{
		{"full now and then", fault.Refusals{Again: 0.05}, 0},
		{"full at each frame", fault.Refusals{Again: 0.7, RoomAfter: 10 * time.Microsecond}, 0},
		{"loses", fault.Refusals{NoBufs: 0.1}, 0},
		{"all errors", all, 0},
		{"all errors, GSO packets", all, link.CapGSO | link.CapChecksum},
		{"full, GSO packets", fault.Refusals{Again: 0.3}, link.CapGSO | link.CapChecksum},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(4) {
				synctest.Test(t, func(t *testing.T) { playSendModel(t, tt.refuse, tt.caps, seed) })
			}
		})
	}
}

func playSendModel(t *testing.T, refuse fault.Refusals, caps link.Caps, seed uint64) {
	w := newSendWorld(t, refuse, caps)
	var wg sync.WaitGroup
	for i, kind := range []string{"udp", "udp told", "udp small", "ping", "raw", "packet", "udp"} {
		p := w.program(kind, seed*100+uint64(i))
		wg.Go(func() {
			for range 30 {
				if p.rng.IntN(3) == 0 {
					p.batch()
				} else {
					p.one()
				}
			}
			if p.rng.IntN(2) == 0 { // what was begun leaves all the same
				p.k.Close()
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Second) // the stack finishes what was begun
	w.listen()
	stats := w.s.Stats()
	if c := w.bad.Counters().Tx; c.Overflow+c.SendErrors+c.Discarded > 0 {
		t.Errorf("the bad link has lost frames itself: %+v", c)
	}
	lost := stats.Get("UdpSndbufErrors") + stats.Get("OutbandSndbufErrors")
	w.judge(lost)
	for _, k := range w.s.socketsOpen() {
		if n := k.SendQueued(); n != 0 {
			t.Errorf("%d bytes are still charged", n)
		}
	}
}

// socketsOpen returns the open sockets.
func (s *Stack) socketsOpen() []*Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Endpoint
	for k := range s.sockets {
		out = append(out, k)
	}
	return out
}
