package tpacket

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// exchange checks that frames pass both ways between l and the far device.
func exchange(t *testing.T, lb *lab, l *Link) {
	t.Helper()
	peer := lb.far.raw(experimental, false)
	in := ethernet(lb.near.mac(), lb.far.mac(), []byte("in"))
	_, err := unix.Write(peer, in)
	check(t, err)
	if g := receive(t, l, 1)[0]; !bytes.Equal(g.data, in) {
		t.Errorf("received %x", g.data)
	}
	out := ethernet(lb.far.mac(), lb.near.mac(), []byte("out"))
	check(t, l.Send(out))
	if n, err := l.SendBatch([]link.TxFrame{{Data: out}, {Data: out}}); n != 2 || err != nil {
		t.Errorf("batch: %d, %v", n, err)
	}
	special := link.TxFrame{Data: udpFrame(lb.far.mac(), lb.near.mac(), []byte("udp"), true), PartialChecksum: true, CsumStart: 34, CsumOffset: 6}
	if n, err := l.SendBatch([]link.TxFrame{special, {Data: out}}); n != 2 || err != nil {
		t.Errorf("special batch: %d, %v", n, err)
	}
	for range 4 {
		if g := read(t, peer); !bytes.Equal(g, out) {
			t.Errorf("the peer received %x", g)
		}
	}
}

// sendFails checks that nothing can be sent.
func sendFails(t *testing.T, lb *lab, l *Link, mac link.MAC) {
	t.Helper()
	f := ethernet(link.MAC{2}, mac, nil)
	udp := link.TxFrame{Data: udpFrame(link.MAC{2}, mac, nil, true), PartialChecksum: true, CsumStart: 34, CsumOffset: 6}
	before := l.Stats().TxErrors
	if err := l.Send(f); err != unix.ENETDOWN {
		t.Errorf("Send: %v", err)
	}
	for _, b := range [][]link.TxFrame{{{Data: f}}, {{Data: f}, {Data: f}}, {udp}} {
		if n, err := l.SendBatch(b); n != 0 || err != unix.ENETDOWN {
			t.Errorf("SendBatch: %d, %v", n, err)
		}
	}
	if n := l.Stats().TxErrors - before; n != 4 {
		t.Errorf("%d errors counted, want 4", n)
	}
}

// lifeOptions are the links that a device's life is tested with.
var lifeOptions = map[string]Options{
	"sendmmsg": {EtherTypes: []uint16{experimental}},
	"sendto":   {EtherTypes: []uint16{experimental}, TxMode: TxSendto},
}

func TestDownUp(t *testing.T) {
	for name, o := range lifeOptions {
		t.Run(name, func(t *testing.T) {
			lb := newLab(t, 1500)
			l := lb.open(o)
			w := watch(t, l)
			p := link.NewPoller()
			defer p.Close()
			fd := l.FD()
			for range 2 {
				lb.near.down()
				w.state(link.Down)
				p.Wait([]link.Pollable{l}, -1) // the error wakes it once
				if e := pollNow(l); e != 0 {
					t.Errorf("poll reports %#x after PollError", e)
				}
				if l.FD() != fd {
					t.Errorf("FD is %d while down, was %d", l.FD(), fd)
				}
				sendFails(t, lb, l, lb.near.mac())
				lb.near.up()
				w.state(link.Up)
				exchange(t, lb, l)
			}
			if l.FD() != fd || l.Stats().Reopened != 0 {
				t.Errorf("FD %d, was %d; %+v", l.FD(), fd, l.Stats())
			}
		})
	}
}

// pollNow returns what poll(2) reports for l's descriptor.
func pollNow(l *Link) int16 {
	p := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}
	unix.Poll(p, 0)
	return p[0].Revents
}

// Without a carrier frames are sent and lost, as the kernel's are, though
// PACKET_QDISC_BYPASS refuses them with ENOBUFS.
func TestCarrier(t *testing.T) {
	for name, o := range lifeOptions {
		t.Run(name, func(t *testing.T) {
			lb := newLab(t, 1500)
			l := lb.open(o)
			w := watch(t, l)
			lb.far.down()
			w.state(link.NoCarrier)
			before := l.Stats()
			f := ethernet(lb.far.mac(), lb.near.mac(), pattern(100, 1))
			check(t, l.Send(f))
			n, err := l.SendBatch([]link.TxFrame{{Data: f}, {Data: f}, {Data: f, Priority: 1}, {Data: f}})
			if s := l.Stats(); n != 4 || err != nil || s.TxLost-before.TxLost != 5 || s.TxErrors != before.TxErrors ||
				s.TxFrames != before.TxFrames {
				t.Errorf("SendBatch: %d, %v; %+v", n, err, s)
			}
			lb.far.up()
			w.state(link.Up)
			exchange(t, lb, l)
		})
	}
}

// A dormant device (802.1X has no keys yet) is not IFF_RUNNING, and carries frames.
func TestDormant(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	w := watch(t, l)
	lb.near.setDormant(true)
	await(t, "dormant", func() bool { return lb.near.link().Attrs().RawFlags&unix.IFF_RUNNING == 0 })
	l.dev.Refresh()
	w.state(link.Up)
	exchange(t, lb, l)
	lb.near.setDormant(false)
	exchange(t, lb, l)
}

// A renamed device goes by its new name, and one of the name that it was opened by
// is taken when it is gone, not one of the name that it had last.
func TestRenamedAndDeleted(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	w := watch(t, l)
	check(t, lb.near.nl.LinkSetName(lb.near.link(), "renamed"))
	w.until("renamed", func(i link.Info) bool { return i.Name == "renamed" && i.State == link.Up })
	check(t, lb.near.nl.LinkDel(lb.near.byName("renamed")))
	w.until("gone", func(i link.Info) bool { return i.State == link.Gone && i.Name == "near0" })
	lb.near.dev = "renamed"
	lb.join(1500)
	if i := l.Info(); i.State != link.Gone {
		t.Errorf("took a device of another name: %+v", i)
	}
	check(t, lb.near.nl.LinkSetName(lb.near.link(), "near0"))
	lb.near.dev = "near0"
	w.until("back", func(i link.Info) bool { return i.State == link.Up && i.Name == "near0" })
	exchange(t, lb, l)
}

func TestOpenWhileDown(t *testing.T) {
	lb := newLab(t, 1500)
	lb.near.down()
	l := lb.open(lifeOptions["sendmmsg"])
	w := watch(t, l)
	if s := l.Info().State; s != link.Down {
		t.Errorf("state %v", s)
	}
	if e := pollNow(l); e != 0 {
		t.Errorf("poll reports %#x", e)
	}
	sendFails(t, lb, l, lb.near.mac())
	lb.near.up()
	w.state(link.Up)
	exchange(t, lb, l)
}

func TestDeletedAndMadeAgain(t *testing.T) {
	for name, o := range lifeOptions {
		t.Run(name, func(t *testing.T) {
			lb := newLab(t, 1500)
			o.Promiscuous = true
			l := lb.open(o)
			group := link.MAC{1, 0, 0x5e, 1, 2, 3}
			check(t, l.JoinGroup(group))
			w := watch(t, l)
			for round := range uint64(3) {
				mac := lb.near.mac()
				check(t, lb.near.nl.LinkDel(lb.near.link()))
				w.state(link.Gone)
				if l.FD() != -1 || l.Info().Index != 0 || l.Info().Name != "near0" {
					t.Errorf("FD %d, %+v", l.FD(), l.Info())
				}
				sendFails(t, lb, l, mac)
				if n := l.Receive(make([]link.Frame, 4)); n != 0 {
					t.Errorf("%d frames", n)
				}
				l.PollError()
				lb.join(1500)
				w.state(link.Up)
				if i := l.Info(); i.Index != lb.near.link().Attrs().Index || i.HardwareAddr != lb.near.mac() {
					t.Errorf("%+v", i)
				}
				if l.FD() < 0 || l.Stats().Reopened != round+1 {
					t.Errorf("FD %d, %+v", l.FD(), l.Stats())
				}
				if lb.near.groups()[group] != 1 || lb.near.link().Attrs().Promisc != 1 {
					t.Errorf("groups %v, promiscuity %d", lb.near.groups(), lb.near.link().Attrs().Promisc)
				}
				exchange(t, lb, l)
			}
		})
	}
}

// A sleeper on the ring wakes when the device is deleted, does not turn in
// circles, and goes on when it is made again.
func TestSleeperSurvivesDeletion(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	p := link.NewPoller()
	var mu sync.Mutex
	gone := make(chan struct{}, 100)
	l.SetNotify(nil, func() {
		mu.Lock()
		defer mu.Unlock()
		if l.Info().State == link.Gone {
			gone <- struct{}{}
		}
		p.Wake()
	})
	arrived := make(chan byte, 10)
	var wakes int
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		frames := make([]link.Frame, 8)
		for {
			select {
			case <-stop:
				return
			default:
			}
			p.Wait([]link.Pollable{l}, -1)
			wakes++
			for _, f := range frames[:l.Receive(frames)] {
				arrived <- f.Data[14]
			}
			l.Release()
		}
	})
	send := func(b byte) {
		_, err := unix.Write(lb.far.raw(0, false), ethernet(lb.near.mac(), lb.far.mac(), []byte{b}))
		check(t, err)
		select {
		case g := <-arrived:
			if g != b {
				t.Errorf("frame %d, want %d", g, b)
			}
		case <-time.After(patience):
			t.Fatal("the sleeper missed a frame")
		}
	}
	send(1)
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("changed was not called")
	}
	lb.join(1500)
	watched := time.After(patience)
	for l.Info().State != link.Up {
		select {
		case <-watched:
			t.Fatalf("%+v", l.Info())
		case <-time.After(time.Millisecond):
		}
	}
	send(2)
	close(stop)
	check(t, p.Close())
	wg.Wait()
	if wakes > 50 {
		t.Errorf("woken %d times", wakes)
	}
}

// PollError alone, without a link event, knows a deleted device.
func TestPollErrorKnowsGone(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	l.PollError() // for no reason
	if l.FD() < 0 || l.Info().State != link.Up {
		t.Fatalf("FD %d, %+v", l.FD(), l.Info())
	}
	l.mu.Lock() // keeps the watcher from the event
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	e := pollNow(l)
	l.mu.Unlock()
	if e&unix.POLLERR == 0 {
		t.Errorf("poll reports %#x", e)
	}
	l.PollError()
	if l.FD() != -1 || l.Info().State != link.Gone {
		t.Errorf("FD %d, %+v", l.FD(), l.Info())
	}
}

// A device that was moved to another namespace may come back with its index.
func TestMovedAndBack(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	w := watch(t, l)
	mac := lb.near.mac()
	check(t, lb.near.nl.LinkSetNsFd(lb.near.link(), int(lb.far.ns)))
	w.state(link.Gone)
	sendFails(t, lb, l, mac)
	check(t, lb.far.nl.LinkSetNsFd(lb.far.byName("near0"), int(lb.near.ns)))
	w.state(link.Down)
	lb.near.up()
	w.state(link.Up)
	exchange(t, lb, l)
	if n := l.Stats().Reopened; n != 1 {
		t.Errorf("reopened %d times", n)
	}
}

func TestDeviceChanges(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	w := watch(t, l)
	for _, h := range []*host{lb.near, lb.far} {
		check(t, h.nl.LinkSetMTU(h.link(), 9000))
	}
	w.until("at MTU 9000", func(i link.Info) bool { return i.MTU == 9000 })
	peer := lb.far.raw(experimental, false)
	in := ethernet(lb.near.mac(), lb.far.mac(), pattern(9000, 1))
	_, err := unix.Write(peer, in)
	check(t, err)
	if g := receive(t, l, 1)[0]; !bytes.Equal(g.data, in) {
		t.Errorf("%d bytes of %d in slots of %d", len(g.data), len(in), l.SlotSize())
	}
	out := ethernet(lb.far.mac(), lb.near.mac(), pattern(9000, 2))
	check(t, l.Send(out))
	if g := read(t, peer); !bytes.Equal(g, out) {
		t.Errorf("the peer received %d bytes", len(g))
	}

	mac := link.MAC{2, 0, 0, 1, 2, 3}
	check(t, lb.near.nl.LinkSetHardwareAddr(lb.near.link(), mac[:]))
	w.until("at the new address", func(i link.Info) bool { return i.HardwareAddr == mac })

	lb.near.down()
	check(t, lb.near.nl.LinkSetName(lb.near.link(), "renamed"))
	lb.near.dev = "renamed"
	lb.near.up()
	w.until("renamed", func(i link.Info) bool { return i.Name == "renamed" && i.State == link.Up })
	exchange(t, lb, l)
	if n := l.Stats().Reopened; n != 0 {
		t.Errorf("reopened %d times", n)
	}
}

// The device may come, go and change while the link is used and asked.
func TestRestlessDevice(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendmmsg"])
	w := watch(t, l)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	mac := lb.near.mac()
	loop := func(f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	frames := make([]link.Frame, 8)
	loop(func() { l.Receive(frames); l.Release() })
	loop(func() { l.Send(ethernet(link.MAC{2}, mac, nil)) })
	loop(func() { l.Info(); l.Stats(); l.PollError(); l.FD() })
	loop(func() { l.JoinGroup(link.MAC{1}); l.LeaveGroup(link.MAC{1}) })
	for range 4 {
		lb.near.down()
		lb.near.up()
		check(t, lb.near.nl.LinkDel(lb.near.link()))
		lb.join(1500)
	}
	w.until("up again", func(i link.Info) bool {
		return i.State == link.Up && i.Index == lb.near.link().Attrs().Index
	})
	close(stop)
	wg.Wait()
	exchange(t, lb, l)
}

func TestLoopbackDevice(t *testing.T) {
	h := newHost(t, "lo")
	l := h.open(Options{AllEtherTypes: true})
	if i := l.Info(); i.Caps&link.CapLoopback == 0 || i.State != link.Up || i.MTU != 65536 {
		t.Errorf("%+v", i)
	}
	f := ethernet(link.MAC{}, link.MAC{}, pattern(30000, 0))
	check(t, l.Send(f))
	if g := receive(t, l, 1)[0]; !bytes.Equal(g.data, f) {
		t.Errorf("%d bytes", len(g.data))
	}
}

func TestUnusableDevices(t *testing.T) {
	h := newHost(t, "lo")
	_, err := Open("nosuch", Options{NetNS: h.path()})
	wantError(t, err, unix.ENODEV, "nosuch")
	defer h.tun("tun0", unix.IFF_TUN).Close()
	_, err = Open("tun0", Options{NetNS: h.path()})
	wantError(t, err, unix.EINVAL, "Ethernet")
	_, err = Open("lo", Options{NetNS: "/no/such/namespace"})
	wantError(t, err, unix.ENOENT, "/no/such/namespace")
	_, err = Open("lo", Options{NetNS: "/proc/self/exe"})
	wantError(t, err, unix.EINVAL, "setns")
}

// In the namespace of the thread that calls, without NetNS.
func TestOpenHere(t *testing.T) {
	h := newHost(t, "lo")
	var l *Link
	h.in(func() (err error) {
		l, err = Open("lo", Options{})
		return err
	})
	defer l.Close()
	if i := l.Info(); i.State != link.Up { // the machine's own may be down
		t.Errorf("%+v", i)
	}
}

func wantError(t *testing.T, err, want error, words string) {
	t.Helper()
	if !isError(err, want) || !strings.Contains(err.Error(), words) {
		t.Errorf("error is %q, want %q and %q", err, want, words)
	}
}
