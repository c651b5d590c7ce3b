package netlab

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/outband/outband/inband"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// needLab skips a test that needs namespaces where there can be none; on a
// machine that promises them (CI) that is a failure.
func needLab(t *testing.T) {
	t.Helper()
	if inband.HasCapability(Capabilities...) {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("CI without the capabilities for network namespaces")
	}
	t.Skip("needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: run as root")
}

func newNamespaceT(t *testing.T) *Namespace {
	t.Helper()
	needLab(t)
	n, err := NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// self runs this test binary again; main's child does its work there.
func self(task string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMark+"="+task)
	return cmd
}
