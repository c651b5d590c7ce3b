package tpacket

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A frame as long as that of a UDP datagram with 64 bytes.
const benchPayload = 92

func BenchmarkSend(b *testing.B) {
	lb := newLab(b, 1500)
	for _, tt := range txOptions {
		b.Run(tt.name, func(b *testing.B) {
			l := lb.open(tt.o)
			defer l.Close()
			f := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, benchPayload))
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Send(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What the same call costs without this package around it.
func BenchmarkSendRaw(b *testing.B) {
	lb := newLab(b, 1500)
	l := lb.open(Options{})
	f := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, benchPayload))
	for b.Loop() {
		if errno := sendto(l.tx.fd, f); errno != 0 {
			b.Fatal(errno)
		}
	}
}

// BenchmarkSendQdisc tells what passing by the queueing discipline saves, where there is
// none, as on veth by itself, and where there is the usual one.
func BenchmarkSendQdisc(b *testing.B) {
	for _, tt := range []struct {
		name, discipline string
		o                Options
	}{
		{"bypassed", "", Options{}},
		{"noqueue", "", Options{Qdisc: true}},
		{"pfifo_fast", "pfifo_fast", Options{Qdisc: true}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			lb := newLab(b, 1500)
			if tt.discipline != "" {
				attrs := netlink.QdiscAttrs{LinkIndex: lb.near.link().Attrs().Index, Parent: netlink.HANDLE_ROOT}
				check(b, lb.near.nl.QdiscReplace(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: tt.discipline}))
			}
			l := lb.open(tt.o)
			defer l.Close()
			defer pin(0)()
			f := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, benchPayload))
			for b.Loop() {
				if err := l.Send(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSendBatch(b *testing.B) {
	lb := newLab(b, 1500)
	for _, tt := range txOptions {
		b.Run(tt.name, func(b *testing.B) {
			l := lb.open(tt.o)
			defer l.Close()
			frames := make([]link.TxFrame, 32)
			for i := range frames {
				frames[i].Data = ethernet(lb.far.mac(), lb.near.mac(), make([]byte, benchPayload))
			}
			b.ReportAllocs()
			for b.Loop() {
				if n, err := l.SendBatch(frames); err != nil {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(frames)), "ns/frame")
		})
	}
}

// BenchmarkReceive counts only the time in Receive and Release.
func BenchmarkReceive(b *testing.B) {
	lb := newLab(b, 1500)
	tx := lb.far.open(Options{})
	for _, size := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			l := lb.open(Options{EtherTypes: []uint16{experimental}})
			defer l.Close()
			fill := make([]link.TxFrame, 512)
			for i := range fill {
				fill[i].Data = ethernet(lb.near.mac(), lb.far.mac(), make([]byte, benchPayload))
			}
			frames := make([]link.Frame, size)
			var spent time.Duration
			total := 0
			for b.Loop() {
				tx.SendBatch(fill)
				for start := time.Now(); ; {
					n := l.Receive(frames)
					l.Release()
					if total += n; n == 0 {
						spent += time.Since(start)
						break
					}
				}
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(total), "ns/frame")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkReceiveEmpty(b *testing.B) {
	lb := newLab(b, 1500)
	l := lb.open(Options{})
	frames := make([]link.Frame, 16)
	for b.Loop() {
		l.Receive(frames)
	}
}

// BenchmarkRoundTrip sends a frame to and fro over veth, with both ends spinning
// in Receive, each on a processor of its own.
func BenchmarkRoundTrip(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Skip("needs two processors")
	}
	lb := newLab(b, 1500)
	o := Options{EtherTypes: []uint16{experimental}}
	near, far := lb.near.open(o), lb.far.open(o)
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	reply := ethernet(lb.near.mac(), lb.far.mac(), make([]byte, benchPayload))
	wg.Go(func() {
		defer pin(1)()
		frames := make([]link.Frame, 16)
		for !stop.Load() {
			n := far.Receive(frames)
			if n == 0 {
				continue
			}
			far.Release()
			for range n {
				far.Send(reply)
			}
		}
	})
	defer pin(0)()
	f := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, benchPayload))
	frames := make([]link.Frame, 16)
	times := make([]int64, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if err := near.Send(f); err != nil {
			b.Fatal(err)
		}
		for near.Receive(frames) == 0 {
		}
		near.Release()
		if len(times) < cap(times) {
			times = append(times, int64(time.Since(start)))
		}
	}
	slices.Sort(times)
	for _, p := range []struct {
		name string
		at   int
	}{{"p50-ns", len(times) / 2}, {"p99-ns", len(times) * 99 / 100}, {"p99.9-ns", len(times) * 999 / 1000}} {
		b.ReportMetric(float64(times[p.at]), p.name)
	}
}

// pin locks the goroutine to its thread and that to a processor, and returns what
// undoes it.
func pin(cpu int) func() {
	runtime.LockOSThread()
	var old, one unix.CPUSet
	unix.SchedGetaffinity(0, &old)
	one.Set(cpu)
	unix.SchedSetaffinity(0, &one)
	return func() {
		unix.SchedSetaffinity(0, &old)
		runtime.UnlockOSThread()
	}
}
