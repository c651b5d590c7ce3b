package tpacket

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

func isError(err, want error) bool { return errors.Is(err, want) }

func TestOptionErrors(t *testing.T) {
	ret := []bpf.RawInstruction{{Op: 6}}
	tests := []struct {
		name  string
		o     Options
		words string
	}{
		{"slots", Options{Slots: -1}, "Slots is -1"},
		{"many slots", Options{Slots: MaxSlots + 1}, "Slots is"},
		{"small slots", Options{SlotSize: 16}, "SlotSize is 16"},
		{"odd slots", Options{SlotSize: 2047}, "multiple of 16"},
		{"large slots", Options{SlotSize: MaxSlotSize + 16}, "SlotSize is"},
		{"block", Options{BlockSize: -4096}, "BlockSize is -4096"},
		{"odd block", Options{BlockSize: 5000}, "page size"},
		{"large block", Options{BlockSize: 8 << 20}, "BlockSize is"},
		{"block and slot", Options{SlotSize: 1536, BlockSize: 4096}, "not a multiple of the slot size"},
		{"slots that fit no pages", Options{SlotSize: 16 * 1031}, "does not fit pages"},
		{"huge ring", Options{Slots: MaxSlots, SlotSize: 4096}, "more than"},
		{"long buffer", Options{LongBuffer: -1}, "LongBuffer is -1"},
		{"send buffer", Options{SendBuffer: -1}, "SendBuffer is -1"},
		{"mode", Options{TxMode: 9}, "TxMode is 9"},
		{"filter and types", Options{Filter: ret, EtherTypes: []uint16{1}}, "EtherTypes too"},
		{"filter and all", Options{Filter: ret, AllEtherTypes: true}, "EtherTypes too"},
		{"all and some", Options{AllEtherTypes: true, EtherTypes: []uint16{1}}, "EtherTypes too"},
		{"empty filter", Options{Filter: []bpf.RawInstruction{}}, "0 instructions"},
		{"long filter", Options{Filter: make([]bpf.RawInstruction, maxFilter+1)}, "4097 instructions"},
		{"many types", Options{EtherTypes: make([]uint16, maxEtherTypes+1)}, "EtherTypes lists 129"},
		{"invalid filter", Options{Filter: []bpf.RawInstruction{{Op: 0xffff}}}, "SO_ATTACH_FILTER"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "invalid filter" && os.Geteuid() != 0 {
				t.Skip("the kernel checks filters for the privileged alone")
			}
			l, err := Open("lo", tt.o)
			if l != nil {
				t.Fatal("opened")
			}
			wantError(t, err, unix.EINVAL, tt.words)
		})
	}
}

func TestGeometry(t *testing.T) {
	page := os.Getpagesize()
	if page != 4096 {
		t.Skipf("sizes are for pages of 4096 bytes, not %d", page)
	}
	tests := []struct {
		name                        string
		mtu, slots, slotSize, block int
		want                        geometry
	}{
		{"default", 1500, 1024, 0, 0, geometry{2048, 64 << 10, 1024}},
		{"small MTU", 68, 1024, 0, 0, geometry{2048, 64 << 10, 1024}},
		{"largest MTU for 2048", 2048 - 82 - 18, 1024, 0, 0, geometry{2048, 64 << 10, 1024}},
		{"one more", 2048 - 82 - 17, 1024, 0, 0, geometry{4096, 64 << 10, 1024}},
		{"jumbo", 9000, 1024, 0, 0, geometry{16384, 64 << 10, 1024}},
		{"loopback", 65536, 1024, 0, 0, geometry{16384, 64 << 10, 1024}},
		{"few", 1500, 1, 0, 0, geometry{2048, 4096, 2}},
		{"rounded up", 1500, 33, 0, 64 << 10, geometry{2048, 64 << 10, 64}},
		{"odd size", 1500, 100, 1792, 0, geometry{1792, 57344, 128}},
		{"huge slots", 1500, 8, 128 << 10, 0, geometry{128 << 10, 128 << 10, 8}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := geometryFor(tt.mtu, tt.slots, tt.slotSize, tt.block)
			if err != nil || g != tt.want {
				t.Errorf("%+v, %v, want %+v", g, err, tt.want)
			}
			if r := g.request(); r.Block_nr*r.Block_size != uint32(g.bytes()) || r.Frame_nr*r.Frame_size != uint32(g.bytes()) {
				t.Errorf("request %+v", r)
			}
		})
	}
}

func TestFewerSlotsIfMemoryIsShort(t *testing.T) {
	g := geometry{slotSize: 2048, blockSize: 8192, slots: 1024}
	for _, room := range []int{1024, 1000, 300, 4} {
		got, err := g.allocate(func(r *unix.TpacketReq) error {
			if int(r.Frame_nr) > room {
				return unix.ENOMEM
			}
			return nil
		})
		if err != nil || got.slots > room || got.slots < min(room/2, 1024) {
			t.Errorf("room for %d: %d slots, %v", room, got.slots, err)
		}
	}
	if _, err := g.allocate(func(*unix.TpacketReq) error { return unix.ENOMEM }); err != unix.ENOMEM {
		t.Errorf("no room: %v", err)
	}
	calls := 0
	_, err := g.allocate(func(*unix.TpacketReq) error { calls++; return unix.EINVAL })
	if err != unix.EINVAL || calls != 1 {
		t.Errorf("other error: %v after %d calls", err, calls)
	}
}

func TestSlotLayout(t *testing.T) {
	if dataOffset != 82 || (dataOffset+link.HeaderLen)%16 != 0 {
		t.Errorf("frames begin at %d", dataOffset)
	}
	lb := newLab(t, 1500)
	l := lb.open(Options{EtherTypes: []uint16{experimental}})
	_, err := unix.Write(lb.far.raw(0, false), ethernet(lb.near.mac(), lb.far.mac(), nil))
	check(t, err)
	receive(t, l, 1)
	if mac := l.rx.slot(0).Mac; mac != dataOffset {
		t.Errorf("the kernel put the frame at %d, not at %d", mac, dataOffset)
	}
}

func TestKernelRelease(t *testing.T) {
	tests := []struct {
		release string
		want    bool
	}{
		{"6.2", true}, {"6.2.0", true}, {"6.18.44-fc-v595", true}, {"7.0-rc1", true}, {"10.0.1", true},
		{"6.1.99", false}, {"5.15.0-91-generic", false}, {"6", false}, {"", false}, {"six.2", false}, {"6.x", false},
	}
	for _, tt := range tests {
		if got := atLeast(tt.release, 6, 2); got != tt.want {
			t.Errorf("%q: %v", tt.release, got)
		}
	}
}

// Options that change a socket, and nothing that a frame shows.
func TestSocketOptions(t *testing.T) {
	lb := newLab(t, 1500)
	get := func(fd, level, opt int) int {
		t.Helper()
		v, err := unix.GetsockoptInt(fd, level, opt)
		check(t, err)
		return v
	}
	plain := lb.open(Options{})
	other := lb.open(Options{Qdisc: true, HardwareTime: true, LongBuffer: 1 << 20, SendBuffer: 1 << 19})
	for _, fd := range plain.tx.fds()[:2] {
		if get(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS) != 1 {
			t.Error("the qdisc is not passed by")
		}
	}
	for _, fd := range other.tx.fds()[:2] {
		if get(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS) != 0 || get(fd, unix.SOL_SOCKET, unix.SO_SNDBUF) != 2<<19 {
			t.Error("Qdisc or SendBuffer has no effect")
		}
	}
	if get(other.FD(), unix.SOL_PACKET, unix.PACKET_TIMESTAMP) != unix.SOF_TIMESTAMPING_RAW_HARDWARE {
		t.Error("HardwareTime has no effect")
	}
	if get(other.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF) != 2<<20 || get(plain.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF) != 2*DefaultLongBuffer {
		t.Error("LongBuffer has no effect")
	}
}

func TestMissingPrivilege(t *testing.T) {
	lb := newLab(t, 1500)
	unprivileged(t, func() error {
		_, err := Open("lo", Options{})
		wantError(t, err, unix.EPERM, "CAP_NET_RAW")
		// The thread that enters the namespace is a new one, with what this
		// one has; a process has its privileges in every thread or in none.
		err = netns.Set(lb.near.ns)
		wantError(t, needs("CAP_SYS_ADMIN", err), unix.EPERM, "CAP_SYS_ADMIN")
		return nil
	})
}

// unprivileged runs f on a thread that has no capabilities.
func unprivileged(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		err := unix.Capset(&hdr, &none[0])
		if err == nil {
			err = f()
		}
		done <- err
	}()
	check(t, <-done)
}

// Privileges may be dropped after Open: what a returning device needs works.
func TestDeviceReturnsWithoutPrivilege(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	// The kernel checks the privileges of the thread that calls. Keep the
	// watcher's goroutine out, and do its work on a thread without any.
	w := watch(t, l)
	group := link.MAC{1, 0, 0x5e, 1, 2, 3}
	check(t, l.JoinGroup(group))
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	w.state(link.Gone)
	l.mu.Lock()
	lb.join(1500)
	unprivileged(t, func() error {
		l.dev.RefreshLocked()
		return nil
	})
	l.mu.Unlock()
	if i := l.Info(); i.State != link.Up || l.Stats().Reopened != 1 || lb.near.groups()[group] != 1 {
		t.Errorf("%+v, %+v, groups %v", i, l.Stats(), lb.near.groups())
	}
	exchange(t, lb, l)
}
