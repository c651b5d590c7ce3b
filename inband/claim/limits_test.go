package claim

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTooManyDevices has more devices than there is room for.
func TestTooManyDevices(t *testing.T) {
	lb := newLab(t)
	c := lb.open(Options{})
	for i := range maxDevices {
		c.devices[100000+i] = &device{rung: Holder}
	}
	if err := c.Attach(lb.index, "eth0"); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("one too many: %v", err)
	}
	c.Detach(100000)
	must(t, c.Attach(lb.index, "eth0"))
	must(t, c.Attach(lb.index, "eth0"))
}

// TestTooManySockets has more packet sockets than there is room for.
func TestTooManySockets(t *testing.T) {
	lb := newLab(t)
	c := lb.open(Options{Force: Holder, Classic: true})
	for i := range maxSockets {
		c.sockets[-1-i] = 1
	}
	r, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(r)
	if err := c.AttachFilter(r); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("one too many: %v", err)
	}
	c.RemoveFilter(-1)
	must(t, c.AttachFilter(r))
	must(t, c.AttachFilter(r))
	if err := c.AttachFilter(-1); !errors.Is(err, unix.EBADF) && !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("no descriptor: %v", err)
	}
}

// TestClassicMemory has the kernel give little memory for filters: then the ring takes all
// UDP.
func TestClassicMemory(t *testing.T) {
	const optmem = "net/core/optmem_max"
	lb := newLab(t)
	before, err := os.ReadFile("/proc/sys/" + optmem)
	must(t, err)
	if err := lb.host.SetSysctl(optmem, "20480"); err != nil {
		t.Skip("each namespace has not its own limit: ", err) // before Linux 6.8
	}
	if now, err := os.ReadFile("/proc/sys/" + optmem); err != nil || string(now) != string(before) {
		os.WriteFile("/proc/sys/"+optmem, before, 0)
		t.Skip("each namespace has not its own limit")
	}
	c := lb.attached(Options{Force: Holder, Classic: true})
	r := lb.ring(c)
	for i := range uint16(maxClassicPorts) {
		add(t, c, Claim{Port: 1000 + i})
	}
	for _, port := range []uint16{1000, 1499, 999} {
		if n, _ := r.took(lb.bytes(frame{to: hostAddr, dport: port})); n != 1 {
			t.Errorf("port %d: the ring took %d", port, n)
		}
	}
	must(t, c.AttachFilter(r.fd))
}

// TestManyClaims has 10,000 claims, all before and all after the device was attached.
func TestManyClaims(t *testing.T) {
	const many = 10000
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		if o.Force == Holder || o.Classic {
			t.Skip("as with the other filter or rung")
		}
		c := lb.attached(o)
		r := lb.ring(c)
		n := many
		if o.Force == NFT {
			n = 500 // of which each takes its time; TestFullDevice adds many at once
		}
		claim := func(i int) Claim {
			return [...]Claim{{Port: uint16(1000 + i)}, {Port: uint16(1000 + i), Local: hostAddr},
				{Port: 999, Local: hostAddr, Peer: peerAddr, PeerPort: uint16(1000 + i)}}[i%3]
		}
		var all []*Entry
		for i := range n {
			all = append(all, add(t, c, claim(i)))
		}
		check := func(what string, want bool) {
			t.Helper()
			for _, i := range []int{0, 1, 2, n - 3, n - 2, n - 1} {
				f := frame{to: hostAddr, sport: claim(i).PeerPort, dport: claim(i).Port}
				before := lb.counter("Ip InReceives")
				got, _ := r.took(lb.bytes(f))
				if hidden := lb.counter("Ip InReceives") == before; hidden != want || (got == 1) != want {
					t.Errorf("%s: %+v: hidden %t, the ring took %d", what, claim(i), hidden, got)
				}
			}
		}
		check("held", true)
		if c.tcx != nil {
			var bytes uint64
			for _, m := range c.maps.all() {
				info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.FD()))
				must(t, err)
				_, rest, _ := strings.Cut(string(info), "memlock:\t")
				var b uint64
				fmt.Sscan(rest, &b)
				bytes += b
			}
			if t.Logf("%d claims: %d KiB", n, bytes>>10); bytes > 4<<20 {
				t.Errorf("%d claims take %d KiB of the kernel's memory", n, bytes>>10)
			}
		}
		for _, e := range all {
			e.Close()
		}
		check("given up", false)
	})
}

// TestManyAtOnce has a device refuse TCX when there are 10,000 claims already.
func TestManyAtOnce(t *testing.T) {
	lb := newLab(t)
	c := lb.open(Options{})
	lb.fill(63)
	for i := range 10000 {
		add(t, c, Claim{Port: uint16(1000 + i), Local: hostAddr})
	}
	must(t, c.Attach(lb.index, "eth0"))
	if c.RungOf(lb.index) != NFT {
		t.Fatal(c.RungOf(lb.index), c.nftLost)
	}
	for _, port := range []uint16{1000, 6000, 10999} {
		if !lb.hides(frame{to: hostAddr, dport: port}) {
			t.Errorf("port %d is not claimed", port)
		}
	}
}

// TestTooMany has more claims than there is room for.
func TestTooMany(t *testing.T) {
	lb := newLab(t)
	c := lb.open(Options{})
	claim := func(i int) Claim {
		return Claim{Port: uint16(1 + i%60000), Local: [4]byte{10, 0, 0, byte(i / 60000)}}
	}
	var last *Entry
	for i := range maxClaims {
		last = add(t, c, claim(i))
	}
	if _, err := c.Add(claim(maxClaims)); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("one too many: %v", err)
	}
	add(t, c, claim(0)) // which is there
	last.Close()
	add(t, c, claim(maxClaims))
}
