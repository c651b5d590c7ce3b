package claim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// A comparison has both programs, and both without their fast paths, over the same maps.
type comparison struct {
	lb                *lab
	c                 *Claims
	slowRing, slowTCX *ebpf.Program
	compared, noted   int
}

func newComparison(lb *lab, c *Claims) *comparison {
	ring, tcx := &builder{maps: c.maps, ring: true}, &builder{maps: c.maps}
	x := &comparison{lb: lb, c: c}
	for _, s := range []struct {
		b    *builder
		slow func()
		typ  ebpf.ProgramType
		to   **ebpf.Program
	}{{ring, ring.slowRing, ebpf.SocketFilter, &x.slowRing}, {tcx, tcx.slowTCX, ebpf.SchedCLS, &x.slowTCX}} {
		s.b.add(asm.Mov.Reg(context, asm.R1))
		s.slow()
		p, err := s.b.program("slow", s.typ)
		must(lb.t, err)
		lb.t.Cleanup(func() { p.Close() })
		*s.to = p
	}
	return x
}

// verdict runs a program over a frame of which nothing is remembered, and returns, with
// the verdict, what is remembered then.
func (x *comparison) verdict(p *ebpf.Program, in skb, f []byte) (string, skb) {
	x.lb.t.Helper()
	v, out := x.lb.run(p, in, f, 1)
	said := fmt.Sprint(v)
	for _, m := range []*ebpf.Map{x.c.maps.taken, x.c.maps.dropped} {
		keys, err := m.Keys()
		must(x.lb.t, err)
		for _, key := range keys {
			state := make([]byte, datagramValueLen)
			must(x.lb.t, m.Lookup(key, state))
			said += fmt.Sprintf(", %x: %x", key, state[stateVerdict:])
			must(x.lb.t, m.Delete(key))
		}
	}
	return said, out
}

// compare has the fast paths say of a frame what the slow ones say, and TCX after the ring
// what it says by itself.
func (x *comparison) compare(f []byte, device int) {
	t := x.lb.t
	t.Helper()
	in := skb{Device: uint32(device)}
	ring, out := x.verdict(x.c.filter, in, f)
	wantRing, _ := x.verdict(x.slowRing, in, f)
	tcx, _ := x.verdict(x.c.tcx, in, f)
	noted, _ := x.verdict(x.c.tcx, out, f)
	wantTCX, _ := x.verdict(x.slowTCX, in, f)
	if ring != wantRing || tcx != wantTCX || noted != wantTCX {
		t.Fatalf("device %d, %x: the ring %s, slow %s; TCX %s, after the ring %s, slow %s", device, f, ring, wantRing, tcx, noted, wantTCX)
	}
	x.compared++
	if out.Note != 0 {
		x.noted++
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// nearTo are addresses whose place is that of an address.
func nearTo(to [4]byte) (near [][4]byte) {
	place, _ := nearPlace(to)
	for i := range 1 << 16 {
		a := [4]byte{10, 7, byte(i >> 8), byte(i)}
		if p, _ := nearPlace(a); p == place {
			near = append(near, a)
		}
	}
	return near
}

// sharedPorts is what is added to a claim's port for one that is shared.
const sharedPorts = 30

// TestFastAsSlow has frames of all kinds pass claims of all kinds.
func TestFastAsSlow(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: TCX})
	near, nearOther := nearTo(hostAddr), nearTo(otherAddr)
	destinations := append(append(near[:2], nearOther[:2]...), hostAddr, otherAddr, elsewhere, group, [4]byte{239, 1, 1, 2}, broadcast, limited,
		[4]byte{}, [4]byte{224, 0, 0, 0}, [4]byte{223, 255, 255, 255}, [4]byte{240, 0, 0, 1})
	must(t, c.SetLocal([][4]byte{hostAddr, otherAddr, near[0]}, [][4]byte{broadcast, nearOther[0]}))
	claims := append(verdictClaims(lb), Claim{Port: 1019, Local: hostAddr}, Claim{Port: 1019, Local: hostAddr, Peer: peerAddr, PeerPort: 5000},
		Claim{Port: 1015}, Claim{Port: 1015, Local: group}, Claim{Port: 1015, Local: group, Peer: peerAddr, PeerPort: 5000},
		Claim{Port: 1016, Local: broadcast, Peer: peerAddr, PeerPort: 5000}, Claim{Port: 1017}, Claim{Port: 1017, Local: hostAddr, Device: lb.index},
		Claim{Port: 1018}, Claim{Port: 1018, Device: lb.index},
		Claim{Port: 1019, Local: near[0]}, Claim{Port: 1021}, Claim{Port: 1021, Local: group, Peer: peerAddr, PeerPort: 5000},
		Claim{Port: 1020, Local: group, Peer: peerAddr, PeerPort: 5000})
	for _, claim := range claims {
		add(t, c, claim)
		claim.Port, claim.Shared = claim.Port+sharedPorts, true
		add(t, c, claim)
	}
	for _, ident := range []uint16{1000, 1021} {
		_, err := c.AddIdent(ident)
		must(t, err)
	}
	x := newComparison(lb, c)
	for port := uint16(999); port <= 1022+sharedPorts; port++ {
		for _, to := range destinations {
			for _, device := range []int{lb.index, 1} {
				x.compare(lb.bytes(frame{to: to, sport: 5000, dport: port}), device)
				x.compare(lb.bytes(frame{to: to, sport: 5001, dport: port}), device)
			}
		}
	}
	if x.noted < x.compared/4 {
		t.Errorf("%d of %d frames have a note: is there a fast path?", x.noted, x.compared)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, w := range []Width{-1, unix.IPPROTO_UDP, 89, unix.IPPROTO_ICMP, AllIPv4, Everything, Promiscuous} {
		narrow := func() {}
		if w >= 0 {
			var err error
			narrow, err = c.Widen(w)
			must(t, err)
		}
		for range 700 {
			x.compare(oddFrame(lb, r, destinations), pick(r, lb.index, lb.index, 1))
		}
		narrow()
	}
	if c.maps.widths[wideAt] != 0 {
		t.Error("widths that are gone are wide")
	}
}

// oddFrame returns a frame of any kind.
func oddFrame(lb *lab, r *rand.Rand, destinations [][4]byte) []byte {
	f := frame{to: pick(r, destinations...), from: pick(r, peerAddr, elsewhere), sport: pick[uint16](r, 5000, 5001), dport: uint16(999 + r.IntN(24)),
		id: uint16(r.Uint32()), fragment: pick[uint16](r, 0, 0, 0, 0x4000, moreFragments, 5, moreFragments|5, 0x8000, 0xc000)}
	if f.fragment&fragmentOffset != 0 {
		f.payload = udpHeader(f.sport, f.dport, 8)
	}
	switch r.IntN(8) {
	case 0:
		f.toMAC = pick(r, [6]byte{2, 0, 0, 0, 0, 99}, [6]byte{255, 255, 255, 255, 255, 255}, [6]byte{1, 0, 0x5e, 1, 1, 1})
	case 1:
		f.tags = [][2]uint16{{unix.ETH_P_8021Q, pick[uint16](r, 0, 5)}}
	case 2:
		f.options = make([]byte, 4*(1+r.IntN(10)))
	case 3:
		f.headerLen = pick[byte](r, 0x44, 0x46, 0x55, 0x4f, 0x05)
	case 4:
		f.protocol, f.payload = pick[byte](r, unix.IPPROTO_TCP, 89, unix.IPPROTO_UDPLITE), udpHeader(f.sport, f.dport, 12)
	case 5:
		f = quoting(pick[byte](r, 0, 3, 8, 11), frame{to: f.to, from: f.from, sport: f.dport, dport: f.sport})
	case 6:
		f.etherType, f.payload = pick[uint16](r, unix.ETH_P_ARP, unix.ETH_P_8021Q, unix.ETH_P_IPV6, 0x88b5), pick(r, make([]byte, 80), append(ipv4(f), make([]byte, 30)...))
	}
	b := lb.bytes(f)
	if f.etherType == 0 && r.IntN(8) == 0 { // the kernel runs nothing over less; TestNeverClaimed has that
		b = b[:min(len(b), etherLen+ipLen+r.IntN(40))]
	}
	return b
}

// TestNotes has TCX find notes of its own rings' filter, and others.
func TestNotes(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: TCX})
	add(t, c, Claim{Port: 1000})
	claimed, other := lb.bytes(frame{to: hostAddr, dport: 1000}), lb.bytes(frame{to: hostAddr, dport: 999})
	in, secret := skb{Device: uint32(lb.index)}, c.maps.secret
	note := func(what uint64, on int) skb {
		return skb{Device: in.Device, Note: what, NoteOn: uint32(on)}
	}
	for _, tt := range []struct {
		name  string
		in    skb
		frame []byte
		want  int32
	}{
		{"drop", note(secret|noteDrop, lb.index), other, tcxDrop},
		{"pass", note(secret|notePass, lb.index), claimed, tcxNext},
		{"drop, of another device", note(secret|noteDrop, lb.index+1), other, tcxNext},
		{"pass, of another device", note(secret|notePass, lb.index+1), claimed, tcxDrop},
		{"drop, of others", note((secret+2)|noteDrop, lb.index), other, tcxNext},
		{"pass, of others", note((secret^1<<63)|notePass, lb.index), claimed, tcxDrop},
		{"nothing", in, claimed, tcxDrop},
	} {
		if got, _ := lb.run(c.tcx, tt.in, tt.frame, 1); got != tt.want {
			t.Errorf("%s: %d", tt.name, got)
		}
	}
	_, drop := lb.run(c.filter, in, claimed, 1)
	_, pass := lb.run(c.filter, in, other, 1)
	if drop != note(secret|noteDrop, lb.index) && drop.Note != secret|noteDrop || pass.Note != secret|notePass || pass.NoteOn != in.Device {
		t.Errorf("the filter notes %+v, %+v", drop, pass)
	}
}

// TestNoteIsFound has a program of no claims find what a ring's filter, of other claims
// with the same secret, noted: the kernel shows it the same frame.
func TestNoteIsFound(t *testing.T) {
	for _, others := range []bool{false, true} { // another process has a ring, whose filter comes last
		lb := newLab(t)
		c, none, other := lb.open(Options{Force: TCX}), lb.open(Options{Force: TCX}), lb.open(Options{Force: TCX})
		none.maps.secret = c.maps.secret
		none.tcx.Close()
		var err error
		none.tcx, err = newTCX(none.maps)
		must(t, err)
		must(t, none.Attach(lb.index, "eth0"))
		add(t, c, Claim{Port: 1000})
		f := frame{to: hostAddr, dport: 1000}
		if lb.hides(f) {
			t.Error("without a ring: hidden")
		}
		if others {
			lb.ring(other) // the first of rings is the last to see a frame
		}
		r := lb.ring(c)
		for _, port := range []uint16{1000, 999, 1000} { // a note does not stay
			f.dport = port
			before := lb.counter("Ip InReceives")
			n, _ := r.took(lb.bytes(f))
			if took := n == 1; took != (port == 1000) {
				t.Errorf("port %d: the ring took it: %t", port, took)
			}
			if hidden := lb.counter("Ip InReceives") == before; hidden != (port == 1000 && !others) {
				t.Errorf("port %d, another ring: %t: hidden: %t", port, others, hidden)
			}
		}
	}
}

// TestManyByAddress has the address of a connected socket become a broadcast address, of
// which the ring has its copy though others may have the port.
func TestManyByAddress(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: TCX})
	r := lb.ring(c)
	add(t, c, Claim{Port: 1000, Local: otherAddr, Peer: peerAddr, PeerPort: 5000, Shared: true})
	f := frame{to: otherAddr, sport: 5000, dport: 1000}
	for i := range 3 {
		if n, _ := r.took(lb.bytes(f)); n != 0 {
			t.Errorf("time %d: one of the host's: the ring has it", i)
		}
		must(t, c.SetLocal([][4]byte{hostAddr}, [][4]byte{otherAddr}))
		if n, _ := r.took(lb.bytes(f)); n != 1 {
			t.Errorf("time %d: a broadcast address: the ring has it %d times", i, n)
		}
		must(t, c.SetLocal([][4]byte{hostAddr, otherAddr}, nil))
	}
}

// TestCounterPlaces has devices whose counters would be in one place.
func TestCounterPlaces(t *testing.T) {
	lb := newLab(t)
	c := lb.open(Options{Force: TCX})
	add(t, c, Claim{Port: 1000})
	for i := range counterTries {
		must(t, c.Attach(lb.index, "eth0"))
		if !lb.hides(frame{to: hostAddr, dport: 1000}) || c.Stats(lb.index) != (Stats{Dropped: 1}) {
			t.Errorf("after %d others: %+v", i, c.Stats(lb.index))
		}
		c.Detach(lb.index)
		if c.Stats(lb.index) != (Stats{}) {
			t.Errorf("detached: %+v", c.Stats(lb.index))
		}
		must(t, c.maps.count(lb.index+counterPlaces*(i+1)))
	}
	if err := c.Attach(lb.index, "eth0"); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("no place left: %v", err)
	}
	c.maps.uncount(lb.index + counterPlaces)
	must(t, c.Attach(lb.index, "eth0"))
}
