package inband

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// childMark in the environment makes this test binary do one task and end.
const childMark = "OUTBAND_INBAND_TEST"

func child() int {
	switch os.Getenv(childMark) {
	case "squat":
		return squat()
	case "reserve":
		return reserveInChild()
	case "late":
		return reserveLate()
	case "report":
		fmt.Printf("uid %d labs %t\n", os.Getuid(), CanMakeLabs())
		return 0
	case "reexec":
		if os.Getenv(userNamespaceMark) != "" {
			fmt.Printf("inner uid %d labs %t\n", os.Getuid(), CanMakeLabs())
			return 3
		}
		code, err := InUserNamespace()
		if err != nil {
			fmt.Println("failed:", errors.Is(err, ErrNoUserNamespace), err)
			return 1
		}
		fmt.Println("code", code)
		return 0
	case "twice":
		os.Setenv(userNamespaceMark, "1")
		_, err := InUserNamespace()
		fmt.Println("refused:", errors.Is(err, ErrNoUserNamespace))
		return 0
	}
	return 2
}

func TestEnterUserNamespace(t *testing.T) {
	cmd := self("report")
	EnterUserNamespace(cmd)
	out, err := cmd.Output()
	if err != nil {
		t.Skip("no user namespaces here:", err)
	}
	if got := string(out); got != "uid 0 labs true\n" {
		t.Errorf("inside: %q", got)
	}
}

func TestInUserNamespace(t *testing.T) {
	out, err := self("reexec").Output()
	must(t, err)
	if strings.HasPrefix(string(out), "failed: true") {
		t.Skipf("no user namespaces here: %s", out)
	}
	if !bytes.Equal(out, []byte("inner uid 0 labs true\ncode 3\n")) {
		t.Errorf("output: %q", out)
	}
}

func TestInUserNamespaceOnlyOnce(t *testing.T) {
	out, err := self("twice").Output()
	must(t, err)
	if string(out) != "refused: true\n" {
		t.Errorf("output: %q", out)
	}
}

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
