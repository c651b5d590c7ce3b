package shared

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/test/lab"
)

// unprivilegedMark in the environment says that this is the test binary in a user namespace.
const unprivilegedMark = "OUTBAND_SHARED_UNPRIVILEGED"

// inUserNamespace is what runs in a user namespace: on the rungs that there are.
var inUserNamespace = []string{"TestUnprivileged", "TestTwoServers/nft", "TestTwoServers/holder", "TestFragmentOrders/nft",
	"TestFragmentOrders/holder", "TestDeviceMadeAnew/nft", "TestAddressesAreFollowed/nft", "TestModel/nft", "TestModel/holder"}

// In a user namespace of nobody's there is nf_tables, and no TCX: that is said, and if TCX is
// required it is an error that names what is missing. All else is as everywhere.
func TestUnprivileged(t *testing.T) {
	if os.Getenv(unprivilegedMark) != "" {
		withoutBPF(t)
		return
	}
	lab.NeedProgram(t, "unshare")
	if os.Getuid() != 0 {
		t.Skip("needs root, to be nobody")
	}
	self, err := os.Open("/proc/self/exe") // nobody may not come where it is
	check(t, err)
	defer self.Close()
	cmd := exec.Command("unshare", "-Urn", "/proc/self/fd/3", "-test.v", "-test.short", "-test.run", runPattern())
	cmd.Env = append(os.Environ(), unprivilegedMark+"=1", "CI=", "TMPDIR=/tmp")
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{self}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if !strings.Contains(string(out), "=== RUN") {
		t.Skipf("no user namespaces here: %v\n%s", err, out)
	}
	for _, name := range inUserNamespace {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
	if t.Failed() {
		t.Logf("%v\n%s", err, out)
	}
}

// runPattern returns what runs inUserNamespace; tests on tcx fail there.
func runPattern() string {
	tests := map[string]bool{}
	for _, name := range inUserNamespace {
		test, _, _ := strings.Cut(name, "/")
		tests[test] = true
	}
	var names []string
	for name := range tests {
		names = append(names, name)
	}
	return "^(" + strings.Join(names, "|") + ")$/^(nft|holder)$"
}

// withoutBPF opens stacks where bpf(2) is refused.
func withoutBPF(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	if got, why := w.host.claims.Rung(), w.host.claims.Why(); got != claim.NFT || !errors.Is(why, unix.EPERM) {
		t.Errorf("is %s: %v", got, why)
	}
	for _, c := range []Config{{Require: claim.TCX}, {Only: claim.TCX}} {
		var err error
		w.Near().In(t, func() error { _, err = Open(c); return nil })
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "tcx") || !strings.Contains(err.Error(), "CAP_BPF") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
