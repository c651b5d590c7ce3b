// Package cpu ties threads to CPUs.
package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Pin ties the calling thread to one CPU (sched_setaffinity(2)), and the
// calling goroutine to the thread for good: a goroutine that moves to another
// thread would leave the CPU behind. A real-time priority of the process's stays with
// that thread, and its other threads get a normal one. -1 ties it to none.
func Pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return keepPriority()
}

// Restore sets the CPUs of the calling thread, as All had them, and takes back what Pin has
// done to the goroutine.
func Restore(cpus []int) error {
	defer runtime.UnlockOSThread()
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	return unix.SchedSetaffinity(0, &set)
}

// All returns the CPUs on which the calling thread may run, in order.
func All() ([]int, error) {
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

// Usable says which CPUs there are if this one is not among them.
func Usable(cpu int) error {
	all, err := All()
	if err != nil || slices.Contains(all, cpu) {
		return err
	}
	return fmt.Errorf("must be one of those that this process may use: %s", ranges(all))
}

// ranges writes ascending numbers as the kernel lists CPUs: 0-3,8.
func ranges(all []int) string {
	var words []string
	for i := 0; i < len(all); {
		first := i
		for i++; i < len(all) && all[i] == all[i-1]+1; i++ {
		}
		if word := fmt.Sprint(all[first]); i-first == 1 {
			words = append(words, word)
		} else {
			words = append(words, fmt.Sprintf("%s-%d", word, all[i-1]))
		}
	}
	return strings.Join(words, ",")
}
