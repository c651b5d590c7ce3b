// Package conformance holds a whole stack over a packet ring against the Linux
// kernel: ours in one namespace, the kernel's in the other, joined by veth.
//
//	namespace near, device near0 ---- veth ---- far0, namespace far
//	     our stack, 10.9.0.1                    the kernel, 10.9.0.2
//
// Linux is the specification, and here it is the peer as well: what the one
// sends, the other has to take, byte by byte, and what goes wrong at the one has
// to be seen at the other as the manual pages say.
package conformance

import (
	"os"
	"testing"

	"github.com/outband/outband/test/lab"
)

// TestMain runs the tests, or, in a process that a test started, what that test
// wants done there.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(runChild(role))
	}
	lab.Main(m)
}
