package inband

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The limits are the host's sysctls, where those can be read.
func TestBufferLimit(t *testing.T) {
	for name, option := range map[string]int{"rmem_max": unix.SO_RCVBUF, "wmem_max": unix.SO_SNDBUF} {
		got := BufferLimit(option)
		b, err := os.ReadFile("/proc/sys/net/core/" + name)
		if err != nil {
			t.Logf("%s is not shown here: %v", name, err)
			continue
		}
		if want, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || int(got) != want {
			t.Errorf("%s: %d, want %d, %v", name, got, want, err)
		}
	}
	if got := BufferLimit(unix.SO_PEERCRED); got != usualLimit { // which cannot be set
		t.Errorf("an option that is none: %d", got)
	}
}
