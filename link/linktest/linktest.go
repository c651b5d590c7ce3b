// Package linktest is the conformance suite of [link.Link]: what every link must
// do, whatever carries its frames. An implementation's own tests run it:
//
//	func TestConformance(t *testing.T) {
//		linktest.Test(t, func() (a, b link.Link) { return pipe.New(pipe.Options{}) })
//	}
//
// The frames it sends are UDP datagrams in IPv4 between documentation addresses
// (RFC 5737), with valid checksums, so that links which filter let them pass. It
// ignores frames that it did not send, so it may run over a device that a kernel
// uses too. Beyond what link.Link says it wants that a second Close does nothing.
package linktest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// patience is how long the suite waits for a frame that must come. A link that
// works needs a fraction of it.
const patience = 5 * time.Second

// Test runs the suite. Each test calls open for links that were not used before:
// what a sends b receives, and the other way round, with no loss as long as few
// frames wait. For a loopback, open returns the same link twice. Test closes them. except
// names tests that are not run, of what the links are not meant to do.
func Test(t *testing.T, open func() (a, b link.Link), except ...string) {
	tests := []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"Info", testInfo},
		{"Empty", testEmpty},
		{"SendReceive", testSendReceive},
		{"Lengths", testLengths},
		{"Order", testOrder},
		{"SendBatch", testSendBatch},
		{"SendKeepsNothing", testSendKeepsNothing},
		{"ViewsHold", testViewsHold},
		{"ViewsAreWritable", testViewsAreWritable},
		{"TooLong", testTooLong},
		{"BatchStopsAtError", testBatchStopsAtError},
		{"Stats", testStats},
		{"Overflow", testOverflow},
		{"Notify", testNotify},
		{"Poller", testPoller},
		{"Groups", testGroups},
		{"Modes", testModes},
		{"PartialChecksum", testPartialChecksum},
		{"GSO", testGSO},
		{"Mark", testMark},
		{"Timestamps", testTimestamps},
		{"Concurrent", testConcurrent},
		{"Allocs", testAllocs},
		{"Close", testClose},
		{"CloseWhileSending", testCloseWhileSending},
	}
	for _, tt := range tests {
		if slices.Contains(except, tt.name) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			a, b := open()
			tt.run(t, newBench(t, a, b))
		})
	}
}

// bench is a pair of links under test, and the frames for it.
type bench struct {
	t          testing.TB
	a, b       link.Link
	poller     *link.Poller
	frames     []link.Frame
	macA, macB link.MAC
	serial     uint64
	nap        time.Duration // the longest sleep, for tests without wake-ups
}

func newBench(t testing.TB, a, b link.Link) *bench {
	e := &bench{t: t, a: a, b: b, poller: link.NewPoller(), frames: make([]link.Frame, 32), nap: patience}
	e.macA, e.macB = a.Info().HardwareAddr, b.Info().HardwareAddr
	a.SetNotify(e.poller.Wake, nil)
	b.SetNotify(e.poller.Wake, nil)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if a != b {
			if err := b.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := e.poller.Close(); err != nil {
			t.Errorf("Poller.Close: %v", err)
		}
	})
	return e
}

// next returns a frame from a to b of n bytes, with the next serial number.
func (e *bench) next(n int) []byte {
	e.serial++
	return Frame(e.macB, e.macA, e.serial, n)
}

// send transmits a frame from a, and tries again while the device's queue is full.
func (e *bench) send(frame []byte) {
	e.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := e.a.Send(frame)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) || time.Now().After(deadline) {
			e.t.Fatalf("Send of %d bytes: %v", len(frame), err)
		}
		time.Sleep(time.Millisecond)
	}
}

// receive waits until n frames of ours have arrived at l, hands each to f, and
// fails the test if they do not come.
func (e *bench) receive(l link.Link, n int, f func(*link.Frame)) {
	e.t.Helper()
	deadline := time.Now().Add(patience)
	for got := 0; got < n; {
		k := l.Receive(e.frames)
		if k > len(e.frames) {
			e.t.Fatalf("Receive returned %d for room of %d", k, len(e.frames))
		}
		for i := range e.frames[:k] {
			if _, ok := Serial(e.frames[i].Data); ok {
				got++
				if f != nil {
					f(&e.frames[i])
				}
			}
		}
		l.Release()
		if k > 0 {
			continue
		}
		left := time.Until(deadline)
		if left <= 0 {
			e.t.Fatalf("%d of %d frames arrived within %v", got, n, patience)
		}
		e.poller.Wait([]link.Pollable{l}, min(left, e.nap))
	}
	if time.Now().After(deadline) {
		e.t.Fatalf("%d frames arrived, but no sleeper was woken", n)
	}
}

// none fails the test if a frame of ours waits at l.
func (e *bench) none(l link.Link) {
	e.t.Helper()
	for k := l.Receive(e.frames); k > 0; k = l.Receive(e.frames) {
		for i := range e.frames[:k] {
			if serial, ok := Serial(e.frames[i].Data); ok {
				e.t.Errorf("frame %d of %d bytes was not expected", serial, len(e.frames[i].Data))
			}
		}
		l.Release()
	}
	l.Release()
}

func testInfo(t *testing.T, e *bench) {
	for _, l := range []link.Link{e.a, e.b} {
		info := l.Info()
		if info.Name == "" || info.MTU < 68 || info.State != link.Up {
			t.Errorf("Info = %+v: want a name, an MTU of 68 (RFC 791) or more, and state UP", info)
		}
		loops := info.Caps&link.CapLoopback != 0
		if loops != (e.a == e.b) {
			t.Errorf("CapLoopback is %v", loops)
		}
		if loops == (info.HardwareAddr != link.MAC{}) {
			t.Errorf("hardware address %v", info.HardwareAddr)
		}
		if info.Caps&link.CapGSO != 0 && info.Caps&link.CapChecksum == 0 {
			t.Error("CapGSO without CapChecksum")
		}
	}
	if e.a != e.b && e.macA == e.macB {
		t.Errorf("both ends have hardware address %v", e.macA)
	}
}

func testEmpty(t *testing.T, e *bench) {
	e.none(e.b)
	e.b.Release() // with nothing out
	if n := e.b.Receive(nil); n != 0 {
		t.Errorf("Receive(nil) = %d", n)
	}
	e.b.Release()
	if n, err := e.a.SendBatch(nil); n != 0 || err != nil {
		t.Errorf("SendBatch(nil) = %d, %v", n, err)
	}
	e.send(e.next(100))
	if n := e.b.Receive(nil); n != 0 {
		t.Errorf("Receive(nil) = %d with a frame waiting", n)
	}
	e.b.Release()
	e.receive(e.b, 1, nil)
}

func testSendReceive(t *testing.T, e *bench) {
	there := e.next(100)
	e.send(there)
	e.receive(e.b, 1, func(f *link.Frame) {
		if !bytes.Equal(f.Data, there) {
			t.Errorf("arrived as\n%x, want\n%x", f.Data, there)
		}
		if f.WireLen != len(there) {
			t.Errorf("WireLen = %d, want %d", f.WireLen, len(there))
		}
		if f.GSO != link.GSONone || f.VLAN || f.Checksum == link.ChecksumPartial || f.Type != link.Host {
			t.Errorf("Meta = %+v", f.Meta)
		}
	})
	e.serial++
	back := Frame(e.macA, e.macB, e.serial, 100)
	if err := e.b.Send(back); err != nil {
		t.Fatal(err)
	}
	e.receive(e.a, 1, func(f *link.Frame) {
		if !bytes.Equal(f.Data, back) {
			t.Errorf("arrived as\n%x, want\n%x", f.Data, back)
		}
	})
	e.none(e.a)
	e.none(e.b)
}

func testLengths(t *testing.T, e *bench) {
	mtu := e.a.Info().MTU
	for _, n := range []int{MinFrame, 60, 64, 65, 127, 128, 576, 1000, mtu + link.HeaderLen - 1, mtu + link.HeaderLen} {
		if n > min(mtu, 65535)+link.HeaderLen {
			continue // longer than a datagram can be
		}
		frame := e.next(n)
		e.send(frame)
		e.receive(e.b, 1, func(f *link.Frame) {
			if !bytes.Equal(f.Data, frame) || f.WireLen != n {
				t.Errorf("%d bytes arrived as %d, WireLen %d", n, len(f.Data), f.WireLen)
			}
		})
	}
}

func testOrder(t *testing.T, e *bench) {
	want := e.serial + 1
	for range 20 {
		for i := range 10 {
			e.send(e.next(60 + 97*i))
		}
		e.receive(e.b, 10, func(f *link.Frame) {
			if serial, _ := Serial(f.Data); serial != want {
				t.Fatalf("frame %d arrived where %d was due", serial, want)
			}
			want++
		})
	}
}

func testSendBatch(t *testing.T, e *bench) {
	var batch []link.TxFrame
	for i := range 16 {
		batch = append(batch, link.TxFrame{Data: e.next(60 + i)})
	}
	if n, err := e.a.SendBatch(batch); n != len(batch) || err != nil {
		t.Fatalf("SendBatch = %d, %v", n, err)
	}
	i := 0
	e.receive(e.b, len(batch), func(f *link.Frame) {
		if !bytes.Equal(f.Data, batch[i].Data) {
			t.Errorf("frame %d is not what was sent", i)
		}
		i++
	})
}

func testSendKeepsNothing(t *testing.T, e *bench) {
	frame := e.next(200)
	want := bytes.Clone(frame)
	e.send(frame)
	clear(frame)
	batch := []link.TxFrame{{Data: bytes.Clone(want)}}
	if _, err := e.a.SendBatch(batch); err != nil {
		t.Fatal(err)
	}
	clear(batch[0].Data)
	e.receive(e.b, 2, func(f *link.Frame) {
		if !bytes.Equal(f.Data, want) {
			t.Error("the link kept the sender's slice")
		}
	})
}

func testTooLong(t *testing.T, e *bench) {
	long := make([]byte, e.a.Info().MTU+link.HeaderLen+8)
	copy(long, e.next(MinFrame))
	if err := e.a.Send(long); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Send of MTU + 8 = %v, want EMSGSIZE", err)
	}
	e.send(e.next(60))
	e.receive(e.b, 1, func(f *link.Frame) {
		if len(f.Data) != 60 {
			t.Errorf("%d bytes arrived", len(f.Data))
		}
	})
}

func testBatchStopsAtError(t *testing.T, e *bench) {
	long := make([]byte, e.a.Info().MTU+link.HeaderLen+8)
	batch := []link.TxFrame{{Data: e.next(60)}, {Data: e.next(61)}, {Data: long}, {Data: e.next(62)}}
	n, err := e.a.SendBatch(batch)
	if n != 2 || !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("SendBatch with a third frame too long = %d, %v; want 2, EMSGSIZE", n, err)
	}
	e.receive(e.b, 2, nil)
	e.none(e.b)
}
