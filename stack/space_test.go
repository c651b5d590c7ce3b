package stack

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// A call that is blocked because the send buffer is full goes on when that has space
// again, whatever has made it, and then: nothing else would wake it before its deadline.
func TestSpaceWakesBlockedSends(t *testing.T) {
	for _, tt := range []struct {
		name string
		fill func(w *wire, k *UDPSocket) // until the send buffer is full
		free func(w *wire, k *UDPSocket) // one second later
	}{
		{"the neighbour answers", func(w *wire, k *UDPSocket) {
			for k.SendTo(payload(100), unix.MSG_DONTWAIT, NoDeadline, netip.AddrPortFrom(farAddr, 7)) == nil {
			}
		}, func(w *wire, k *UDPSocket) { w.far.Send(arpReply(farMAC)) }},
		{"the time of datagrams comes", func(w *wire, k *UDPSocket) {
			w.resolved()
			k.Times().SetTxTime(monotonic)
			for w.sendAt(k, payload(100), w.at(time.Second)) == nil {
			}
		}, func(w *wire, k *UDPSocket) {}},
		{"a larger buffer", func(w *wire, k *UDPSocket) {
			w.resolved()
			k.Times().SetTxTime(monotonic)
			for w.sendAt(k, payload(100), w.at(time.Hour)) == nil {
			}
		}, func(w *wire, k *UDPSocket) { k.SetSendBuffer(1 << 20) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				time.Sleep(3 * time.Second) // the address is announced
				// The reader leads: the call that is blocked sees nothing by itself.
				reader := w.socket("10.9.0.1:9", "")
				read := make(chan error)
				go func() {
					_, _, err := reader.Recv(nil, 0, NoDeadline)
					read <- err
				}()
				defer func() {
					reader.Close()
					<-read
				}()
				w.settle()
				k := w.socket("", "")
				k.SetSendBuffer(9216)
				start := time.Now()
				tt.fill(w, k)
				if !k.out.SendFull() {
					t.Fatal("the send buffer is not full")
				}
				time.AfterFunc(time.Second-time.Since(start), func() { tt.free(w, k) })
				err := k.SendTo(payload(1), 0, w.s.Deadline(10*time.Minute), netip.AddrPortFrom(farAddr, 7))
				if d := time.Since(start); err != nil || d < time.Second || d > time.Second+10*time.Millisecond {
					t.Errorf("%v after %v, want none after a second", err, d)
				}
			})
		})
	}
}

// Whoever watches a socket is told of space once half of the send buffer is free, and
// not before.
func TestSpaceIsToldOfAtHalf(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.timed(monotonic)
		k.SetSendBuffer(9216)
		var told atomic.Int32
		k.Watch(&Watch{Notify: func(events uint32) bool {
			if events&EventsOut == EventsOut {
				told.Add(1)
			}
			return false
		}})
		n := 0
		for w.sendAt(k, payload(100), w.at(time.Duration(n+1)*time.Second)) == nil {
			n++
		}
		told.Store(0)
		time.Sleep(500 * time.Millisecond) // between those times
		for left := n; left > 0; left-- {
			if writable := 2*int64(left)*output.ChargeFrame(output.HeadersLen+100) < 9216; told.Load() > 0 != writable || k.out.Writable() != writable {
				t.Errorf("%d of %d wait: told %d times, writable: %v", left, n, told.Load(), k.out.Writable())
			}
			time.Sleep(time.Second)
		}
	})
}

// While datagrams that waited for a neighbour are about to leave, no path to it is
// kept, and none of the stack's own answers may go by one: it would overtake them.
func TestNoPathIsKeptDuringFlush(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		w.send(k, []byte{0})
		f := link.Frame{Data: arpReply(farMAC)}
		f.WireLen = len(f.Data)
		w.s.lockLanes()
		w.s.lanes.first.input(w.ifc, &f)
		if w.ifc.dev.Neighbours.Flushing != 1 {
			t.Errorf("%d datagrams are about to leave, want 1", w.ifc.dev.Neighbours.Flushing)
		}
		if e, _, version, errno := w.ifc.dev.Neighbours.Find(far4, near4, false); e == nil || version != 0 || errno != 0 {
			t.Errorf("a path may be kept while datagrams are about to leave: version %d, %v", version, errno)
		}
		// A call waits for them, and has them sent if nobody does.
		if _, mac, version, errno := w.ifc.dev.Neighbours.Find(far4, near4, true); version == 0 || mac != farMAC || errno != 0 || w.ifc.dev.Neighbours.Flushing != 0 {
			t.Errorf("a call that may wait: %v, version %d, %v; %d are about to leave", mac, version, errno, w.ifc.dev.Neighbours.Flushing)
		}
		if n := len(w.sentIP()); n != 1 {
			t.Errorf("%d frames left, want 1", n)
		}
		w.s.unlockLanes()
		if _, _, version, _ := w.ifc.dev.Neighbours.Find(far4, near4, false); version == 0 {
			t.Error("no path is kept when all have left")
		}
	})
}
