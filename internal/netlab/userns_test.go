package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/outband/outband/inband"
)

// childMark in the environment makes this test binary do one task and end.
const childMark = "OUTBAND_NETLAB_TEST"

func child() int {
	switch os.Getenv(childMark) {
	case "report":
		fmt.Printf("uid %d labs %t\n", os.Getuid(), inband.HasCapability(Capabilities...))
		return 0
	case "reexec":
		if os.Getenv(userNamespaceMark) != "" {
			fmt.Printf("inner uid %d labs %t\n", os.Getuid(), inband.HasCapability(Capabilities...))
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
