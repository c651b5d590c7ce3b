package loopback_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/loopback"
)

func TestConformance(t *testing.T) {
	linktest.Test(t, func() (a, b link.Link) {
		l := loopback.New(loopback.Options{})
		return l, l
	})
}

func TestConformanceWithClock(t *testing.T) {
	linktest.Test(t, func() (a, b link.Link) {
		l := loopback.New(loopback.Options{Now: func() int64 { return time.Now().UnixNano() }})
		return l, l
	})
}

func frame(n int) []byte { return linktest.Frame(link.MAC{}, link.MAC{}, 1, n) }

func TestInfo(t *testing.T) {
	l := loopback.New(loopback.Options{Index: 1})
	want := link.Info{Name: "lo", Index: 1, MTU: 65536, State: link.Up, Caps: link.CapLoopback | link.CapChecksum | link.CapMark}
	if got := l.Info(); got != want {
		t.Errorf("Info = %+v, want %+v", got, want)
	}
	changed := 0
	l.SetNotify(nil, func() { changed++ })
	l.Close()
	l.Close()
	if got := l.Info().State; got != link.Gone || changed != 1 {
		t.Errorf("after Close: state %v, changed called %d times", got, changed)
	}
}

func TestPartialArrivesPartial(t *testing.T) {
	l := loopback.New(loopback.Options{})
	data := frame(100)
	data[40], data[41] = 0xab, 0xcd // whatever the sender left there
	l.SendBatch([]link.TxFrame{{Data: data, PartialChecksum: true, CsumStart: 34, CsumOffset: 6}, {Data: data}})
	var frames [4]link.Frame
	if n := l.Receive(frames[:]); n != 2 {
		t.Fatalf("received %d", n)
	}
	if frames[0].Checksum != link.ChecksumPartial || frames[1].Checksum != link.ChecksumUnknown {
		t.Errorf("checksum states %d, %d", frames[0].Checksum, frames[1].Checksum)
	}
	if !bytes.Equal(frames[0].Data, data) {
		t.Error("the bytes changed")
	}
	l.Release()
}

func TestSendErrors(t *testing.T) {
	tests := []struct {
		name string
		tx   link.TxFrame
		want error
	}{
		{"empty", link.TxFrame{}, unix.EINVAL},
		{"no header", link.TxFrame{Data: make([]byte, 13)}, unix.EINVAL},
		{"too long", link.TxFrame{Data: make([]byte, 65536+15)}, unix.EMSGSIZE},
		{"GSO packet", link.TxFrame{Data: frame(900), PartialChecksum: true, CsumStart: 34, CsumOffset: 6, GSOSize: 100}, unix.EOPNOTSUPP},
		{"GSO packet without partial checksum", link.TxFrame{Data: frame(900), GSOSize: 100}, unix.EINVAL},
		{"checksum beyond the end", link.TxFrame{Data: frame(100), PartialChecksum: true, CsumStart: 94, CsumOffset: 6}, unix.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := loopback.New(loopback.Options{})
			n, err := l.SendBatch([]link.TxFrame{tt.tx})
			if n != 0 || !errors.Is(err, tt.want) {
				t.Errorf("SendBatch = %d, %v; want 0, %v", n, err, tt.want)
			}
			if s := l.Stats(); s.TxErrors != 1 || s.TxFrames != 0 {
				t.Errorf("Stats = %+v", s)
			}
			l.Close()
			if err := l.Send(tt.tx.Data); !errors.Is(err, unix.ENETDOWN) {
				t.Errorf("Send after Close = %v", err)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	tests := []struct {
		name   string
		opts   loopback.Options
		length int
		want   int
	}{
		{"frames", loopback.Options{Frames: 5}, 100, 5},
		{"bytes", loopback.Options{Bytes: 1000}, 300, 3},
		{"one frame is always taken", loopback.Options{Bytes: 100}, 300, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := loopback.New(tt.opts)
			for range 3 { // the bound holds again once the queue was emptied
				before := l.Stats().RxDropped
				for range 10 {
					if err := l.Send(frame(tt.length)); err != nil {
						t.Fatal(err)
					}
				}
				var frames [16]link.Frame
				n := l.Receive(frames[:])
				l.Release()
				if n != tt.want || l.Stats().RxDropped-before != uint64(10-tt.want) {
					t.Errorf("%d arrived, %d dropped; want %d, %d", n, l.Stats().RxDropped-before, tt.want, 10-tt.want)
				}
			}
		})
	}
}

func TestSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := loopback.New(loopback.Options{Now: func() int64 { return time.Now().UnixNano() }})
		p := link.NewPoller()
		l.SetNotify(p.Wake, nil)
		time.AfterFunc(time.Hour, func() { l.Send(frame(60)) })
		start := time.Now()
		p.Wait([]link.Pollable{l}, -1)
		var frames [1]link.Frame
		if n := l.Receive(frames[:]); n != 1 {
			t.Fatal("woken without a frame")
		}
		if d := frames[0].Time - start.UnixNano(); d != int64(time.Hour) || frames[0].Clock != link.ClockSoftware {
			t.Errorf("time stamp %v later, clock %d", time.Duration(d), frames[0].Clock)
		}
		l.Release()
	})
}

// TestReadableOnce shows that a burst costs one notification.
func TestReadableOnce(t *testing.T) {
	l := loopback.New(loopback.Options{})
	calls := 0
	l.SetNotify(func() { calls++ }, nil)
	for range 3 {
		l.Send(frame(60))
	}
	if calls != 1 {
		t.Errorf("readable called %d times for a burst", calls)
	}
}

// The sequence of a datagram on the hot path: send, receive, release.
func BenchmarkSendReceive(b *testing.B) {
	for _, n := range []int{64, 1400, 65507 + 42} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := loopback.New(loopback.Options{})
			l.SetNotify(func() {}, nil)
			data := frame(n)
			var frames [8]link.Frame
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				l.Send(data)
				l.Receive(frames[:])
				l.Release()
			}
		})
	}
}

func BenchmarkBatch(b *testing.B) {
	l := loopback.New(loopback.Options{})
	data := frame(64)
	batch := make([]link.TxFrame, 32)
	for i := range batch {
		batch[i].Data = data
	}
	frames := make([]link.Frame, 32)
	b.ReportAllocs()
	for b.Loop() {
		l.SendBatch(batch)
		l.Receive(frames)
		l.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/frame")
}

func BenchmarkReceiveEmpty(b *testing.B) {
	l := loopback.New(loopback.Options{})
	var frames [8]link.Frame
	for b.Loop() {
		l.Receive(frames[:])
	}
}

func BenchmarkConcurrentSenders(b *testing.B) {
	l := loopback.New(loopback.Options{})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		frames := make([]link.Frame, 64)
		for {
			select {
			case <-done:
				return
			default:
				l.Receive(frames)
				l.Release()
			}
		}
	})
	b.RunParallel(func(pb *testing.PB) {
		data := frame(64)
		for pb.Next() {
			l.Send(data)
		}
	})
	close(done)
	wg.Wait()
}
