package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outband/outband/inband"
)

// pin ties the calling thread to a CPU; -1: to none.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	if err := usableCPU(cpu); err != nil {
		return err
	}
	return inband.PinThread(cpu)
}

// usableCPU says which CPUs there are if this one is not among them.
func usableCPU(cpu int) error {
	all, err := inband.CPUs()
	if err != nil || slices.Contains(all, cpu) {
		return err
	}
	return fmt.Errorf("--cpu %d: must be one of those that this process may use: %s", cpu, ranges(all))
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
