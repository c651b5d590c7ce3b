package host

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/loopback"
)

// A fakeSource has datagrams without a kernel; its descriptor is always readable.
type fakeSource struct {
	fd           int
	has          int
	looks, taken int
}

func newFakeSource(t *testing.T) *fakeSource {
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return &fakeSource{fd: fd}
}

func (s *fakeSource) FD() int { return s.fd }

func (s *fakeSource) Receive(ds []holder.Datagram) int {
	s.looks++
	n := min(len(ds), s.has)
	for i := range ds[:n] {
		ds[i] = holder.Datagram{Buffer: ds[i].Buffer, Destination: localhost, Local: localhost, Source: localhost, TTL: 1}
	}
	s.has -= n
	s.taken += n
	return n
}

// A bench is a link over a loopback and a fakeSource, with a clock of the test's.
type bench struct {
	*Link
	ring   *loopback.Link
	source *fakeSource
	clock  int64
	frames [8]link.Frame
}

func newBench(t *testing.T) *bench {
	b := &bench{ring: loopback.New(loopback.Options{}), source: newFakeSource(t), clock: 1}
	b.Link = newLab(t).open(t, Options{Ring: b.ring, Source: b.source})
	b.rx.now, b.rx.every = func() int64 { return b.clock }, 1
	b.due.Store(false) // of what has asked so far
	return b
}

// fill has frames wait at the ring.
func (b *bench) fill(t *testing.T, n int) {
	for range n {
		must(t, b.ring.Send(linktest.Frame(link.MAC{}, link.MAC{}, 1, 60)))
	}
}

// take receives by so many frames, and returns how many are whose.
func (b *bench) take(room int) (ringed, held int) {
	n := b.Receive(b.frames[:room])
	b.Release()
	for i := range b.frames[:n] {
		if b.frames[i].Checksum == link.ChecksumValid {
			held++
		} else {
			ringed++
		}
	}
	return ringed, held
}

// A spinner looks at the holders once in the interval, however often it receives, and
// again at once after it has found something.
func TestLookInterval(t *testing.T) {
	b := newBench(t)
	for i, step := range []int64{0, 0, 1, int64(LookInterval) - 2, 1, 5, int64(LookInterval)} {
		b.clock += step
		b.take(8)
		if want := []int{1, 1, 1, 1, 2, 2, 3}[i]; b.source.looks != want {
			t.Errorf("after step %d: %d looks, want %d", i, b.source.looks, want)
		}
	}
	b.clock += int64(LookInterval)
	b.source.has = 20
	for range 3 {
		b.take(8) // at the same moment
	}
	if b.source.taken != 12 {
		t.Errorf("%d of 20 were taken, 4 at a time", b.source.taken)
	}
}

// A sleeper's Receive looks at once, and a spinner's at the clock only now and then.
func TestLookAfterSleep(t *testing.T) {
	b := newBench(t)
	b.take(8) // looks
	b.source.has = 1
	b.FD()
	if _, held := b.take(8); held != 1 {
		t.Error("who has slept does not get what woke it")
	}
	b.take(8) // looks again, and finds nothing
	b.rx.every = clockEvery
	asked := 0
	b.rx.now = func() int64 { asked++; return b.clock }
	for range 10 * clockEvery {
		b.take(8)
	}
	if asked != 10 {
		t.Errorf("the clock was looked at %d times in %d calls", asked, 10*clockEvery)
	}
}

// What was sent to many, or without a ring on lo, is looked for at once: our own holders may
// have it.
func TestLookAfterSend(t *testing.T) {
	b := newBench(t)
	b.take(8) // looks
	b.rx.every = clockEvery
	b.source.has = 1
	for _, c := range []struct {
		device int32
		held   int
	}{{0, 0}, {1, 1}} {
		f := []link.TxFrame{{Data: datagram(localhost, localhost, 8, 7, "x"), Device: c.device}}
		if n, err := b.SendBatch(f); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if _, held := b.take(8); held != c.held {
			t.Errorf("by device %d: %d datagrams of the holders", c.device, held)
		}
	}
}

// A call that looks but once finds what the holders have, if it is time to look.
func TestLookWhenPrompted(t *testing.T) {
	b := newBench(t)
	b.take(8) // looks
	b.rx.every = clockEvery
	b.source.has = 1
	b.Prompt()
	if _, held := b.take(8); held != 0 {
		t.Error("looked before it was time to")
	}
	b.clock += int64(LookInterval)
	if _, held := b.take(8); held != 0 {
		t.Error("looked at the clock before it was its turn")
	}
	b.Prompt()
	if _, held := b.take(8); held != 1 {
		t.Error("a call has begun, and has not got what is there")
	}
}

// Neither a busy ring nor busy holders keep the other from being received from, even one
// frame at a time.
func TestNeitherStarves(t *testing.T) {
	for _, room := range []int{1, 2, 8} {
		b := newBench(t)
		var ringed, held int
		for range 100 {
			b.fill(t, 8)
			b.source.has = 8
			b.clock += int64(LookInterval) / 2
			r, h := b.take(room)
			ringed, held = ringed+r, held+h
		}
		if ringed < 40 || held < 40 {
			t.Errorf("by %d: %d frames of the ring, %d of the holders", room, ringed, held)
		}
		if b.source.looks > 60 {
			t.Errorf("by %d: %d looks in 50 intervals", room, b.source.looks)
		}
	}
}

// Nobody looks where there are no holders, and nothing is received into nothing.
func TestWithoutSource(t *testing.T) {
	k := newLab(t).open(t, Options{})
	if n := k.Receive(make([]link.Frame, 1)); n != 0 {
		t.Error(n)
	}
	k.Release()
	if i := k.Info(); i.Name != "lo" || i.Index != 1 || i.MTU != 65536 || i.State != link.Up || i.Caps&link.CapLoopback == 0 {
		t.Errorf("%+v", i)
	}
}

// wakes reports that a sleeper on the link is woken by what f does.
func wakes(t *testing.T, k *Link, what string, f func()) {
	t.Helper()
	p := link.NewPoller()
	defer p.Close()
	start, woken := time.Now(), make(chan struct{})
	go func() {
		p.Wait([]link.Pollable{k}, patience)
		close(woken)
	}()
	f()
	<-woken
	if time.Since(start) > patience/2 {
		t.Errorf("%s woke nobody", what)
	}
}

// A sleeper is woken by the ring and by a holder, and by nothing when there is nothing.
func TestSleeper(t *testing.T) {
	lb := newLab(t)
	h := lb.holders(t)
	k := lb.open(t, Options{Ring: lb.ring(t), Source: h})
	must(t, h.SetRings([]int32{1}))
	port := hold(t, h, holder.Request{}).Port()
	here, far := udp(t, lb.near, "127.0.0.1:0"), udp(t, lb.far, "0.0.0.0:0")
	wakes(t, k, "a frame of the ring", func() { must(t, here.SendTo([]byte("x"), addrPort(localhost, port))) })
	receive(t, k, 1, toPort(port))
	wakes(t, k, "a holder's datagram", func() { must(t, far.SendTo([]byte("x"), addrPort(nearIP, port))) })
	receive(t, k, 1, toPort(port))
	none(t, k, port)
	if readable(k) {
		t.Error("readable with nothing to receive")
	}
}

// readable reports whether poll(2) would wake a sleeper.
func readable(k *Link) bool {
	fds := []unix.PollFd{{Fd: int32(k.FD()), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, 0)
	return n > 0
}

// An error of the ring, as when lo is set down, is cleared by who is woken by it: nobody
// turns in circles. The link's state is the device's.
func TestDeviceDown(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{Ring: lb.ring(t), Source: lb.holders(t)})
	changed := make(chan struct{}, 10)
	k.SetNotify(nil, func() { changed <- struct{}{} })
	must(t, lb.near.SetDown("lo"))
	frames := make([]link.Frame, 8)
	for end := time.Now().Add(patience); readable(k) || k.Info().State != link.Down; {
		k.Receive(frames)
		k.Release()
		if time.Now().After(end) {
			t.Fatalf("readable %v, state %v", readable(k), k.Info().State)
		}
	}
	<-changed
	must(t, lb.near.SetUp("lo"))
	for end := time.Now().Add(patience); k.Info().State != link.Up && time.Now().Before(end); {
		<-changed
	}
	here := udp(t, lb.near, "127.0.0.1:7")
	wakes(t, k, "a frame after lo came up", func() { must(t, here.SendTo([]byte("x"), netip.MustParseAddrPort("127.0.0.1:7"))) })
	receive(t, k, 1, toPort(7))
}

// A ring without a descriptor tells by its function; one whose descriptor is of no use any
// more is not watched.
func TestRingWithoutDescriptor(t *testing.T) {
	b := newBench(t)
	b.source.has = 0
	var told int
	b.SetNotify(func() { told++ }, nil)
	b.fill(t, 1)
	if told != 1 {
		t.Errorf("told %d times of a frame", told)
	}
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	must(t, err)
	defer unix.Close(fd)
	r := &descriptorRing{Link: b.ring, fd: fd}
	k := newLab(t).open(t, Options{Ring: r})
	if !readable(k) {
		t.Error("the ring's descriptor is not watched")
	}
	r.fd = -1
	r.changed()
	if readable(k) {
		t.Error("a descriptor of no use is watched")
	}
	r.fd = fd
	r.changed()
	if !readable(k) {
		t.Error("it is not watched when it is of use again")
	}
}

// A descriptorRing is a loopback with a descriptor.
type descriptorRing struct {
	*loopback.Link
	fd      int
	changed func()
}

func (r *descriptorRing) FD() int                       { return r.fd }
func (r *descriptorRing) SetNotify(_ func(), ch func()) { r.changed = ch }

// Close tells pollers, who find no descriptor any more, and closes the ring.
func TestClose(t *testing.T) {
	b := newBench(t)
	fd := 0
	b.SetNotify(nil, func() { fd = b.FD() })
	must(t, b.Close())
	if fd != -1 {
		t.Errorf("descriptor %d at the change", fd)
	}
	if b.ring.Info().State != link.Gone || b.Info().State != link.Gone {
		t.Error("the ring is open")
	}
	if b.Receive(b.frames[:]) != 0 || b.Send(datagram(localhost, localhost, 1, 2, "")) != unix.ENETDOWN {
		t.Error("it receives, or sends")
	}
}

// Groups and modes are counted.
func TestGroupsAndModes(t *testing.T) {
	k := newLab(t).open(t, Options{})
	mac := group.MulticastMAC()
	for _, step := range []struct{ got, want error }{
		{k.JoinGroup(mac), nil}, {k.JoinGroup(mac), nil}, {k.LeaveGroup(mac), nil}, {k.LeaveGroup(mac), nil},
		{k.LeaveGroup(mac), unix.EADDRNOTAVAIL}, {k.JoinGroup(link.MAC{2}), unix.EINVAL},
		{k.AddMode(link.Promiscuous), nil}, {k.DropMode(link.Promiscuous), nil},
		{k.DropMode(link.Promiscuous), unix.EADDRNOTAVAIL}, {k.AddMode(link.Modes), unix.EINVAL},
	} {
		if step.got != step.want {
			t.Errorf("%v, want %v", step.got, step.want)
		}
	}
}

// Neither way allocates.
func TestAllocs(t *testing.T) {
	lb := newLab(t)
	h := lb.holders(t)
	k := lb.open(t, Options{Source: h})
	port := hold(t, h, holder.Request{}).Port()
	batch := []link.TxFrame{{Data: datagram(localhost, localhost, 8, port, "x"), Mark: 1, Priority: 2}, {Data: datagram(localhost, localhost, 8, port, "y")}}
	leaveChecksums(batch[1:])
	frames := make([]link.Frame, 16)
	cycle := func() {
		k.Send(batch[0].Data)
		k.SendBatch(batch)
		k.rx.next = 0
		if n := k.Receive(frames); n != 3 {
			t.Errorf("%d frames", n)
		}
		k.Release()
	}
	cycle()
	if n := testing.AllocsPerRun(100, cycle); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// leaveChecksums leaves the checksums of frames to the link.
func leaveChecksums(batch []link.TxFrame) {
	for i := range batch {
		f := &batch[i]
		sum := pseudo(f.Data)
		f.Data[40], f.Data[41] = byte(sum>>8), byte(sum)
		f.PartialChecksum, f.CsumStart, f.CsumOffset = true, 34, 6
	}
}

// What comes is counted by device, of 255 of them, and of the rest together.
func TestHolderIn(t *testing.T) {
	var l Link
	for round := range 2 {
		for d := int32(1); d <= 300; d++ {
			l.rx.by.count(d)
		}
		got, each := l.HolderIn(), uint64(round+1)
		if len(got) != maxDevices || got[1] != each || got[255] != each || got[others] != 45*each {
			t.Errorf("%d devices; of 1 %d, of 255 %d, of the rest %d", len(got), got[1], got[255], got[others])
		}
	}
}
