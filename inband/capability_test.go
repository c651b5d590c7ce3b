package inband

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHasCapability(t *testing.T) {
	// /proc says the same in its own words: the effective set in hexadecimal.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status, err := os.ReadFile("/proc/thread-self/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "CapEff:\t")
	var effective uint64
	_, err = fmt.Sscanf(rest, "%x", &effective)
	must(t, err)
	for _, c := range []int{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN, unix.CAP_BPF} {
		if got, want := HasCapability(c), effective>>c&1 != 0; got != want {
			t.Errorf("%s: %t, /proc says %t", CapabilityName(c), got, want)
		}
	}
}

func TestCapabilityName(t *testing.T) {
	if got := CapabilityName(unix.CAP_NET_RAW); got != "CAP_NET_RAW" {
		t.Error(got)
	}
	if got := CapabilityName(99); got != "capability 99" {
		t.Error(got)
	}
}
