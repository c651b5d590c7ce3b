package cpu

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// flagResetOnFork is SCHED_FLAG_RESET_ON_FORK (linux/sched.h): a new thread has normal
// priority, whoever began it.
const flagResetOnFork = 1

// keepPriority leaves a real-time priority (sched(7)) that the process was started with
// (chrt(1)) to the calling thread alone. Go's runtime has loops in which one thread waits
// for another without sleeping, such as the collector's sweeper: where real-time threads
// spin on every CPU, the other one would never run. A process without such a priority is
// left as it is.
func keepPriority() error {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return fmt.Errorf("scheduling policy: %w", err)
	}
	if !realTime(own) {
		return nil
	}
	own.Flags |= flagResetOnFork
	if err := unix.SchedSetAttr(0, own, 0); err != nil {
		return fmt.Errorf("scheduling policy: %w", err)
	}
	return eachOther(func(tid int) error {
		a, err := unix.SchedGetAttr(tid, 0)
		if err == nil && realTime(a) {
			err = unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
		}
		if err == unix.ESRCH { // it has ended meanwhile
			return nil
		}
		return err
	})
}

func realTime(a *unix.SchedAttr) bool {
	return a.Policy == unix.SCHED_FIFO || a.Policy == unix.SCHED_RR
}

// eachOther calls f for the process's threads but the calling one, until there is none that
// it has not been called for: a thread that is begun meanwhile is found too.
func eachOther(f func(tid int) error) error {
	seen := map[int]bool{unix.Gettid(): true}
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		before := len(seen)
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || seen[tid] {
				continue
			}
			seen[tid] = true
			if err := f(tid); err != nil {
				return fmt.Errorf("priority of thread %d: %w", tid, err)
			}
		}
		if len(seen) == before {
			return nil
		}
	}
}
