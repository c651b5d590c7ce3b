package stack

import (
	"bytes"
	"runtime/trace"
	"testing"
	"time"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// A receiver that sleeps is seen to in an execution trace.
func TestSleepIsTraced(t *testing.T) {
	p := newPair(t, Config{Spin: SpinNever}, pipe.Options{})
	k := udpSocket(t, p.near, "10.9.0.1:7")
	var b bytes.Buffer
	if err := trace.Start(&b); err != nil {
		t.Skip("somebody traces already: ", err)
	}
	_, _, err := k.Recv(nil, 0, p.near.Deadline(time.Millisecond))
	trace.Stop()
	if err != unix.EAGAIN {
		t.Errorf("%v", err)
	}
	if !bytes.Contains(b.Bytes(), []byte("outband: sleep")) {
		t.Error("no sleep in the trace")
	}
}
