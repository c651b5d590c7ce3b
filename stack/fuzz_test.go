package stack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/queue"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// A fuzz input is a list of frames, each with its length in two bytes and a byte
// of flags in front.
const (
	fuzzMendIP     = 1 << iota // make the IP header's checksum right
	fuzzMendL4                 // make the UDP or ICMP checksum right
	fuzzPartial                // the checksum is partial
	fuzzGSO                    // a GSO packet, cut by 100 bytes
	fuzzVLAN                   // with a tag, the VLAN is the frame's second byte
	fuzzCut                    // the ring cut it
	fuzzLater                  // it comes 10 s after the one before
	fuzzOtherFrame             // addressed to another host
)

// fuzzInput writes frames as an input.
func fuzzInput(flags byte, frames ...[]byte) []byte {
	var b []byte
	for _, f := range frames {
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(append(b, flags), f...)
	}
	return b
}

// checker is a link that checks what the stack sends.
type checker struct {
	replay
	mu  sync.Mutex
	bad []byte // the first frame that nobody should send
	why string
}

func (c *checker) Send(f []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := wrong(f); why != "" && c.bad == nil {
		c.bad, c.why = append([]byte(nil), f...), why
	}
	return nil
}

func (c *checker) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		c.Send(frames[i].Data)
	}
	return len(frames), nil
}

// wrong returns what is wrong with a frame that the stack sends, or "".
func wrong(f []byte) string {
	switch {
	case len(f) < link.HeaderLen || len(f) > link.HeaderLen+1500:
		return "length"
	case link.MAC(f[6:12]) != nearMAC:
		return "source MAC"
	case f[12] == 8 && f[13] == 6:
		if _, c := arp.Parse(f[14:]); c != arp.CauseNone {
			return c.String()
		}
		return ""
	}
	h, p, c := ipv4.Parse(f[link.HeaderLen:])
	switch {
	case c != ipv4.CauseNone:
		return c.String()
	case h.Src() != near4:
		return "source address"
	case h.IsFragment():
		return ""
	case h.Protocol() == ipv4.ProtocolICMP:
		if _, c := icmp.Parse(p); c != icmp.CauseNone {
			return c.String()
		}
	case h.Protocol() == ipv4.ProtocolUDP:
		uh, _, c := udp.Parse(p)
		if c != udp.CauseNone || !udp.VerifyChecksum(h.Src(), h.Dst(), uh) {
			return "UDP"
		}
	}
	return ""
}

// mend makes checksums right, as far as there are headers to hold them.
func mend(b []byte, flags byte) {
	if len(b) < 34 || b[12] != 8 || b[13] != 0 {
		return
	}
	n := 14 + int(b[14]&15)*4
	if flags&fuzzMendL4 != 0 && n >= 34 && b[20]&0x3f == 0 && b[21] == 0 {
		end := min(14+int(binary.BigEndian.Uint16(b[16:])), len(b))
		switch {
		case b[23] == ipv4.ProtocolICMP && end >= n+4:
			b[n+2], b[n+3] = 0, 0
			binary.BigEndian.PutUint16(b[n+2:], ^checksum.Sum(b[n:end], 0))
		case b[23] == ipv4.ProtocolUDP && end >= n+8:
			u := b[n:end]
			length := int(binary.BigEndian.Uint16(u[4:]))
			if length >= 8 && length <= len(u) {
				src, dst := ipv4.Addr(b[26:30]), ipv4.Addr(b[30:34])
				udp.Put(u, src, dst, binary.BigEndian.Uint16(u), binary.BigEndian.Uint16(u[2:]), length-8)
			}
		}
	}
	if flags&fuzzMendIP != 0 {
		repairIP(b)
	}
}

// outcomes returns how many ends the counters say that frames came to: each
// frame has one, but for the several datagrams of a GSO packet and the several
// sockets that a broadcast is for.
func outcomes(a, b *counter.Set) uint64 {
	d := func(cs ...counter.Kind) (n uint64) {
		for _, c := range cs {
			n += b[c] - a[c]
		}
		return n
	}
	return d(counter.DropShortFrame, counter.DropVLAN, counter.DropOtherHost, counter.DropTruncatedFrame, counter.DropEtherType, counter.ARPIn, counter.DropNoMember, counter.IGMPInMsgs) +
		d(counter.IPInHdrErrors, counter.IPInAddrErrors, counter.IPInTruncatedPkts, counter.IPInUnknownProtos, counter.IPInDiscards) +
		d(counter.IPReasmReqds) - d(counter.IPReasmOKs) +
		d(counter.UDPInDatagrams, counter.UDPInErrors, counter.UDPNoPorts, counter.UDPIgnoredMulti, counter.DropGSO, counter.ICMPInMsgs)
}

// FuzzStackFrames feeds a whole stack with frames. Whatever they are, it does not
// panic, its memory is bounded, each frame comes to an end that is counted, and
// what the stack sends is well formed.
func FuzzStackFrames(f *testing.F) {
	var all [][]byte
	for _, frame := range goodFrames() {
		all = append(all, frame)
		for _, flags := range []byte{0, fuzzMendIP | fuzzMendL4, fuzzPartial, fuzzGSO | fuzzPartial} {
			f.Add(fuzzInput(flags, frame))
		}
	}
	f.Add(fuzzInput(fuzzMendIP|fuzzMendL4, all...))
	f.Add(fuzzInput(fuzzLater, all...))
	whole := datagram(far4, near4, 7, 9, payload(3000))
	f.Add(fuzzInput(fuzzMendIP, fragment(9, whole, 0, 1480), fragment(9, whole, 2960, len(whole)), fragment(9, whole, 1480, 2960)))
	f.Add(fuzzInput(fuzzMendIP, fragment(9, whole, 0, 1480), fragment(9, whole, 1472, 2952)))
	f.Fuzz(func(t *testing.T, input []byte) {
		z := newFuzzed(t)
		for len(input) >= 3 {
			n := min(int(binary.BigEndian.Uint16(input)), len(input)-3)
			z.feed(append([]byte(nil), input[3:3+n]...), input[2])
			input = input[3+n:]
		}
		z.end()
	})
}

// fuzzed is a stack under attack.
type fuzzed struct {
	t       *testing.T
	s       *Stack
	ifc     *Interface
	clock   *handClock
	link    *checker
	sockets []*UDPSocket
}

const (
	fuzzMemory     = 64 << 10
	fuzzNeighbours = 16
	fuzzBuffer     = 8 << 10
)

// fuzzLimits are so small that a few frames reach them all.
var fuzzLimits = Limits{GroupFlows: 4, GroupFlowSockets: 4, ReceiveBytes: 128 << 10, Outbox: 2, PathMTUs: 2, TxBuffers: 1, PoolBytes: 16 << 10}

func newFuzzed(t *testing.T) *fuzzed {
	z := &fuzzed{t: t, clock: &handClock{}, link: &checker{}}
	z.clock.now.Store(1)
	s, err := New(Config{Panics: true, Limits: fuzzLimits, Clock: z.clock, Reassembly: ipv4.ReassemblyConfig{HighThresh: fuzzMemory}})
	if err != nil {
		t.Fatal(err)
	}
	z.s = s
	z.ifc, err = s.AddLink(z.link, InterfaceConfig{ARP: arp.Config{MaxEntries: fuzzNeighbours, AnnounceNum: -1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := z.ifc.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	for i, peer := range []string{"", "10.9.0.2:7", "10.9.0.2:7"} {
		k, err := s.NewUDPSocket()
		if err == nil {
			k.SetReceiveBuffer(fuzzBuffer)
			k.SetReuse(true, false)
			err = k.Bind(netip.MustParseAddrPort([]string{"0.0.0.0:9", "10.9.0.1:9", "10.9.0.1:10"}[i]))
		}
		if err == nil && peer != "" {
			if err = k.Connect(netip.MustParseAddrPort(peer)); err == nil {
				err = k.Send([]byte("x"), 0, NoDeadline)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		z.sockets = append(z.sockets, k)
	}
	if err := z.sockets[0].Multicast().JoinGroup(GroupRequest{Group: groupA, Interface: z.ifc.Index()}); err != nil {
		t.Fatal(err)
	}
	return z
}

// feed gives the stack one frame, and checks what became of it.
func (z *fuzzed) feed(b []byte, flags byte) {
	mend(b, flags)
	f := link.Frame{Data: b, Meta: link.Meta{WireLen: len(b)}}
	if len(b) >= 6 && b[0]&1 != 0 {
		f.Type = link.Broadcast
	}
	if flags&fuzzOtherFrame != 0 {
		f.Type = link.OtherHost
	}
	if flags&fuzzPartial != 0 {
		f.Checksum = link.ChecksumPartial
	}
	if flags&fuzzGSO != 0 {
		f.GSO, f.GSOSize = link.GSOUDP, 100
	}
	if flags&fuzzVLAN != 0 && len(b) > 1 {
		f.VLAN, f.VLANTCI, f.VLANTPID = true, uint16(b[1]), 0x8100
	}
	if flags&fuzzCut != 0 {
		f.WireLen++
	}
	if flags&fuzzLater != 0 {
		z.clock.now.Add(int64(10 * time.Second))
	}
	s := z.s
	s.lockLanes()
	before := s.lanes.first.counters
	s.addReassembly(&before)
	s.lanes.first.input(z.ifc, &f)
	after := s.lanes.first.counters
	s.addReassembly(&after)
	memory := s.reasm.stats().Memory
	s.unlockLanes()
	switch n := outcomes(&before, &after); {
	case n == 0, n > 1 && f.GSO == link.GSONone && after[counter.IPInBcastPkts]+after[counter.IPInMcastPkts] == before[counter.IPInBcastPkts]+before[counter.IPInMcastPkts]:
		z.t.Fatalf("%d ends of frame %x (flags %#x)", n, b, flags)
	}
	if memory > fuzzMemory {
		z.t.Fatalf("%d bytes of fragments", memory)
	}
	z.bounded()
}

// bounded fails if anything has outgrown its limit.
func (z *fuzzed) bounded() {
	z.ifc.dev.Neighbours.Mu.Lock()
	n := z.ifc.dev.Neighbours.Table.Len()
	z.ifc.dev.Neighbours.Mu.Unlock()
	if n > fuzzNeighbours {
		z.t.Fatalf("%d neighbours", n)
	}
	for _, k := range z.sockets {
		charged := k.queue.Charged()
		if charged > fuzzBuffer+queue.Charge(ipv4.MaxLen) {
			z.t.Fatalf("%d bytes queued", charged)
		}
	}
	z.link.mu.Lock()
	defer z.link.mu.Unlock()
	if z.link.bad != nil {
		z.t.Fatalf("sent %x: %s", z.link.bad, z.link.why)
	}
}

// end lets the timers run out, reads all that is queued, and closes the stack.
func (z *fuzzed) end() {
	s := z.s
	for range 10 {
		z.clock.now.Add(int64(10 * time.Second))
		s.lockLanes()
		s.lanes.first.drive.RunTimers(z.clock.Now())
		s.unlockLanes()
	}
	s.lockLanes()
	st := s.reasm.stats()
	s.unlockLanes()
	if st.Memory != 0 || st.Datagrams != 0 {
		z.t.Fatalf("%d bytes of %d datagrams are left", st.Memory, st.Datagrams)
	}
	b := make([]byte, 65536)
	for _, k := range z.sockets {
		for range 10000 {
			if _, _, err := k.Recv(b, unix.MSG_DONTWAIT, NoDeadline); err == unix.EAGAIN {
				break
			}
		}
		if _, ok := k.NextLen(); ok {
			z.t.Fatal("a queue has no end")
		}
	}
	z.bounded()
	s.Close()
}

// TestMutatedFrames is the fuzz target with mutations of good frames, for every
// run of the tests: the fuzzer has to find the good frames first.
func TestMutatedFrames(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var good [][]byte
	for _, f := range goodFrames() {
		good = append(good, f)
	}
	whole := datagram(far4, near4, 7, 9, payload(3000))
	for _, at := range []int{0, 1480, 2960} {
		good = append(good, fragment(9, whole, at, min(at+1480, len(whole))))
	}
	for range 100 {
		z := newFuzzed(t)
		for range 100 {
			f := append([]byte(nil), good[r.IntN(len(good))]...)
			for range r.IntN(4) {
				switch at := r.IntN(min(len(f), 80)); r.IntN(4) {
				case 0:
					f[at] ^= 1 << r.IntN(8)
				case 1:
					f[at] = byte(r.Uint32())
				case 2:
					f = f[:max(at, 1)]
				case 3:
					f[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[r.IntN(5)]
				}
			}
			flags := byte(r.IntN(4))
			if r.IntN(4) == 0 {
				flags |= byte(r.Uint32())
			}
			z.feed(f, flags)
		}
		z.end()
	}
}
