package inband

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// PinThread ties the calling thread to one CPU (sched_setaffinity(2)), and the
// calling goroutine to the thread for good: a goroutine that moves to another
// thread would leave the CPU behind.
func PinThread(cpu int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// CPUs returns the CPUs on which the calling thread may run, in order.
func CPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("CPU affinity: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
