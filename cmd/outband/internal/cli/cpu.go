package cli

import (
	"fmt"

	"github.com/outband/outband/internal/cpu"
)

// pin ties the calling thread to a CPU; -1: to none.
func pin(n int) error {
	if n < 0 {
		return nil
	}
	if err := usableCPU(n); err != nil {
		return err
	}
	return cpu.Pin(n)
}

// usableCPU says which CPUs there are if this one is not among them.
func usableCPU(n int) error {
	if err := cpu.Usable(n); err != nil {
		return fmt.Errorf("--cpu %d: %w", n, err)
	}
	return nil
}
