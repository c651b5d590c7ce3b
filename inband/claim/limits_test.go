package claim

import (
	"errors"
	"os"
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
