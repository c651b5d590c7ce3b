package ebpf

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// PossibleCPUs returns how many processors there may ever be, which is of how many a PerCPUArray has
// values.
var PossibleCPUs = sync.OnceValues(func() (int, error) {
	list, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err != nil {
		return 0, err
	}
	return parseCPUs(strings.TrimSpace(string(list)))
})

// parseCPUs returns how many processors a list has such as "0-3", which begins with 0.
func parseCPUs(list string) (int, error) {
	first, last, several := strings.Cut(list, "-")
	if !several {
		last = first
	}
	n, err := strconv.Atoi(last)
	if err != nil || first != "0" || n < 0 {
		return 0, fmt.Errorf("possible processors %q: %w", list, unix.EINVAL)
	}
	return n + 1, nil
}
