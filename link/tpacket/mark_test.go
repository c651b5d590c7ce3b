package tpacket

import (
	"errors"
	"maps"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	testlab "github.com/outband/outband/test/lab"
)

// tags looks at the frames that pass a device of the host's, and returns how many
// had each tag since the last call.
func (h *host) tags(t *testing.T, egress bool) func() map[testlab.Tag]int {
	t.Helper()
	index := h.link().Attrs().Index
	var seen *testlab.Tags
	err := inNetNS(h.path(), func() (err error) { seen, err = testlab.NewTags(index, egress); return err })
	if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("needs CAP_BPF and Linux 6.6 to see what frames are tagged with: ", err)
	}
	check(t, err)
	t.Cleanup(seen.Close)
	return func() map[testlab.Tag]int {
		t.Helper()
		tags, err := seen.Take()
		check(t, err)
		return tags
	}
}

// TestMark sends frames with priorities and marks, alone and among others, in
// every mode, and looks at what the kernel has of them.
func TestMark(t *testing.T) {
	lb := newLab(t, 1500)
	lo := &host{t: t, ns: lb.near.ns, nl: lb.near.nl, dev: "lo"}
	for _, old := range []bool{false, true} {
		if old { // a kernel that knows no SO_PRIORITY messages
			now := kernelHasPriorityMessage
			kernelHasPriorityMessage = func() bool { return false }
			t.Cleanup(func() { kernelHasPriorityMessage = now })
		}
		for _, tt := range txOptions {
			name := tt.name
			if old {
				name += ", old kernel"
			}
			// What passes the queueing discipline by is seen when it comes back.
			h, egress := lo, false
			if tt.o.Qdisc {
				h, egress = lb.near, true
			}
			t.Run(name, func(t *testing.T) { testMark(t, h, egress, tt.o) })
		}
	}
}

func testMark(t *testing.T, h *host, egress bool, o Options) {
	o.NoClaim = true
	l := h.open(o)
	defer l.Close()
	if l.Info().Caps&link.CapMark == 0 {
		t.Error("the link has not CapMark")
	}
	take := h.tags(t, egress)
	own := l.Info().HardwareAddr
	frame := func(n int, priority, mark uint32) link.TxFrame {
		return link.TxFrame{Data: udpFrame(own, own, pattern(n, 1), false), Priority: priority, Mark: mark}
	}
	partial := frame(100, 4, 7)
	partial.Data = udpFrame(own, own, pattern(100, 1), true)
	partial.PartialChecksum, partial.CsumStart, partial.CsumOffset = true, 34, 6
	many := make([]link.TxFrame, 100)
	for i := range many {
		many[i] = frame(40+i, uint32(i%2), uint32(i%3))
	}
	for _, tt := range []struct {
		name   string
		frames []link.TxFrame
	}{
		{"neither", []link.TxFrame{frame(60, 0, 0)}},
		{"priority", []link.TxFrame{frame(60, 6, 0)}},
		{"mark", []link.TxFrame{frame(60, 0, 0x12345678)}},
		{"both", []link.TxFrame{frame(60, 3, 1)}},
		{"high", []link.TxFrame{frame(60, 0xfedcba98, 0xffffffff)}},
		{"mixed", []link.TxFrame{frame(60, 0, 0), frame(61, 5, 0), frame(62, 0, 0), frame(63, 0, 9), frame(64, 5, 9), frame(65, 0, 0)}},
		{"with a checksum", []link.TxFrame{partial, frame(60, 0, 0), partial}},
		{"two batches", many},
	} {
		take()
		if n, err := l.SendBatch(tt.frames); n != len(tt.frames) || err != nil {
			t.Fatalf("%s: SendBatch = %d, %v", tt.name, n, err)
		}
		want := make(map[testlab.Tag]int)
		for _, f := range tt.frames {
			want[testlab.Tag{Priority: f.Priority, Mark: f.Mark}]++
		}
		if got := take(); !maps.Equal(got, want) {
			t.Errorf("%s: the kernel has %v, want %v", tt.name, got, want)
		}
	}
	check(t, l.Send(frame(60, 0, 0).Data))
	if got := take(); got[testlab.Tag{}] != 1 || len(got) != 1 {
		t.Errorf("Send after others: the kernel has %v", got)
	}
	if _, err := l.SendBatch([]link.TxFrame{{Data: make([]byte, 3), Mark: 1}}); err != unix.EINVAL {
		t.Errorf("a short frame: %v", err)
	}
}

// TestMarkAllocs checks that a mark costs no memory.
func TestMarkAllocs(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{})
	frames := []link.TxFrame{{Data: udpFrame(lb.far.mac(), lb.near.mac(), pattern(60, 1), false), Priority: 5, Mark: 7}}
	if n := allocsPerRun(100, func() {
		if _, err := l.SendBatch(frames); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
