package claim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/outband/outband/internal/ebpf"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// orders are those in which three fragments can come.
var orders = [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// fragments are a datagram's, in that order.
func (lb *lab) fragments(port, id uint16, order ...int) (frames [][]byte) {
	const part = 16
	whole := append(udpHeader(5000, port, 2*part), make([]byte, 2*part)...)
	for _, i := range order {
		from, more := i*part, uint16(moreFragments)
		to := from + part
		if to >= len(whole) {
			to, more = len(whole), 0
		}
		f := frame{to: hostAddr, id: id, fragment: uint16(from/8) | more, protocol: unix.IPPROTO_UDP, payload: whole[from:to]}
		frames = append(frames, lb.bytes(f))
	}
	return frames
}

// holder opens an in-band socket in the host that drops what came by eth0.
func (lb *lab) holder(port uint16) *inband.UDP {
	u := lb.socket(port)
	program, err := bpf.Assemble([]bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(lb.index), SkipTrue: 1}, leave, take})
	must(lb.t, err)
	must(lb.t, attachProgram(u.FD(), program))
	return u
}

// socket opens an in-band socket in the host.
func (lb *lab) socket(port uint16) *inband.UDP {
	lb.t.Helper()
	var u *inband.UDP
	must(lb.t, lb.host.Do(func() (err error) {
		u, err = inband.OpenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
		return err
	}))
	lb.t.Cleanup(func() { u.Close() })
	return u
}

// What the kernel counts of what comes.
var ipCounters = []string{"Ip InReceives", "Ip ReasmReqds", "Ip ReasmOKs", "Ip ReasmFails", "Udp InDatagrams", "Udp InErrors", "Udp NoPorts", "Icmp OutMsgs"}

// kernel returns how much the counters have moved since it was called last.
func (lb *lab) kernel(last map[string]int) map[string]int {
	moved := map[string]int{}
	for _, name := range ipCounters {
		now := lb.counter(name)
		if d := now - last[name]; d != 0 {
			moved[name[strings.Index(name, " ")+1:]] = d
		}
		last[name] = now
	}
	return moved
}

// assembling returns what the kernel says of fragments that wait.
func (lb *lab) assembling() string {
	b, err := lb.host.ReadFile("net/sockstat")
	must(lb.t, err)
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "FRAG:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

const noneAssembling = "FRAG: inuse 0 memory 0"

// TestFragments has the fragments of claimed and other datagrams come in all orders.
func TestFragments(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		lb.holder(1000)
		in := lb.socket(2000)
		add(t, c, Claim{Port: 1000})
		last := map[string]int{}
		lb.kernel(last)
		id := uint16(0)
		for _, order := range orders {
			id++
			stats := c.Stats(lb.index)
			if n, _ := r.took(lb.fragments(1000, id, order[:]...)...); n != 3 {
				t.Errorf("%v: the ring took %d", order, n)
			}
			stats.Dropped, stats.Passed = c.Stats(lb.index).Dropped-stats.Dropped, c.Stats(lb.index).Passed-stats.Passed
			want, wantStats := "map[InErrors:1 InReceives:3 ReasmOKs:1 ReasmReqds:3]", Stats{}
			if o.Force == TCX && order[0] == 0 {
				want, wantStats = "map[]", Stats{Dropped: 3}
			} else if o.Force == TCX {
				wantStats = Stats{Passed: 3}
			}
			if got := fmt.Sprint(lb.kernel(last)); got != want {
				t.Errorf("%v: %s", order, got)
			}
			if stats != wantStats {
				t.Errorf("%v: %+v", order, stats)
			}
			id++
			n, _ := r.took(lb.fragments(2000, id, order[:]...)...)
			// All or nothing: parts would stay in the stack's reassembly.
			if want := order[0] != 0 || c.filter == nil; n != 0 && !want || want && n != 3 {
				t.Errorf("%v, not claimed: the ring took %d", order, n)
			}
			if n, err := in.Recv(make([]byte, 100), unix.MSG_DONTWAIT); n != 32 || err != nil {
				t.Errorf("%v, not claimed: %d, %v", order, n, err)
			}
			if got := fmt.Sprint(lb.kernel(last)); got != "map[InDatagrams:1 InReceives:3 ReasmOKs:1 ReasmReqds:3]" {
				t.Errorf("%v, not claimed: %s", order, got)
			}
		}
		if got := lb.assembling(); got != noneAssembling {
			t.Error(got)
		}
	})
}

// TestIdentificationAgain has one identification for a claimed datagram and another one,
// each after the other, in all orders of their fragments.
func TestIdentificationAgain(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		lb.holder(1000)
		in := lb.socket(2000)
		add(t, c, Claim{Port: 1000})
		for i := range len(orders) * len(orders) {
			first, second := orders[i%len(orders)], orders[i/len(orders)]
			r.took(lb.fragments(1000, 7, first[:]...)...)
			r.took(lb.fragments(2000, 7, second[:]...)...)
			if n, err := in.Recv(make([]byte, 100), unix.MSG_DONTWAIT); n != 32 || err != nil {
				t.Errorf("%v then %v: %d, %v", first, second, n, err)
			}
			if n, _ := r.took(lb.fragments(1000, 7, first[:]...)...); n != 3 {
				t.Errorf("%v then %v: the ring took %d of another claimed datagram", second, first, n)
			}
		}
		if got := lb.assembling(); got != noneAssembling {
			t.Error(got)
		}
	})
}

// TestTwice has a fragment of a datagram come twice, before the last new one, in all orders,
// and another datagram with the same identification after it: nothing of the first one is
// left, nor is it taken for what it was not.
func TestTwice(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		lb.holder(1000)
		in := lb.socket(2000)
		add(t, c, Claim{Port: 1000})
		twice := func(order [3]int, which int) []int { // 0 or 1: of the first two
			return append(append(append([]int{}, order[:2]...), order[which]), order[2])
		}
		for i := range len(orders) * len(orders) * 2 {
			first, second := orders[i%len(orders)], orders[i/len(orders)%len(orders)]
			all := twice(first, i/len(orders)/len(orders))
			if n, _ := r.took(lb.fragments(1000, 7, all...)...); n != 4 {
				t.Errorf("%v: the ring took %d", all, n)
			}
			if got := lb.assembling(); got != noneAssembling {
				t.Fatalf("%v: %s", all, got)
			}
			r.took(lb.fragments(2000, 7, second[:]...)...)
			if n, err := in.Recv(make([]byte, 100), unix.MSG_DONTWAIT); n != 32 || err != nil {
				t.Errorf("%v then %v: %d, %v", all, second, n, err)
			}
			early := first[0] != 0 || c.filter == nil
			if n, _ := r.took(lb.fragments(2000, 7, all...)...); n != 0 && !early || early && n != 4 {
				t.Errorf("%v, not claimed: the ring took %d", all, n)
			}
			in.Recv(make([]byte, 100), unix.MSG_DONTWAIT)
			if n, _ := r.took(lb.fragments(1000, 7, second[:]...)...); n != 3 {
				t.Errorf("%v, not claimed, then %v: the ring took %d", all, second, n)
			}
		}
	})
}

// TestFirstFragmentDecides has a claimed datagram lose its tail, and one that is not
// claimed follow with the same identification, and the other way round.
func TestFirstFragmentDecides(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		lb.holder(1000)
		in := lb.socket(2000)
		add(t, c, Claim{Port: 1000})
		r.took(lb.fragments(1000, 7, 0, 1)...)
		r.took(lb.fragments(2000, 7, 0, 1, 2)...)
		if o.Force == TCX { // else the kernel has the first one's beginning
			if n, err := in.Recv(make([]byte, 100), unix.MSG_DONTWAIT); n != 32 || err != nil {
				t.Errorf("not claimed: %d, %v", n, err)
			}
		}
		r.took(lb.fragments(2000, 8, 0, 1)...)
		if n, _ := r.took(lb.fragments(1000, 8, 0, 1, 2)...); n != 3 {
			t.Errorf("claimed: the ring took %d", n)
		}
	})
}

// TestVerdictAges has a fragment come more than a second after the first one.
func TestVerdictAges(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: TCX})
	r := lb.ring(c)
	add(t, c, Claim{Port: 1000})
	r.took(lb.fragments(1000, 1, 0)...)
	age(t, c, second+1)
	if n, _ := r.took(lb.fragments(1000, 1, 1)...); n != 1 || c.Stats(lb.index) != (Stats{1, 1}) {
		t.Errorf("claimed: the ring took %d, %+v", n, c.Stats(lb.index))
	}
	r.took(lb.fragments(2000, 2, 0)...)
	age(t, c, second+1)
	if n, _ := r.took(lb.fragments(2000, 2, 1)...); n != 1 {
		t.Errorf("not claimed: the ring took %d of a tail of unknown beginning", n)
	}
}

// age makes what is remembered of datagrams older.
func age(t *testing.T, c *Claims, by uint64) {
	t.Helper()
	state := make([]byte, datagramValueLen)
	for _, m := range []*ebpf.Map{c.maps.dropped, c.maps.taken} {
		keys, err := m.Keys()
		must(t, err)
		for _, key := range keys {
			must(t, m.Lookup(key, state))
			binary.NativeEndian.PutUint64(state, binary.NativeEndian.Uint64(state)-by)
			must(t, m.Put(key, state))
		}
	}
}

// TestLostMiddle has a claimed datagram lose its middle, and the next one with the same
// identification come a while later: it is dropped to its end.
func TestLostMiddle(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: TCX})
	r := lb.ring(c)
	add(t, c, Claim{Port: 1000})
	r.took(lb.fragments(1000, 1, 0, 2)...)
	age(t, c, moment+1)
	if n, _ := r.took(lb.fragments(1000, 1, 0, 1, 2)...); n != 3 || c.Stats(lb.index) != (Stats{5, 0}) {
		t.Errorf("the ring took %d, %+v", n, c.Stats(lb.index))
	}
	if got := lb.assembling(); got != noneAssembling {
		t.Error(got)
	}
}

// TestStrangersFragments has tails that are for another host, which nobody is to keep.
func TestStrangersFragments(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: TCX})
	r := lb.ring(c)
	add(t, c, Claim{Port: 1000})
	f := frame{to: elsewhere, id: 1, fragment: 2, protocol: unix.IPPROTO_UDP, payload: make([]byte, 16)}
	if n, _ := r.took(lb.bytes(f)); n != 0 || c.Stats(lb.index) != (Stats{}) {
		t.Errorf("to another host: the ring took %d, %+v", n, c.Stats(lb.index))
	}
	f.to, f.protocol = hostAddr, unix.IPPROTO_TCP
	if n, _ := r.took(lb.bytes(f)); n != 0 {
		t.Errorf("TCP: the ring took %d", n)
	}
	add(t, c, Claim{Port: 1001, Local: elsewhere})
	f.to, f.protocol = elsewhere, 0
	if n, _ := r.took(lb.bytes(f)); n != 1 {
		t.Errorf("to a claim's address: the ring took %d", n)
	}
}

// TestTailsFirst has many datagrams come with their tails first: none stays in the
// kernel, and its reassembly goes on.
func TestTailsFirst(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		lb.holder(1000)
		in := lb.socket(2000)
		add(t, c, Claim{Port: 1000})
		var frames [][]byte
		for id := range uint16(5000) {
			frames = append(frames, lb.fragments(1000, id, 2, 1, 0)...)
		}
		if n, _ := r.took(frames...); n != len(frames) {
			t.Errorf("the ring took %d of %d", n, len(frames))
		}
		if got := lb.assembling(); got != noneAssembling {
			t.Error(got)
		}
		r.took(lb.fragments(2000, 1, 2, 1, 0)...)
		if n, err := in.Recv(make([]byte, 100), unix.MSG_DONTWAIT); n != 32 || err != nil {
			t.Errorf("in-band: %d, %v", n, err)
		}
	})
}

// TestFragmentsAtOnce has two processors see the first and a later fragment of a datagram
// at once: the first is not dropped if the kernel got the later one.
func TestFragmentsAtOnce(t *testing.T) {
	lb := newLab(t)
	c := lb.open(Options{Force: TCX})
	add(t, c, Claim{Port: 1000})
	lb.hostMAC = [6]byte{} // as lo has it, on which the kernel runs a program for a test
	const dropped = tcxDrop
	tcx := lb.theirs(c.tcx)
	var verdicts [2]uint32
	var turn [2]atomic.Uint32
	run := func(which, id int) {
		f := lb.fragments(1000, uint16(id), which)[0]
		copy(f, make([]byte, 6))
		turn[which].Store(uint32(id))
		for turn[1-which].Load() < uint32(id) {
		}
		verdicts[which], _, _ = tcx.Test(f)
	}
	order := map[[2]bool]int{}
	for id := 1; id <= 500; id++ {
		done := make(chan bool)
		for which := range 2 {
			go onProcessor(which, func() { run(which, id); done <- true })
		}
		<-done
		<-done
		first, later := verdicts[0] == dropped, verdicts[1] == dropped
		if order[[2]bool{first, later}]++; first && !later {
			t.Fatalf("datagram %d: the first fragment was dropped, a later one went to the kernel", id)
		}
	}
	t.Logf("first and later one dropped: %v", order)
}
