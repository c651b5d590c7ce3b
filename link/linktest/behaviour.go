package linktest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// testViewsHold checks that frames handed out stay as they are until Release,
// whatever arrives meanwhile.
func testViewsHold(t *testing.T, e *bench) {
	var sent [][]byte
	for range 4 {
		frame := e.next(300)
		e.send(frame)
		sent = append(sent, frame)
	}
	out := make([]link.Frame, 16)
	n := 0
	for deadline := time.Now().Add(patience); n == 0; {
		if n = e.b.Receive(out); n == 0 {
			e.b.Release()
			e.poller.Wait([]link.Pollable{e.b}, time.Until(deadline))
			if time.Now().After(deadline) {
				t.Fatal("nothing arrived")
			}
		}
	}
	views := make([][]byte, n)
	for i := range views {
		views[i] = bytes.Clone(out[i].Data)
	}
	for range 40 {
		e.send(e.next(300))
	}
	ours := 0
	for i, want := range views {
		if !bytes.Equal(out[i].Data, want) {
			t.Errorf("view %d of %d changed before Release", i, n)
		}
		if _, ok := Serial(out[i].Data); ok {
			ours++
		}
	}
	e.b.Release()
	e.receive(e.b, len(sent)+40-ours, nil)
}

// testViewsAreWritable checks that a receiver may change frames in place, and that
// this harms no later frame.
func testViewsAreWritable(t *testing.T, e *bench) {
	for range 50 {
		frame := e.next(400)
		e.send(frame)
		e.receive(e.b, 1, func(f *link.Frame) {
			if !bytes.Equal(f.Data, frame) {
				t.Error("the frame is not what was sent")
			}
			clear(f.Data)
		})
	}
}

func testStats(t *testing.T, e *bench) {
	a0, b0 := e.a.Stats(), e.b.Stats()
	const frames, length = 10, 200
	for range frames {
		e.send(e.next(length))
	}
	e.receive(e.b, frames, nil)
	a1, b1 := e.a.Stats(), e.b.Stats()
	if n := a1.TxFrames - a0.TxFrames; n != frames {
		t.Errorf("TxFrames rose by %d, want %d", n, frames)
	}
	if n := a1.TxBytes - a0.TxBytes; n != frames*length {
		t.Errorf("TxBytes rose by %d, want %d", n, frames*length)
	}
	// A kernel at the other end may have sent frames of its own.
	if n := b1.RxFrames - b0.RxFrames; n < frames {
		t.Errorf("RxFrames rose by %d, want %d", n, frames)
	}
	if n := b1.RxBytes - b0.RxBytes; n < frames*length {
		t.Errorf("RxBytes rose by %d, want %d", n, frames*length)
	}
	if a1.TxErrors != a0.TxErrors || b1.RxDropped != b0.RxDropped {
		t.Errorf("errors without cause: TxErrors %d, RxDropped %d", a1.TxErrors-a0.TxErrors, b1.RxDropped-b0.RxDropped)
	}
	long := make([]byte, e.a.Info().MTU+link.HeaderLen+8)
	if err := e.a.Send(long); err != nil && e.a.Stats().TxErrors != a1.TxErrors+1 {
		t.Error("TxErrors did not rise with an error of Send")
	}
}

// testOverflow checks that a link that is not received from is bounded, and says what it
// dropped.
func testOverflow(t *testing.T, e *bench) {
	before := e.b.Stats()
	const most = 1 << 17
	sent := uint64(0)
	for i := range most {
		switch err := e.a.Send(e.next(1000)); {
		case err == nil:
			sent++
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS):
			t.Fatalf("Send: %v", err)
		}
		if i%1024 == 1023 && e.b.Stats().RxDropped > before.RxDropped {
			break
		}
	}
	// Frames may still be on their way through a kernel.
	var got uint64
	for deadline := time.Now().Add(patience); ; {
		k := e.b.Receive(e.frames)
		for i := range e.frames[:k] {
			if _, ok := Serial(e.frames[i].Data); ok {
				got++
			}
		}
		e.b.Release()
		dropped := e.b.Stats().RxDropped - before.RxDropped
		if k == 0 && (got+dropped >= sent || time.Now().After(deadline)) {
			if dropped == 0 {
				t.Errorf("%d frames of 1000 bytes sent and none dropped: is the queue bounded?", sent)
			}
			if got+dropped < sent {
				t.Errorf("%d sent, %d received, %d dropped", sent, got, dropped)
			}
			break
		}
	}
	e.send(e.next(60))
	e.receive(e.b, 1, nil)
}

func testNotify(t *testing.T, e *bench) {
	if e.b.FD() >= 0 {
		t.Skip("the link has a descriptor: poll(2) tells")
	}
	var first, second atomic.Int64
	e.b.SetNotify(func() { first.Add(1); e.poller.Wake() }, nil)
	e.send(e.next(60))
	e.send(e.next(60))
	e.receive(e.b, 2, nil)
	if first.Load() == 0 {
		t.Error("readable was not called for the first frame")
	}
	e.b.SetNotify(func() { second.Add(1); e.poller.Wake() }, nil)
	n := first.Load()
	e.send(e.next(60))
	e.receive(e.b, 1, nil)
	if first.Load() != n || second.Load() == 0 {
		t.Errorf("after a second SetNotify: old function called %d times more, new one %d", first.Load()-n, second.Load())
	}
	e.b.SetNotify(nil, nil)
	e.nap = time.Millisecond // nothing tells
	e.send(e.next(60))
	e.receive(e.b, 1, nil)
}

// testPoller hands single frames to and fro between two sleepers.
func testPoller(t *testing.T, e *bench) {
	if e.a == e.b {
		testPollerLoop(t, e)
		return
	}
	const rounds = 200
	pb := link.NewPoller()
	defer pb.Close()
	e.b.SetNotify(pb.Wake, nil)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		frames := make([]link.Frame, 8)
		for !stop.Load() {
			n := e.b.Receive(frames)
			for i := range frames[:n] {
				if serial, ok := Serial(frames[i].Data); ok {
					e.b.Send(Frame(e.macA, e.macB, serial, 64))
				}
			}
			e.b.Release()
			if n == 0 {
				pb.Wait([]link.Pollable{e.b}, -1)
			}
		}
	})
	defer wg.Wait()
	defer pb.Wake()
	defer stop.Store(true)
	for range rounds {
		e.send(e.next(64))
		e.receive(e.a, 1, nil)
	}
}

func testPollerLoop(t *testing.T, e *bench) {
	var wg sync.WaitGroup
	defer wg.Wait()
	const rounds = 200
	wg.Go(func() {
		for i := range rounds {
			if err := e.a.Send(Frame(e.macB, e.macA, uint64(i), 64)); err != nil {
				t.Errorf("Send: %v", err)
			}
		}
	})
	e.receive(e.b, rounds, nil)
}

func testGroups(t *testing.T, e *bench) {
	group := link.MAC{0x01, 0x00, 0x5e, 0x00, 0x02, 0x03} // 233.252.2.3 and others (RFC 1112, 6.4)
	for range 2 {
		if err := e.b.JoinGroup(group); err != nil {
			t.Fatalf("JoinGroup: %v", err)
		}
	}
	if err := e.b.LeaveGroup(group); err != nil {
		t.Fatalf("LeaveGroup: %v", err)
	}
	broadcast := link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for _, tt := range []struct {
		dst  link.MAC
		want link.PacketType
	}{{group, link.Multicast}, {broadcast, link.Broadcast}, {e.macB, link.Host}} {
		e.serial++
		e.send(Frame(tt.dst, e.macA, e.serial, 80))
		e.receive(e.b, 1, func(f *link.Frame) {
			if f.Type != tt.want {
				t.Errorf("frame to %x has type %d, want %d", tt.dst, f.Type, tt.want)
			}
		})
	}
	if err := e.b.LeaveGroup(group); err != nil {
		t.Errorf("second LeaveGroup: %v", err)
	}
}

func testModes(t *testing.T, e *bench) {
	for _, m := range []link.Mode{link.Promiscuous, link.AllMulticast} {
		for range 2 {
			if err := e.b.AddMode(m); err != nil {
				t.Fatalf("AddMode(%d): %v", m, err)
			}
		}
		if err := e.b.DropMode(m); err != nil {
			t.Fatalf("DropMode(%d): %v", m, err)
		}
		e.send(e.next(80))
		e.receive(e.b, 1, nil)
		if m == link.Promiscuous && e.b.Info().Caps&link.CapLoopback == 0 {
			e.serial++
			e.send(Frame(link.MAC{0x02, 0, 0x5e, 0, 0x53, 0x99}, e.macA, e.serial, 80))
			e.receive(e.b, 1, func(f *link.Frame) {
				if f.Type != link.OtherHost {
					t.Errorf("a frame to another host has type %d", f.Type)
				}
			})
		}
		if err := e.b.DropMode(m); err != nil {
			t.Errorf("second DropMode(%d): %v", m, err)
		}
		if err := e.b.DropMode(m); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("third DropMode(%d): %v", m, err)
		}
	}
	if err := e.b.AddMode(link.Modes); !errors.Is(err, unix.EINVAL) {
		t.Errorf("AddMode of no mode: %v", err)
	}
}

// testMark checks that frames with a priority or a mark arrive as they were sent, and
// in order, whether the link takes these along or not.
func testMark(t *testing.T, e *bench) {
	var batch []link.TxFrame
	for i := range 12 {
		f := link.TxFrame{Data: e.next(70 + i), Priority: uint32(i % 3), Mark: uint32(i % 2 * 77)}
		if i%4 == 3 && e.a.Info().Caps&link.CapChecksum != 0 {
			tx := partial(f.Data)
			f.Data, f.PartialChecksum, f.CsumStart, f.CsumOffset = tx.Data, true, tx.CsumStart, tx.CsumOffset
		}
		batch = append(batch, f)
	}
	first, _ := Serial(batch[0].Data)
	if n, err := e.a.SendBatch(batch); n != len(batch) || err != nil {
		t.Fatalf("SendBatch = %d, %v", n, err)
	}
	i := uint64(0)
	e.receive(e.b, len(batch), func(f *link.Frame) {
		if serial, _ := Serial(f.Data); serial != first+i || len(f.Data) != 70+int(i) {
			t.Errorf("frame %d of %d bytes arrived as number %d", serial-first, len(f.Data), i)
		}
		i++
	})
}

// testPartialChecksum checks that a checksum left to the link is filled in, or is
// said to be missing.
func testPartialChecksum(t *testing.T, e *bench) {
	if e.a.Info().Caps&link.CapChecksum == 0 {
		t.Skip("the link has not CapChecksum")
	}
	for _, n := range []int{100, 101, 1000} {
		tx := partial(e.next(n))
		if k, err := e.a.SendBatch([]link.TxFrame{tx}); k != 1 || err != nil {
			t.Fatalf("SendBatch = %d, %v", k, err)
		}
		e.receive(e.b, 1, func(f *link.Frame) {
			if !Intact(f.Data) || len(f.Data) != n {
				t.Error("the frame is not what was sent")
			}
			if f.Checksum != link.ChecksumPartial && !ChecksumOK(f.Data) {
				t.Errorf("Checksum is %d, and the sum is wrong", f.Checksum)
			}
		})
	}
}

// testGSO checks that a GSO packet arrives as one, or as its datagrams.
func testGSO(t *testing.T, e *bench) {
	if e.a.Info().Caps&link.CapGSO == 0 {
		t.Skip("the link has not CapGSO")
	}
	const size, segments, last = 500, 7, 123
	tx := partial(e.next(payloadAt + size*segments + last))
	tx.GSOSize = size
	want := bytes.Clone(tx.Data[payloadAt:])
	if n, err := e.a.SendBatch([]link.TxFrame{tx}); n != 1 || err != nil {
		t.Fatalf("SendBatch = %d, %v", n, err)
	}
	var got []byte
	for deadline := time.Now().Add(patience); len(got) < len(want); {
		n := e.b.Receive(e.frames)
		for i := range e.frames[:n] {
			got = append(got, gsoPayload(t, &e.frames[i], size)...)
		}
		e.b.Release()
		if n > 0 {
			continue
		}
		left := time.Until(deadline)
		if left <= 0 {
			t.Fatalf("%d of %d bytes arrived", len(got), len(want))
		}
		e.poller.Wait([]link.Pollable{e.b}, left)
	}
	if !bytes.Equal(got, want) {
		t.Error("the payload is not what was sent")
	}
}

// gsoPayload returns the payload of a frame that testGSO sent, or nil if it sent
// none such, and checks how it arrived.
func gsoPayload(t *testing.T, f *link.Frame, size int) []byte {
	if len(f.Data) < payloadAt || f.Data[12] != 8 || f.Data[13] != 0 || f.Data[link.HeaderLen+9] != 17 ||
		binary.BigEndian.Uint16(f.Data[udpStart+2:]) != port {
		return nil
	}
	payload := f.Data[payloadAt:]
	switch {
	case f.GSO == link.GSOUDP && int(f.GSOSize) != size:
		t.Errorf("GSOSize = %d, want %d", f.GSOSize, size)
	case f.GSO == link.GSOOther:
		t.Error("GSOOther for UDP")
	case f.GSO == link.GSONone && len(payload) > size:
		t.Errorf("a datagram of %d bytes for segments of %d", len(payload), size)
	case f.GSO == link.GSONone && f.Checksum != link.ChecksumPartial && !ChecksumOK(f.Data):
		t.Error("a segment's checksum is wrong")
	}
	return payload
}

func testTimestamps(t *testing.T, e *bench) {
	if e.b.Info().Caps&link.CapTimestamps == 0 {
		e.send(e.next(60))
		e.receive(e.b, 1, func(f *link.Frame) {
			if f.Clock == link.ClockNone && f.Time != 0 {
				t.Errorf("Time is %d without a clock", f.Time)
			}
		})
		return
	}
	last := int64(0)
	for range 10 {
		e.send(e.next(60))
		e.receive(e.b, 1, func(f *link.Frame) {
			if f.Clock == link.ClockNone || f.Time <= 0 {
				t.Errorf("Clock %d, Time %d", f.Clock, f.Time)
			}
			if f.Time < last {
				t.Errorf("time went back by %d ns", last-f.Time)
			}
			last = f.Time
		})
	}
}

// testConcurrent sends from many goroutines, while others ask whatever may be asked
// at any time.
func testConcurrent(t *testing.T, e *bench) {
	const senders, each = 4, 200
	var wg sync.WaitGroup
	var room = make(chan struct{}, 32) // frames under way
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				room <- struct{}{}
				frame := Frame(e.macB, e.macA, uint64(s)<<32|uint64(i), 60+(s*each+i)%900)
				for {
					n, err := e.a.SendBatch([]link.TxFrame{{Data: frame}})
					if n == 1 && err == nil {
						break
					}
					if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
						t.Errorf("SendBatch = %d, %v", n, err)
						break
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	var asker sync.WaitGroup
	asker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				e.b.Info()
				e.b.Stats()
				e.b.FD()
				e.b.SetNotify(e.poller.Wake, func() {})
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	var next [senders]uint64
	e.receive(e.b, senders*each, func(f *link.Frame) {
		serial, _ := Serial(f.Data)
		s, i := serial>>32, serial&0xffffffff
		if !Intact(f.Data) || !ChecksumOK(f.Data) {
			t.Errorf("frame %d of sender %d is damaged", i, s)
		}
		if s >= senders || i != next[s] {
			t.Errorf("frame %d of sender %d out of order", i, s)
			s %= senders
		}
		next[s] = i + 1
		<-room
	})
	wg.Wait()
	close(stop)
	asker.Wait()
}

// testAllocs checks that neither way allocates once the link is warm.
func testAllocs(t *testing.T, e *bench) {
	if testing.CoverMode() != "" || raceEnabled {
		t.Skip("allocation counts need an ordinary build")
	}
	frame := e.next(200)
	batch := []link.TxFrame{{Data: frame}, {Data: frame}}
	links := []link.Pollable{e.b}
	cycle := func() {
		e.a.Send(frame)
		e.a.SendBatch(batch)
		for got := 0; got < 3; {
			n := e.b.Receive(e.frames)
			got += n
			e.b.Release()
			if n == 0 {
				e.poller.Wait(links, time.Second)
			}
		}
	}
	for range 100 {
		cycle()
	}
	if n := testing.AllocsPerRun(200, cycle); n != 0 {
		t.Errorf("%v allocations for 3 frames, want 0", n)
	}
}

func testClose(t *testing.T, e *bench) {
	e.send(e.next(60))
	e.receive(e.b, 1, nil)
	e.send(e.next(60))
	if err := e.b.Close(); err != nil {
		t.Fatal(err)
	}
	if n := e.b.Receive(e.frames); n != 0 {
		t.Errorf("Receive after Close = %d", n)
	}
	e.b.Release()
	if err := e.b.Send(e.next(60)); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("Send after Close = %v, want ENETDOWN", err)
	}
	if n, err := e.b.SendBatch([]link.TxFrame{{Data: e.next(60)}}); n != 0 || !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("SendBatch after Close = %d, %v; want 0, ENETDOWN", n, err)
	}
	e.b.Info()
	e.b.Stats()
	if e.b.FD() >= 0 {
		t.Error("a descriptor after Close")
	}
}

// testCloseWhileSending closes the sender's end under load.
func testCloseWhileSending(t *testing.T, e *bench) {
	var wg sync.WaitGroup
	var started atomic.Int64
	for range 4 {
		wg.Go(func() {
			frame := Frame(e.macB, e.macA, 1, 100)
			for {
				err := e.a.Send(frame)
				started.Add(1)
				if errors.Is(err, unix.ENETDOWN) {
					return
				}
				if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
					t.Errorf("Send: %v", err)
					return
				}
			}
		})
	}
	for started.Load() < 100 {
		time.Sleep(100 * time.Microsecond)
	}
	if err := e.a.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
