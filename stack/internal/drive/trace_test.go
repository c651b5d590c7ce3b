package drive

import (
	"bytes"
	"runtime/trace"
	"testing"
)

// A sleep is in an execution trace, by its kind, and without one costs nothing.
func TestTraceSleep(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { traceSleep(true).end() }); n != 0 {
		t.Errorf("%v allocations without a trace", n)
	}
	var b bytes.Buffer
	if err := trace.Start(&b); err != nil {
		t.Skip("somebody traces already: ", err)
	}
	traceSleep(true).end()
	traceSleep(false).end()
	trace.Stop()
	for _, want := range []string{"outband: sleep on links", "outband: sleep as follower"} {
		if !bytes.Contains(b.Bytes(), []byte(want)) {
			t.Errorf("no %q in the trace", want)
		}
	}
}

// BenchmarkTraceSleep is what each sleep pays when nobody traces.
func BenchmarkTraceSleep(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		traceSleep(true).end()
	}
}
