package cpu

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// asChild is set in the process that TestPinKeepsPriority starts.
const asChild = "OUTBAND_TEST_PRIORITY"

// TestPinKeepsPriority starts itself again, since a real-time priority is not a test
// process's to keep.
func TestPinKeepsPriority(t *testing.T) {
	if os.Getenv(asChild) != "" {
		pinAtPriority(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("real-time priority takes root")
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestPinKeepsPriority$", "-test.v")
	c.Env = append(os.Environ(), asChild+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func pinAtPriority(t *testing.T) {
	cpus, err := All()
	if err != nil {
		t.Fatal(err)
	}
	everywhere(t, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1})
	if err := Pin(cpus[0]); err != nil {
		t.Fatal(err)
	}
	defer runtime.UnlockOSThread()
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if own.Policy != unix.SCHED_FIFO || own.Priority != 1 || own.Flags&flagResetOnFork == 0 {
		t.Errorf("the pinned thread: %+v", *own)
	}
	begin := make(chan struct{}) // so many threads that some are new
	defer close(begin)
	for range 10 {
		ready := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(ready)
			<-begin
		}()
		<-ready
	}
	var policies []uint32
	if err := eachOther(func(tid int) error {
		a, err := unix.SchedGetAttr(tid, 0)
		if err == nil {
			policies = append(policies, a.Policy)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(policies) < 10 || slices.ContainsFunc(policies, func(p uint32) bool { return p != unix.SCHED_NORMAL }) {
		t.Errorf("the others' policies: %v, want all normal", policies)
	}
}

// everywhere gives all threads of the process a policy.
func everywhere(t *testing.T, a *unix.SchedAttr) {
	if err := unix.SchedSetAttr(0, a, 0); err != nil {
		t.Fatal(err)
	}
	if err := eachOther(func(tid int) error { return unix.SchedSetAttr(tid, a, 0) }); err != nil {
		t.Fatal(err)
	}
}

func TestPinLeavesNormalPriority(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := keepPriority(); err != nil {
		t.Fatal(err)
	}
	after, err := unix.SchedGetAttr(0, 0)
	if err != nil || *after != *before {
		t.Errorf("%+v, %v after %+v", *after, err, *before)
	}
}
