package cli

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// However the command is told to end, it leaves its groups, as the last that is heard
// of it.
func TestMcastLeavesAtTheEnd(t *testing.T) {
	for name, sig := range map[string]unix.Signal{"SIGTERM": unix.SIGTERM, "SIGINT": unix.SIGINT} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: lab.Far})
			wire := l.Far().Packet(t)
			p := start(t, l.Near().Namespace, nil, "mcast", "recv", "--dev", "near0", "--addr", "10.9.0.1/24",
				"239.9.0.1:5000", "232.9.0.1@10.9.0.2:5000")
			p.expect(p.err, "joined 2 groups on near0\n")
			if err := p.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			p.wait()
			var last []string
			for h, ok := wire.NextIGMP(t, patience); ok; h, ok = wire.NextIGMP(t, 50*time.Millisecond) {
				last = h.Lines()
			}
			if want := []string{"BLOCK 232.9.0.1 {10.9.0.2}", "TO_IN 239.9.0.1 {}"}; !slices.Equal(last, want) {
				t.Errorf("the last report is %q, want %q", last, want)
			}
		})
	}
}
