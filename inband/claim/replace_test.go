package claim

import (
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// TestReplaceLeavesNoGap has a socket be connected and disconnected while its peer sends.
func TestReplaceLeavesNoGap(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		bound, connected := Claim{Port: 1000}, Claim{Port: 1000, Local: hostAddr, Peer: peerAddr, PeerPort: 5000}
		e := add(t, c, bound)
		before := lb.counter("Ip InReceives")
		const sent = 2000
		var done atomic.Bool
		f := lb.bytes(frame{to: hostAddr, sport: 5000, dport: 1000})
		go func() {
			defer done.Store(true)
			for range sent {
				unix.Sendto(lb.sender, f, 0, &unix.SockaddrLinklayer{Ifindex: lb.peerIndex})
			}
		}()
		for !done.Load() {
			must(t, e.Replace(connected))
			must(t, e.Replace(bound))
		}
		if n, _ := r.came(); n != sent {
			t.Errorf("the ring took %d of %d", n, sent)
		}
		// Rules of nf_tables look one after the other: between two of them both transactions
		// may be done. Then the holder drops it.
		if n := lb.counter("Ip InReceives") - before; o.Force == TCX && n != 0 || o.Force == NFT && n > 20 {
			t.Errorf("the kernel has %d", n)
		}
	})
}

// TestComeAndGo has a claim be made and given up while datagrams come: the ring's filter
// is first to get it and last to lose it, so that there is always one that has them.
func TestComeAndGo(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		if o.Force == TCX {
			t.Skip("filter and program change at once")
		}
		c := lb.attached(o)
		r := lb.ring(c)
		before := lb.counter("Ip InReceives")
		const sent = 2000
		var done atomic.Bool
		f := lb.bytes(frame{to: hostAddr, sport: 5000, dport: 1000})
		go func() {
			defer done.Store(true)
			for range sent {
				unix.Sendto(lb.sender, f, 0, &unix.SockaddrLinklayer{Ifindex: lb.peerIndex})
			}
		}()
		for !done.Load() {
			add(t, c, Claim{Port: 1000}).Close()
		}
		n, _ := r.came()
		if kernel := lb.counter("Ip InReceives") - before; n+kernel < sent {
			t.Errorf("of %d the ring took %d, and the kernel has %d", sent, n, kernel)
		}
	})
}

// TestReplaceBetweenLookups has a socket be connected while a program, which was made
// slow, is between its lookups: it has looked for the one claim before it was made, and
// looks for the other one when it is gone. Both paths of the program have such lookups.
func TestReplaceBetweenLookups(t *testing.T) {
	t.Run("fast", func(t *testing.T) { replaceBetweenLookups(t, (*builder).loadTCX) })
	t.Run("slow", func(t *testing.T) {
		replaceBetweenLookups(t, func(b *builder) (*ebpf.Program, error) {
			b.add(asm.Mov.Reg(context, asm.R1))
			b.slowTCX()
			return b.program("slow", ebpf.SchedCLS)
		})
	})
}

func replaceBetweenLookups(t *testing.T, load func(*builder) (*ebpf.Program, error)) {
	lb := newLab(t)
	c := lb.open(Options{Force: TCX})
	gate, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE})
	must(t, err)
	defer gate.Close()
	memory, err := mapped(gate)
	must(t, err)
	defer unix.Munmap(memory)
	here := (*atomic.Uint32)(unsafe.Pointer(&memory[0]))
	const count = -152
	slow := &builder{maps: c.maps, pause: asm.Instructions{
		asm.LoadMapValue(asm.R2, gate.FD(), 0), asm.StoreImm(asm.R2, 0, 1, asm.Word),
		asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, count, asm.R1, asm.DWord),
		asm.FnKtimeGetNs.Call().WithSymbol("wait"),
		asm.LoadMem(asm.R1, asm.RFP, count, asm.DWord), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.RFP, count, asm.R1, asm.DWord),
		asm.JLT.Imm(asm.R1, 50000, "wait"), // some milliseconds
	}}
	program, err := load(slow)
	must(t, err)
	defer program.Close()
	tcx := lb.theirs(program)
	lb.hostMAC = [6]byte{} // as lo has it, on which the kernel runs a program for a test
	// Others of the same port, so that its flags do not change.
	add(t, c, Claim{Port: 1000, Local: otherAddr})
	add(t, c, Claim{Port: 1000, Local: otherAddr, Peer: peerAddr, PeerPort: 5000})
	bound, connected := Claim{Port: 1000, Local: hostAddr}, Claim{Port: 1000, Local: hostAddr, Peer: peerAddr, PeerPort: 5000}
	f := lb.bytes(frame{to: hostAddr, sport: 5000, dport: 1000, payload: make([]byte, 20)})
	for range 20 {
		e := add(t, c, bound)
		here.Store(0)
		verdict := make(chan uint32)
		go onProcessor(0, func() {
			v, _, _ := tcx.Test(f)
			verdict <- v
		})
		replaced := make(chan error)
		go onProcessor(1, func() {
			for here.Load() == 0 {
			}
			replaced <- e.Replace(connected)
		})
		must(t, <-replaced)
		if v := <-verdict; v != tcxDrop {
			t.Fatalf("not found: verdict %d", int32(v))
		}
		e.Close()
	}
}

// onProcessor runs f on a processor, if there is that one, and ends its thread.
func onProcessor(n int, f func()) {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(n)
	unix.SchedSetaffinity(0, &set) // EINVAL: there is none
	f()
}
