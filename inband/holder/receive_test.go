package holder

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
)

var localhost = [4]byte{127, 0, 0, 1}

// What the kernel knows of a datagram comes with it.
func TestMetadata(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	d := hold(t, h, Request{})
	u := udp(t, n, "127.0.0.5:4711")
	options := []byte{1, 1, 148, 4, 0, 0, 1, 0} // no-op twice, router alert (RFC 2113), no-op, end
	must(t, u.SetOption(unix.SOL_IP, unix.IP_TTL, 77))
	must(t, u.SetOption(unix.SOL_IP, unix.IP_TOS, 0xb9))
	must(t, u.SetOption(unix.SOL_SOCKET, unix.SO_MARK, 4242))
	must(t, u.SetOption(unix.SOL_SOCKET, unix.SO_PRIORITY, 5))
	must(t, unix.SetsockoptString(u.FD(), unix.SOL_IP, unix.IP_OPTIONS, string(options)))
	start := time.Now().UnixNano()
	must(t, u.SendTo([]byte("hello"), addrPort([4]byte{127, 0, 0, 6}, d.Port())))
	got := receive(t, h, 1)[0]
	if got.Time < start || got.Time > time.Now().UnixNano() {
		t.Errorf("time %d, sent at %d", got.Time, start)
	}
	if !bytes.Equal(got.Options(), options) {
		t.Errorf("options %v", got.Options())
	}
	if got.payload() != "hello" || got.Len != 5 {
		t.Errorf("payload %q of %d bytes", got.payload(), got.Len)
	}
	got.Buffer, got.Time, got.options, got.optionsLen = nil, 0, [40]byte{}, 0
	want := Datagram{Len: 5, Source: [4]byte{127, 0, 0, 5}, SourcePort: 4711, Destination: [4]byte{127, 0, 0, 6}, Local: [4]byte{127, 0, 0, 6},
		Port: d.Port(), Device: 1, Holder: d.ID(), TTL: 77, TOS: 0xb9, Mark: 4242, Priority: 5}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	must(t, unix.SetsockoptString(u.FD(), unix.SOL_IP, unix.IP_OPTIONS, ""))
	must(t, u.SendTo(nil, addrPort(localhost, d.Port())))
	if got = receive(t, h, 1)[0]; got.Len != 0 || len(got.Options()) != 0 {
		t.Errorf("an empty datagram: %v", got)
	}
}

// Datagrams that one call sends come as the one that they are on lo (UDP_GRO); the longest
// datagram is whole, and one that is longer than its room says so.
func TestLengths(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	d := hold(t, h, Request{})
	u := udp(t, n, "127.0.0.1:0")
	must(t, u.SetOption(unix.SOL_UDP, unix.UDP_SEGMENT, 1000))
	must(t, u.SendTo(make([]byte, 10300), addrPort(localhost, d.Port())))
	if got := receive(t, h, 1)[0]; got.Len != 10300 || got.SegmentSize != 1000 {
		t.Errorf("a super-packet: %d bytes in segments of %d", got.Len, got.SegmentSize)
	}
	must(t, u.SetOption(unix.SOL_UDP, unix.UDP_SEGMENT, 0))
	long := bytes.Repeat([]byte("0123456"), 65507/7+1)[:65507]
	must(t, u.SendTo(long, addrPort(localhost, d.Port())))
	if got := receive(t, h, 1)[0]; got.payload() != string(long) || got.SegmentSize != 0 {
		t.Errorf("the longest: %d bytes in segments of %d", got.Len, got.SegmentSize)
	}
	must(t, u.SendTo(long, addrPort(localhost, d.Port())))
	ds := []Datagram{{Buffer: make([]byte, 100)}}
	if k := h.Receive(ds); k != 1 || ds[0].Len != len(long) || ds[0].payload() != string(long[:100]) {
		t.Errorf("cut: %d datagrams, %d bytes", k, ds[0].Len)
	}
	none(t, h)
}

// A port that always has datagrams does not keep others from theirs, how little ever is
// asked for at once.
func TestFair(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	u := udp(t, n, "127.0.0.1:0")
	var ports []uint16
	for range 5 {
		ports = append(ports, hold(t, h, Request{}).Port())
	}
	fill := func() {
		for range 20 {
			must(t, u.SendTo([]byte("x"), addrPort(localhost, ports[0])))
			must(t, u.SendTo([]byte("x"), addrPort(localhost, ports[1])))
		}
	}
	fill()
	for _, p := range ports[2:] {
		must(t, u.SendTo([]byte("y"), addrPort(localhost, p)))
	}
	for _, room := range []int{1, 2, 3, 64} {
		quiet := 0
		ds := rooms(room)
		for range 20 {
			k := h.Receive(ds)
			for _, d := range ds[:k] {
				if d.payload() == "y" {
					quiet++
				}
			}
		}
		if quiet != 3 {
			t.Errorf("by %d: %d of 3 quiet ports were served in 20 turns", room, quiet)
		}
		fill()
		for _, p := range ports[2:] {
			must(t, u.SendTo([]byte("y"), addrPort(localhost, p)))
		}
	}
}

// One call takes all that there is room for, however it is distributed.
func TestReceiveFills(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	u := udp(t, n, "127.0.0.1:0")
	busy, quiet := hold(t, h, Request{}).Port(), hold(t, h, Request{}).Port()
	for range 70 {
		must(t, u.SendTo(nil, addrPort(localhost, busy)))
	}
	must(t, u.SendTo(nil, addrPort(localhost, quiet)))
	ds := rooms(100)
	if a, b := h.Receive(ds), h.Receive(ds); a != batchSize || a+b != 71 {
		t.Errorf("%d, then %d of 71 datagrams", a, b)
	}
}

// Receiving allocates nothing, and one call takes what many ports have.
func TestReceiveAllocs(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	u := udp(t, n, "127.0.0.1:0")
	var to []uint16
	for range 8 {
		to = append(to, hold(t, h, Request{}).Port())
	}
	ds := rooms(batchSize)
	peers := make([]unix.RawSockaddrInet4, len(to))
	for i, p := range to {
		peers[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(p), Addr: localhost}
	}
	allocs := testing.AllocsPerRun(50, func() {
		for i := range peers {
			for range 3 {
				sendRaw(t, u, &peers[i])
			}
		}
		if k := h.Receive(ds); k != 3*len(to) {
			t.Errorf("%d datagrams", k)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// 2000 ports are held, shown by ss(8), and received from.
func TestMany(t *testing.T) {
	const ports = 2000
	n := newSpace(t)
	h := newHolders(t, n)
	u := udp(t, n, "127.0.0.1:0")
	seen := map[uint16]bool{}
	for i := range ports {
		d := hold(t, h, Request{Port: uint16(10000 + i)})
		seen[d.Port()] = false
	}
	if ss, err := exec.LookPath("ss"); err != nil {
		t.Log("ss is not there")
	} else {
		var out []byte
		must(t, n.Do(func() error { out, err = exec.Command(ss, "-Huna").Output(); return err }))
		if k := strings.Count(string(out), "0.0.0.0:1"); k != ports {
			t.Errorf("ss shows %d of %d", k, ports)
		}
	}
	for p := range seen {
		must(t, u.SendTo([]byte("x"), addrPort(localhost, p)))
	}
	for _, d := range receive(t, h, ports) {
		if seen[d.Port] {
			t.Errorf("port %d twice", d.Port)
		}
		seen[d.Port] = true
	}
	none(t, h)
	if await(h, 0) {
		t.Error("the descriptor is readable with nothing to receive")
	}
}

// While a port is held the kernel says of none of its datagrams that the port is
// unreachable; when it is not any more, it does.
func TestNoPortUnreachable(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	must(t, h.SetRings([]int32{1}))
	d := hold(t, h, Request{})
	u := udp(t, n, "127.0.0.1:0")
	must(t, u.Connect(addrPort(localhost, d.Port())))
	for range 3 {
		if _, err := u.Send([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := u.Recv(make([]byte, 1), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("while it is held: %v", err)
	}
	none(t, h)
	d.Close()
	u.Send([]byte("x"))
	if _, err := u.Recv(make([]byte, 1), unix.MSG_DONTWAIT); err != unix.ECONNREFUSED {
		t.Errorf("afterwards: %v", err)
	}
}

// Ports come and go while others are received from: by nobody's lock for long, and no
// descriptor of a closed one is used.
func TestConcurrent(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	steady := hold(t, h, Request{})
	u := udp(t, n, "127.0.0.1:0")
	var workers sync.WaitGroup
	for w := range 3 {
		workers.Go(func() { churn(t, n, h, u, w) })
	}
	ended := make(chan struct{})
	go func() { workers.Wait(); close(ended) }()
	ds := rooms(8)
	for open := true; open; {
		select {
		case <-ended:
			open = false
		default:
		}
		for _, d := range ds[:h.Receive(ds)] {
			if p := binary.BigEndian.Uint16(d.Buffer); p != d.Port {
				t.Fatalf("a datagram for port %d came as one for %d", p, d.Port)
			}
		}
	}
	sendPort(u, steady.Port())
	receive(t, h, 1)
}

// churn holds ports, sends to them, and lets go of them.
func churn(t *testing.T, n *netlab.Namespace, h *Holders, u *inband.UDP, w int) {
	for i := range 100 {
		d, e := h.Hold(Request{Port: uint16(20000 + 3*(i%7) + w), ReusePort: i%2 == 0})
		if e != 0 {
			t.Error(e)
			return
		}
		sendPort(u, d.Port())
		if i%10 == 0 {
			if err := h.SetRings([]int32{int32(i + 50)}); err != nil {
				t.Error(err)
			}
		}
		d.Close()
		d.Close()
	}
}

// sendPort sends a datagram that says for which port it is.
func sendPort(u *inband.UDP, port uint16) {
	u.SendTo(binary.BigEndian.AppendUint16(nil, port), addrPort(localhost, port))
}

// A child of the process, between fork and exec, has a copy of each descriptor: what comes to
// a closed port meanwhile is nobody's.
func TestClosedWhileCopied(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	d := hold(t, h, Request{})
	port := d.Port()
	copied, err := unix.Dup(d.s.fd)
	must(t, err)
	defer unix.Close(copied)
	d.Close()
	sendPort(udp(t, n, "127.0.0.1:0"), port)
	none(t, h)
	if await(h, 0) {
		t.Error("the descriptor is readable")
	}
}

// A Holders that is closed gives and takes nothing.
func TestClosed(t *testing.T) {
	n := newSpace(t)
	h := newHolders(t, n)
	d := hold(t, h, Request{})
	port := d.Port()
	must(t, h.Close())
	must(t, h.Close())
	if _, e := h.Hold(Request{}); e != unix.EBADF {
		t.Errorf("Hold: %v", e)
	}
	if _, e := d.Connect(Peer{}); e != unix.EBADF {
		t.Errorf("Connect: %v", e)
	}
	if e := d.Disconnect(); e != unix.EBADF {
		t.Errorf("Disconnect: %v", e)
	}
	if err := h.SetRings(nil); err != unix.EBADF {
		t.Errorf("SetRings: %v", err)
	}
	if h.FD() != -1 || h.Receive(rooms(1)) != 0 {
		t.Error("there is a descriptor, or a datagram")
	}
	d.Close()
	_, release, e := plain(n)(Request{Port: port}, false)
	ok(t, e)
	release()
}
