package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
)

// tun makes a TUN device in the near namespace, a device without Ethernet, with a route to
// 198.51.100.0/24, and returns its file: a read takes one datagram.
func (l *lab) tun(t *testing.T) *os.File {
	t.Helper()
	fd := -1
	must(t, l.near.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("tun0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}))
	must(t, l.near.DisableIPv6("tun0"))
	must(t, l.near.SetUp("tun0"))
	must(t, l.near.AddLinkRoute("tun0", netip.MustParsePrefix("198.51.100.0/24")))
	f := os.NewFile(uintptr(fd), "tun0")
	t.Cleanup(func() { f.Close() })
	return f
}

// A datagram leaves as it is in the frame: without padding, with the checksum of its header,
// and an identification if it has none; the frame stays as it was.
func TestTunnel(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	tun := lb.tun(t)
	buf := make([]byte, 2000)
	sent := datagram(nearIP, ipv4.Addr{198, 51, 100, 7}, 1000, 2000, "through a tunnel")
	sent[15], sent[22] = 0x48, 33 // TOS, TTL
	binary.BigEndian.PutUint16(sent[24:], 0xdead)
	frame := append(bytes.Clone(sent), 0, 0, 0) // padding
	was := bytes.Clone(frame)
	must(t, k.Send(frame))
	n, err := tun.Read(buf)
	must(t, err)
	binary.BigEndian.PutUint16(sent[24:], 0)
	binary.BigEndian.PutUint16(sent[24:], ipv4.Checksum(sent[14:34]))
	if !bytes.Equal(buf[:n], sent[14:]) {
		t.Errorf("arrived as\n% x, want\n% x", buf[:n], sent[14:])
	}
	if !bytes.Equal(frame, was) {
		t.Error("the frame has changed")
	}
	binary.BigEndian.PutUint16(frame[18:], 0)
	must(t, k.Send(frame))
	if n, err = tun.Read(buf); err != nil || n != len(sent)-14 || binary.BigEndian.Uint16(buf[4:]) == 0 {
		t.Errorf("identification %x, %v", buf[4:6], err)
	}
}

// A checksum that is left to the link is right when the kernel, which verifies it, has it,
// and the frame is not written to.
func TestPartialChecksum(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	server := udp(t, lb.near, "127.0.0.1:7")
	for _, payload := range []string{"", "a", "even", "a longer one that is odd."} {
		f := datagram(localhost, localhost, 8, 7, payload)
		binary.BigEndian.PutUint16(f[40:], pseudo(f))
		f = append(f, 1, 2, 3, 4) // padding that must not count
		was := bytes.Clone(f)
		n, err := k.SendBatch([]link.TxFrame{{Data: f, PartialChecksum: true, CsumStart: 34, CsumOffset: 6}})
		if n != 1 || err != nil || !bytes.Equal(f, was) {
			t.Fatalf("%d, %v; the frame is as it was: %v", n, err, bytes.Equal(f, was))
		}
		buf := make([]byte, 100)
		if n, err = server.Recv(buf, unix.MSG_DONTWAIT); err != nil || string(buf[:n]) != payload {
			t.Errorf("%q arrived as %q, %v", payload, buf[:n], err)
		}
	}
}

// Fragments are put together by the kernel.
func TestFragments(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	server := udp(t, lb.near, "127.0.0.1:7")
	whole := datagram(localhost, localhost, 8, 7, "a datagram in two pieces")
	first, second := bytes.Clone(whole[:34+16]), append(bytes.Clone(whole[:34]), whole[34+16:]...)
	for _, f := range [][]byte{first, second} {
		binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	}
	first[20] |= 0x20 // more fragments
	second[21] = 2    // 16 bytes
	if n, err := k.SendBatch([]link.TxFrame{{Data: second}, {Data: first}}); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	buf := make([]byte, 100)
	if n, err := server.Recv(buf, unix.MSG_DONTWAIT); err != nil || string(buf[:n]) != "a datagram in two pieces" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// marked returns what mark and priority a datagram arrives with at a socket.
func marked(t *testing.T, u *inband.UDP) (mark, priority uint32) {
	t.Helper()
	control := make([]byte, 200)
	_, n, _, _, err := unix.Recvmsg(u.FD(), make([]byte, 100), control, unix.MSG_DONTWAIT)
	must(t, err)
	messages, err := unix.ParseSocketControlMessage(control[:n])
	must(t, err)
	for _, m := range messages {
		switch m.Header.Type {
		case unix.SO_MARK:
			mark = binary.NativeEndian.Uint32(m.Data)
		case unix.SO_PRIORITY:
			priority = binary.NativeEndian.Uint32(m.Data)
		}
	}
	return mark, priority
}

// Marks and priorities go along, on kernels that take no SO_PRIORITY as a control message
// too, and in order.
func TestMark(t *testing.T) {
	kernel := takesPriority
	defer func() { takesPriority = kernel }()
	for _, taken := range []bool{true, false} {
		if !taken {
			takesPriority = func(int) bool { return false }
		}
		lb := newLab(t)
		k := lb.open(t, Options{})
		if taken != (k.tx.prio.fd < 0) {
			t.Errorf("SO_PRIORITY is taken: %v, a socket for it: %d", taken, k.tx.prio.fd)
		}
		server := udp(t, lb.near, "127.0.0.1:7")
		must(t, server.SetOption(unix.SOL_SOCKET, unix.SO_RCVMARK, 1))
		if server.SetOption(unix.SOL_SOCKET, unix.SO_RCVPRIORITY, 1) != nil {
			t.Skip("the kernel does not tell priorities")
		}
		var batch []link.TxFrame
		for i := range 150 {
			batch = append(batch, link.TxFrame{Data: datagram(localhost, localhost, 8, 7, "x"), Mark: uint32(i / 2 % 5), Priority: uint32(i / 3 % 4)})
		}
		if n, err := k.SendBatch(batch); n != len(batch) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for i := range batch {
			if mark, priority := marked(t, server); mark != batch[i].Mark || priority != batch[i].Priority {
				t.Errorf("frame %d has mark %d and priority %d, want %d and %d", i, mark, priority, batch[i].Mark, batch[i].Priority)
			}
		}
	}
}

// Frames that make no sense are refused, and so is what the link cannot do.
func TestRefused(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	good := datagram(localhost, localhost, 8, 7, "x")
	long := datagram(localhost, localhost, 8, 7, string(make([]byte, 500)))
	with := func(at int, b byte) link.TxFrame {
		f := bytes.Clone(good)
		f[at] = b
		return link.TxFrame{Data: f}
	}
	for name, tt := range map[string]struct {
		f    link.TxFrame
		want unix.Errno
	}{
		"empty":                   {link.TxFrame{}, unix.EINVAL},
		"header of Ethernet only": {link.TxFrame{Data: good[:14]}, unix.EINVAL},
		"header cut":              {link.TxFrame{Data: good[:33]}, unix.EINVAL},
		"ARP":                     {with(13, 6), unix.EAFNOSUPPORT},
		"version 6":               {with(14, 0x65), unix.EINVAL},
		"header of 16 bytes":      {with(14, 0x44), unix.EINVAL},
		"header over its total":   {with(17, 19), unix.EINVAL},
		"total over its frame":    {with(17, 30), unix.EINVAL},
		"GSO": {link.TxFrame{Data: good, GSOSize: 100, PartialChecksum: true, CsumStart: 34, CsumOffset: 6},
			unix.EOPNOTSUPP},
		"checksum outside":   {link.TxFrame{Data: good, PartialChecksum: true, CsumStart: 43, CsumOffset: 6}, unix.EINVAL},
		"checksum far off":   {link.TxFrame{Data: long, PartialChecksum: true, CsumStart: 200, CsumOffset: 6}, unix.EINVAL},
		"checksum in header": {link.TxFrame{Data: good, PartialChecksum: true, CsumStart: 14, CsumOffset: 0}, unix.EINVAL},
		"no such device":     {link.TxFrame{Data: good, Device: 99}, unix.ENODEV},
	} {
		if n, err := k.SendBatch([]link.TxFrame{tt.f}); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: %d, %v; want %v", name, n, err, tt.want)
		}
	}
	must(t, k.Send(good))
}

// Without CAP_NET_RAW there is no link; one that is there goes on sending when the process has
// given it up, but for marks.
func TestWithoutCapability(t *testing.T) {
	lb := newLab(t)
	k := lb.open(t, Options{})
	type result struct{ open, send, mark, setup error }
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread has no capabilities any more
		var r result
		defer func() { done <- r }()
		if r.setup = unix.Setns(lb.near.FD(), unix.CLONE_NEWNET); r.setup != nil {
			return
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var nothing [2]unix.CapUserData
		if r.setup = unix.Capset(&header, &nothing[0]); r.setup != nil {
			return
		}
		_, r.open = Open(Options{})
		f := datagram(localhost, localhost, 8, 7, "x")
		r.send = k.Send(f)
		_, r.mark = k.SendBatch([]link.TxFrame{{Data: f, Mark: 1}})
	}()
	r := <-done
	must(t, r.setup)
	if !errors.Is(r.open, unix.EPERM) || r.send != nil || !errors.Is(r.mark, unix.EPERM) {
		t.Errorf("Open: %v, Send: %v, with a mark: %v", r.open, r.send, r.mark)
	}
}

// What is no IPv4 comes back by lo's ring, among what is, in order.
func TestOtherFrames(t *testing.T) {
	lb := newLab(t)
	var ring *tpacket.Link
	must(t, lb.near.Do(func() (err error) {
		ring, err = tpacket.Open("lo", tpacket.Options{AllEtherTypes: true})
		return err
	}))
	k := lb.open(t, Options{Ring: ring})
	other := bytes.Clone(datagram(localhost, localhost, 8, 7, "other"))
	copy(other[12:], []byte{0x88, 0xb5}) // for experiments (IEEE 802)
	plain := datagram(localhost, localhost, 8, 7, "plain")
	n, err := k.SendBatch([]link.TxFrame{{Data: plain}, {Data: other}, {Data: other}, {Data: plain}})
	if n != 4 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if s := k.Stats(); s.TxFrames != 4 || s.TxErrors != 0 {
		t.Errorf("%+v", s)
	}
	seen := 0
	var frames [16]link.Frame
	for end := time.Now().Add(patience); seen < 2 && time.Now().Before(end); {
		for _, f := range frames[:k.Receive(frames[:])] {
			if bytes.Equal(f.Data, other) {
				seen++
			}
		}
		k.Release()
	}
	if seen != 2 {
		t.Errorf("%d of 2 came back", seen)
	}
}
