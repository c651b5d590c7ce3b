package pipe_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/pipe"
)

var (
	macA  = link.MAC{2, 0, 0, 0, 0, 1}
	macB  = link.MAC{2, 0, 0, 0, 0, 2}
	group = link.MAC{1, 0, 0x5e, 0, 0, 1}
)

func frame(n int) []byte { return linktest.Frame(macB, macA, 7, n) }

// receiveOne returns a copy of the only frame that waits.
func receiveOne(t *testing.T, l link.Link) link.Frame {
	t.Helper()
	var frames [4]link.Frame
	n := l.Receive(frames[:])
	defer l.Release()
	if n != 1 {
		t.Fatalf("%d frames arrived, want 1", n)
	}
	f := frames[0]
	f.Data = bytes.Clone(f.Data)
	return f
}

func TestOptions(t *testing.T) {
	a, b := pipe.New(pipe.Options{
		A:   pipe.End{Name: "near0", Index: 3, MAC: macB},
		MTU: 9000, Caps: link.CapChecksum | link.CapLoopback,
	})
	want := link.Info{Name: "near0", Index: 3, MTU: 9000, HardwareAddr: macB, State: link.Up,
		Caps: link.CapChecksum | link.CapTimestamps}
	if got := a.Info(); got != want {
		t.Errorf("A: %+v, want %+v", got, want)
	}
	want.Name, want.Index = "pipe1", 0
	if got := b.Info(); got != want {
		t.Errorf("B: %+v, want %+v", got, want)
	}
}

func TestPacketType(t *testing.T) {
	tests := []struct {
		name string
		dst  link.MAC
		want link.PacketType
	}{
		{"own", macB, link.Host},
		{"sender's", macA, link.OtherHost},
		{"other", link.MAC{0, 1, 2, 3, 4, 5}, link.OtherHost},
		{"group", group, link.Multicast},
		{"nearly broadcast", link.MAC{255, 255, 255, 255, 255, 254}, link.Multicast},
		{"nearly broadcast group", link.MAC{255, 255, 255, 255, 254, 255}, link.Multicast},
		{"broadcast", link.MAC{255, 255, 255, 255, 255, 255}, link.Broadcast},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pipe.New(pipe.Options{})
			a.Send(linktest.Frame(tt.dst, macA, 1, 60))
			if got := receiveOne(t, b).Type; got != tt.want {
				t.Errorf("type %d, want %d", got, tt.want)
			}
		})
	}
}

func TestState(t *testing.T) {
	a, b := pipe.New(pipe.Options{})
	var ca, cb int
	a.SetNotify(nil, func() { ca++ })
	b.SetNotify(nil, func() { cb++ })
	step := func(name string, do func(), wantA, wantB link.State, changes int) {
		t.Helper()
		ca, cb = 0, 0
		do()
		if got := a.Info().State; got != wantA {
			t.Errorf("%s: A is %v, want %v", name, got, wantA)
		}
		if got := b.Info().State; got != wantB {
			t.Errorf("%s: B is %v, want %v", name, got, wantB)
		}
		if ca != changes || cb != changes {
			t.Errorf("%s: changed called %d and %d times, want %d", name, ca, cb, changes)
		}
		want, lost := error(nil), a.Stats().TxLost
		switch wantA {
		case link.NoCarrier:
			lost++
		case link.Down, link.Gone:
			want = unix.ENETDOWN
		}
		if err := a.Send(frame(60)); !errors.Is(err, want) || a.Stats().TxLost != lost {
			t.Errorf("%s: Send = %v, want %v; %d lost, want %d", name, err, want, a.Stats().TxLost, lost)
		}
	}
	step("start", func() {}, link.Up, link.Up, 0)
	step("A down", func() { a.SetUp(false) }, link.Down, link.NoCarrier, 1)
	step("A down again", func() { a.SetUp(false) }, link.Down, link.NoCarrier, 0)
	step("B down too", func() { b.SetUp(false) }, link.Down, link.Down, 1)
	step("A up", func() { a.SetUp(true) }, link.NoCarrier, link.Down, 1)
	step("B up", func() { b.SetUp(true) }, link.Up, link.Up, 1)
	step("B closed", func() { b.Close() }, link.NoCarrier, link.Gone, 1)
	step("B closed again", func() { b.Close() }, link.NoCarrier, link.Gone, 0)
	step("A closed", func() { a.Close() }, link.Gone, link.Gone, 1)
}

func TestFramesOutliveDown(t *testing.T) {
	a, b := pipe.New(pipe.Options{})
	a.Send(frame(60))
	a.SetUp(false)
	receiveOne(t, b)
}

func TestProperties(t *testing.T) {
	a, b := pipe.New(pipe.Options{})
	changes := 0
	a.SetNotify(nil, func() { changes++ })
	a.SetMTU(600)
	a.SetMTU(600)
	if err := a.Send(frame(615)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Send of 601 bytes over MTU 600: %v", err)
	}
	if err := a.Send(frame(614)); err != nil {
		t.Error(err)
	}
	receiveOne(t, b)
	a.SetHardwareAddr(macB)
	b.SetHardwareAddr(macA)
	if err := b.Send(linktest.Frame(macB, macA, 1, 60)); err != nil {
		t.Fatal(err)
	}
	if f := receiveOne(t, a); f.Type != link.Host {
		t.Errorf("type %d after the address changed", f.Type)
	}
	if info := a.Info(); info.MTU != 600 || info.HardwareAddr != macB || changes != 2 {
		t.Errorf("Info = %+v after %d changes", info, changes)
	}
}

func TestQueueIsBounded(t *testing.T) {
	a, b := pipe.New(pipe.Options{Queue: 3})
	for i := range 5 {
		if err := a.Send(linktest.Frame(macB, macA, uint64(i), 60)); err != nil {
			t.Fatal(err)
		}
	}
	frames := make([]link.Frame, 8)
	n := b.Receive(frames)
	if n != 3 {
		t.Fatalf("%d frames waited, want 3", n)
	}
	for i := range frames[:n] {
		if serial, _ := linktest.Serial(frames[i].Data); serial != uint64(i) {
			t.Errorf("frame %d at place %d: the oldest must stay", serial, i)
		}
	}
	b.Release()
	if s := b.Stats(); s.RxDropped != 2 || s.RxFrames != 3 || s.RxBytes != 180 {
		t.Errorf("receiver's Stats = %+v", s)
	}
	if s := a.Stats(); s.TxFrames != 5 || s.TxErrors != 0 {
		t.Errorf("sender's Stats = %+v", s)
	}
}

func TestOffloads(t *testing.T) {
	const csum, gso = link.CapChecksum, link.CapGSO
	partial := func(n int, size uint16) link.TxFrame {
		return link.TxFrame{Data: frame(n), PartialChecksum: true, CsumStart: 34, CsumOffset: 6, GSOSize: size}
	}
	tests := []struct {
		name string
		caps link.Caps
		tx   link.TxFrame
		want error
		meta link.Meta
	}{
		{"none", csum | gso, link.TxFrame{Data: frame(100)}, nil, link.Meta{WireLen: 100}},
		{"partial", csum, partial(100, 0), nil, link.Meta{WireLen: 100, Checksum: link.ChecksumPartial}},
		{"partial without the capability", 0, partial(100, 0), unix.EOPNOTSUPP, link.Meta{}},
		{"GSO packet", csum | gso, partial(4000, 1000), nil,
			link.Meta{WireLen: 4000, Checksum: link.ChecksumPartial, GSO: link.GSOUDP, GSOSize: 1000}},
		{"GSO packet without the capability", csum, partial(4000, 1000), unix.EOPNOTSUPP, link.Meta{}},
		{"segments longer than the MTU", csum | gso, partial(4000, 1473), unix.EMSGSIZE, link.Meta{}},
		{"segments as long as the MTU", csum | gso, partial(4000, 1472), nil,
			link.Meta{WireLen: 4000, Checksum: link.ChecksumPartial, GSO: link.GSOUDP, GSOSize: 1472}},
		{"GSO packet longer than IPv4 allows", csum | gso, partial(65536+20, 1000), unix.EMSGSIZE, link.Meta{}},
		{"short", csum, link.TxFrame{Data: make([]byte, 13)}, unix.EINVAL, link.Meta{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pipe.New(pipe.Options{Caps: tt.caps, Now: func() int64 { return 42 }})
			n, err := a.SendBatch([]link.TxFrame{tt.tx})
			if !errors.Is(err, tt.want) || (n == 1) != (tt.want == nil) {
				t.Fatalf("SendBatch = %d, %v; want %v", n, err, tt.want)
			}
			if tt.want != nil {
				if s := a.Stats(); s.TxErrors != 1 {
					t.Errorf("Stats = %+v", s)
				}
				return
			}
			f := receiveOne(t, b)
			tt.meta.Time, tt.meta.Clock = 42, link.ClockSoftware
			if f.Meta != tt.meta || !bytes.Equal(f.Data, tt.tx.Data) {
				t.Errorf("Meta = %+v, want %+v", f.Meta, tt.meta)
			}
		})
	}
}

func TestInject(t *testing.T) {
	_, b := pipe.New(pipe.Options{Queue: 1})
	readable := 0
	b.SetNotify(func() { readable++ }, nil)
	want := link.Meta{Time: 5, Clock: link.ClockHardware, WireLen: 9000, VLAN: true, VLANTCI: 5, VLANTPID: 0x8100,
		Checksum: link.ChecksumValid, Type: link.Outgoing, GSO: link.GSOOther, GSOSize: 3}
	data := frame(64)
	if !b.Inject(link.Frame{Data: data, Meta: want}) {
		t.Fatal("refused")
	}
	if b.Inject(link.Frame{Data: data}) {
		t.Error("accepted by a full queue")
	}
	clear(data)
	f := receiveOne(t, b)
	if f.Meta != want || !linktest.Intact(f.Data) || readable != 1 {
		t.Errorf("arrived with %+v, readable called %d times", f.Meta, readable)
	}
	if !b.Inject(link.Frame{}) {
		t.Error("an empty frame was refused")
	}
	if f := receiveOne(t, b); len(f.Data) != 0 || f.WireLen != 0 {
		t.Errorf("empty frame arrived as %d bytes", len(f.Data))
	}
	if b.Inject(link.Frame{Data: make([]byte, 1<<17)}) {
		t.Error("128 KiB were accepted")
	}
	b.Close()
	if b.Inject(link.Frame{Data: frame(64)}) {
		t.Error("accepted after Close")
	}
}

func TestGroups(t *testing.T) {
	a, _ := pipe.New(pipe.Options{})
	for range 2 {
		a.JoinGroup(group)
	}
	if got := a.Groups(); len(got) != 1 || got[group] != 2 {
		t.Errorf("Groups = %v", got)
	}
	if err := a.JoinGroup(macA); !errors.Is(err, unix.EINVAL) {
		t.Errorf("JoinGroup of a unicast address = %v", err)
	}
	a.LeaveGroup(group)
	a.LeaveGroup(group)
	if err := a.LeaveGroup(group); !errors.Is(err, unix.EADDRNOTAVAIL) || len(a.Groups()) != 0 {
		t.Errorf("third LeaveGroup = %v, Groups = %v", err, a.Groups())
	}
}

// TestSimulatedTime runs an exchange that takes an hour of the bubble's time.
func TestSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.Options{})
		p := link.NewPoller()
		b.SetNotify(p.Wake, nil)
		start := time.Now()
		go func() {
			for range 60 {
				time.Sleep(time.Minute)
				a.Send(frame(60))
			}
		}()
		for i := range 60 {
			p.Wait([]link.Pollable{b}, -1)
			got := time.Duration(receiveOne(t, b).Time - start.UnixNano())
			if want := time.Duration(i+1) * time.Minute; got != want {
				t.Fatalf("frame %d came after %v, want %v", i, got, want)
			}
		}
	})
}

func BenchmarkSendReceive(b *testing.B) {
	for _, n := range []int{64, 1400} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x, y := pipe.New(pipe.Options{Now: func() int64 { return 1 }})
			y.SetNotify(func() {}, nil)
			data := frame(n)
			var frames [8]link.Frame
			b.ReportAllocs()
			for b.Loop() {
				x.Send(data)
				y.Receive(frames[:])
				y.Release()
			}
		})
	}
}
