package conformance

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/test/lab"
)

// sharedVariable in the environment is the name of a rung: worlds are then of stacks on the
// kernel's own addresses.
const sharedVariable = "OUTBAND_CONFORMANCE_SHARED"

var sharedRungs = map[string]claim.Rung{"tcx": claim.TCX, "nft": claim.NFT, "holder": claim.Holder}

// notShared are the tests that say nothing of a stack on shared addresses, by the reason.
var notShared = map[string][]string{
	"the kernel answers ARP, and the times of the stack's own ARP are not to be set": {
		"TestARPAsKernel", "TestARPSenderAsKernel", "TestAnnounces", "TestConflict", "TestNeighbourMoves"},
	"the kernel answers echo requests and what nobody wants; the tests are of the stack's answers": {
		"TestBroadcastPing", "TestEchoOptionsAsLinux", "TestErrorsLimited", "TestFloods", "TestPingedByKernel", "TestPortUnreachableToKernel",
		"TestProtocolUnreachableToKernel", "TestReadByTcpdump", "TestReadByTshark", "TestReassemblyTimeExceeded"},
	"no ring takes what is of no claim, so that the stack does not count it": {
		"TestBroadcastFromKernel", "TestForgedErrors", "TestFragmentFlood", "TestMalformed", "TestTruncatedAtEveryByte", "TestVLAN", "TestVLANARP"},
	"a first fragment decides for those that follow it: if two of one identification are for different ports, the later one is another datagram, of which Linux makes a mixture": {
		"TestFragmentsAtRandom"},
	"the kernel reports groups: test/routers judges that": {
		"TestLeavesAtClose", "TestLeavesAtRemoveLink", "TestMembershipsWhenAddressChanges", "TestMembershipsWhenDeviceComesBack", "TestQueryStorm"},
	"addresses, routes and devices are the kernel's to have: shared and test/device have tests of that": {
		"TestAddressesAtRunTime", "TestDeviceComesAndGoes", "TestRoutesAtRunTime"},
	"it has a stack of its own, over a ring or a device made for it": {
		"TestEdgeOfRoom", "TestFullQueue", "TestFullTap", "TestHostThatForwards", "TestIdle", "TestJoinToFirstDatagram",
		"TestOlderReportsLikeTheKernel", "TestPollOutIsTrue", "TestReportsLikeTheKernel", "TestSendBufferHolds", "TestSendBufferIsTrue", "TestSendBuffersAreEachSocketsOwn",
		"TestSendEndedInTheMiddle", "TestSendInSeveralClasses", "TestSendSyscalls", "TestSendThroughASlowDevice", "TestShared", "TestSpinSyscalls",
		"TestSuperPacketsFollowTheDevice", "TestTapHasRoomAgain"},
}

// newSharedWorld is newWorld for a stack on the kernel's own address.
func newSharedWorld(t testing.TB, c setup) *world {
	t.Helper()
	c.lab.Kernel |= lab.Near
	l := lab.New(t, c.lab)
	w := &world{t: t, lab: l, near: l.Near(), far: l.Far(), shared: true}
	o := shared.Config{Devices: []string{w.near.Name}, Only: sharedRungs[os.Getenv(sharedVariable)], Ring: c.link, Stack: c.stack,
		Wrap: func(l link.Link) (link.Link, error) {
			dev, ok := l.(*tpacket.Link)
			if !ok { // lo's
				return l, nil
			}
			if w.dev = dev; c.wrap != nil {
				l = c.wrap(l)
			}
			return l, nil
		}}
	o.Stack.Panics = true
	var h *shared.Host
	w.near.In(t, func() (err error) {
		h, err = shared.Open(o)
		return err
	})
	t.Cleanup(func() { check(t, h.Close()) })
	w.stack = h.Stack()
	w.ifc = w.stack.InterfaceByName(w.near.Name)
	return w
}

// The tests of a stack on an address of its own hold for one on the kernel's address too, on
// every rung, but for notShared.
func TestShared(t *testing.T) {
	lab.Need(t)
	if os.Getenv(sharedVariable) != "" {
		t.Skip("is called by itself")
	}
	names := sharedTests(t)
	for rung := range sharedRungs {
		t.Run(rung, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.v", "-test.short", "-test.timeout=8m", "-test.run=^("+strings.Join(names, "|")+")$")
			cmd.Env = append(os.Environ(), sharedVariable+"="+rung)
			out, err := cmd.CombinedOutput()
			text := string(out)
			for _, name := range names {
				if !strings.Contains(text, "\n--- PASS: "+name+" ") && !strings.Contains(text, "\n--- SKIP: "+name+" ") {
					t.Errorf("%s did not pass", name)
				}
			}
			if err != nil || t.Failed() {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// sharedTests returns the tests that are for stacks on shared addresses, and fails if
// notShared names one that there is not.
func sharedTests(t *testing.T) (names []string) {
	t.Helper()
	out, err := exec.Command("/proc/self/exe", "-test.list=^Test").Output()
	check(t, err)
	all := slices.DeleteFunc(strings.Fields(string(out)), func(s string) bool { return !strings.HasPrefix(s, "Test") })
	var not []string
	for _, some := range notShared {
		not = append(not, some...)
	}
	for _, name := range not {
		if !slices.Contains(all, name) {
			t.Errorf("notShared has %s, which is no test", name)
		}
	}
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(not, name) })
}
