package tpacket

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// TestRingIsTouched looks whether each page of the ring has been written to when the
// link is open: then its page table entry is dirty, and nothing is left to do for the
// first lap.
func TestRingIsTouched(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	if got := dirtyBytes(t, l.rx.mem); got != len(l.rx.mem) {
		t.Errorf("%d bytes of %d written to", got, len(l.rx.mem))
	}
	exchange(t, lb, l)
}

// dirtyBytes returns how much of a mapping has been written to (proc_pid_smaps(5)).
func dirtyBytes(t *testing.T, mem []byte) (sum int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	check(t, err)
	defer f.Close()
	start := fmt.Sprintf("%x-", uintptr(unsafe.Pointer(&mem[0])))
	found := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) > 1 && !strings.HasSuffix(words[0], ":"):
			if found {
				return sum
			}
			found = strings.HasPrefix(words[0], start)
		case found && (words[0] == "Shared_Dirty:" || words[0] == "Private_Dirty:"):
			kilobytes, err := strconv.Atoi(words[1])
			check(t, err)
			sum += kilobytes << 10
		}
	}
	return sum
}
