package sockapi

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// both opens a UDP socket of the kernel's and one of the stack's, bound to 127.0.0.1.
func both(t testing.TB, a *API) map[string]*Socket {
	t.Helper()
	return map[string]*Socket{"in-band": waitSocket(t, a, 0), "out-of-band": waitSocket(t, a, SOCK_OOB)}
}

// Of several messages those before one that cannot be sent are, and the first says why it
// cannot; the same in-band and out-of-band.
func TestSendmmsgStops(t *testing.T) {
	a := newAPI(t)
	malformed := make([]byte, 16)
	binary.NativeEndian.PutUint64(malformed, 99) // longer than there is
	said := make(map[string][]error)
	for name, s := range both(t, a) {
		good := Mmsghdr{Hdr: Msghdr{Name: nameOf(t, s), Iov: [][]byte{[]byte("x")}}}
		stranger, control, path := good, good, good
		stranger.Hdr.Name = RawSockaddr(unix.AF_INET6, make([]byte, 26))
		path.Hdr.Name = Unix("@x")
		control.Hdr.Control = malformed
		for what, bad := range map[string]Mmsghdr{"another family": stranger, "malformed control": control, "a path": path} {
			if n, err := s.Sendmmsg([]Mmsghdr{good, bad, good}, 0); n != 1 || err != nil {
				t.Errorf("%s, the second has %s: %d, %v", name, what, n, err)
			}
			if n, err := s.Sendmmsg([]Mmsghdr{bad, good}, 0); n > 0 || err == nil {
				t.Errorf("%s, the first has %s: %d, %v", name, what, n, err)
			}
			_, err := s.Sendmsg(&bad.Hdr, 0)
			if said[what] = append(said[what], err); err == nil || said[what][0] != err {
				t.Errorf("%s, the only one has %s: %v, the other says %v", name, what, err, said[what][0])
			}
		}
		for range 3 { // one for each
			if n, err := s.Recv(make([]byte, 9), 0); n != 1 || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
		}
		if _, err := s.Recv(make([]byte, 9), 0); err != unix.EAGAIN {
			t.Errorf("%s: more than was sent: %v", name, err)
		}
	}
}

// A batch keeps nothing of a caller's memory once it is given back.
func TestBatchForgets(t *testing.T) {
	a := newAPI(t)
	b := a.batch(3)
	b.in[0].Buffers, b.out[1].Buffers = [][]byte{nil}, [][]byte{nil}
	if a.release(b); b.in[0].Buffers != nil || b.out[1].Buffers != nil {
		t.Error("buffers of the caller are kept")
	}
}

// Frames have names and control messages of their own, by one call and by several.
func TestFrameMessages(t *testing.T) {
	near, far, farEnd := newWire(t)
	s := openOOB(t, near, unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	r := openOOB(t, far, unix.AF_PACKET, unix.SOCK_DGRAM, HTONS(0x88b5))
	if err := r.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	to := LinkLayer(2, 0x88b5, farEnd.Info().HardwareAddr)
	malformed := make([]byte, 16)
	binary.NativeEndian.PutUint64(malformed, 99)
	message := func(text string, name Sockaddr, control []byte) Mmsghdr {
		return Mmsghdr{Hdr: Msghdr{Name: name, Iov: [][]byte{[]byte(text)}, Control: control}}
	}
	short := RawSockaddr(99, make([]byte, 3))
	priority := AppendCmsg(nil, unix.SOL_SOCKET, unix.SO_PRIORITY, []byte{1, 0, 0, 0})
	for _, tt := range []struct {
		name string
		msgs []Mmsghdr
		n    int
		err  error
	}{
		{"two", []Mmsghdr{message("a", to, nil), message("b", to, nil)}, 2, nil},
		{"with a control message", []Mmsghdr{message("a", to, priority), message("b", to, nil)}, 2, nil},
		{"a name that is short", []Mmsghdr{message("a", short, nil)}, 0, unix.EINVAL},
		{"a second name that is short", []Mmsghdr{message("a", to, nil), message("b", short, nil)}, 1, nil},
		{"malformed control", []Mmsghdr{message("a", to, malformed)}, 0, unix.EINVAL},
		{"malformed control of the second", []Mmsghdr{message("a", to, nil), message("b", to, malformed)}, 1, nil},
		{"no name", []Mmsghdr{message("a", Sockaddr{}, nil)}, 0, unix.ENXIO},
	} {
		n, err := s.Sendmmsg(tt.msgs, 0)
		if n != tt.n || err != tt.err && (err != nil || tt.err != nil) {
			t.Errorf("%s: %d, %v, want %d, %v", tt.name, n, err, tt.n, tt.err)
		}
		for range tt.n {
			if got, err := r.Recv(make([]byte, 9), 0); got != 1 || err != nil {
				t.Errorf("%s: received %d, %v", tt.name, got, err)
			}
		}
	}
	if _, err := s.Sendto([]byte("a"), 0, short); err != unix.EINVAL {
		t.Errorf("Sendto, a name that is short: %v", err)
	}
	if _, err := s.Sendto([]byte("a"), 0, LinkLayer(77, 0x88b5, farEnd.Info().HardwareAddr)); err != unix.ENXIO {
		t.Errorf("Sendto by no interface: %v", err)
	}
	for call, receive := range map[string]func(flags int) error{
		"Recv":     func(f int) error { _, err := r.Recv(nil, f); return err },
		"Recvmsg":  func(f int) error { _, err := r.Recvmsg(&Msghdr{}, f); return err },
		"Recvmmsg": func(f int) error { _, err := r.Recvmmsg(make([]Mmsghdr, 1), f, -1); return err },
	} {
		if err := receive(unix.MSG_OOB | unix.MSG_DONTWAIT); err != unix.EINVAL {
			t.Errorf("%s out of band: %v", call, err)
		}
		if err := receive(unix.MSG_ERRQUEUE | unix.MSG_DONTWAIT); err != unix.EAGAIN {
			t.Errorf("%s of no error: %v", call, err)
		}
	}
	long := to // with a hardware address of eight bytes, which fill it
	long.Halen = 8
	if _, err := s.Sendto([]byte("a"), 0, long); err != nil {
		t.Errorf("Sendto a name that is just long enough: %v", err)
	}
	if _, from, err := r.Recvfrom(make([]byte, 9), 0); err != nil || from.Family != unix.AF_PACKET || from.IfIndex != 2 {
		t.Errorf("received from %+v, %v", from, err)
	}
	if err := r.Shutdown(77); err != unix.EOPNOTSUPP {
		t.Errorf("Shutdown in no direction: %v", err)
	}
	name, err := r.Getsockname()
	if err != nil || name.Family != unix.AF_PACKET {
		t.Errorf("a packet socket's name: %+v, %v", name, err)
	}
}

// How many messages a call takes: those that are there; the first only, if its time is over;
// one at a time with MSG_PEEK.
func TestRecvmmsgTakes(t *testing.T) {
	a := newAPI(t)
	for name, s := range both(t, a) {
		for _, tt := range []struct {
			queued, room int
			flags        int
			timeout      time.Duration
			want         int
		}{
			{3, 5, unix.MSG_DONTWAIT, -1, 3},
			{3, 2, unix.MSG_DONTWAIT, -1, 2},
			{3, 5, unix.MSG_DONTWAIT, 0, 1},
			{3, 5, unix.MSG_DONTWAIT, time.Hour, 3},
			{3, 5, unix.MSG_WAITFORONE, -1, 3},
			{3, 2, unix.MSG_PEEK | unix.MSG_DONTWAIT, -1, 2},
		} {
			for range tt.queued {
				if _, err := s.Sendto([]byte("x"), 0, nameOf(t, s)); err != nil {
					t.Fatal(err)
				}
			}
			msgs := make([]Mmsghdr, tt.room)
			for i := range msgs {
				msgs[i].Hdr.Iov = [][]byte{make([]byte, 9)}
			}
			if n, err := s.Recvmmsg(msgs, tt.flags, tt.timeout); n != tt.want || err != nil {
				t.Errorf("%s, %d of %d with flags %#x in %v: %d, %v", name, tt.queued, tt.room, tt.flags, tt.timeout, n, err)
			}
			for {
				if _, err := s.Recv(nil, unix.MSG_DONTWAIT); err != nil {
					break
				}
			}
		}
		if n, err := s.Recvmmsg(nil, 0, -1); n != 0 || err != nil {
			t.Errorf("%s, no messages: %d, %v", name, n, err)
		}
		for n, want := range map[int]error{maxBuffers: unix.EAGAIN, maxBuffers + 1: unix.EMSGSIZE} {
			if _, err := s.Recvmmsg([]Mmsghdr{{Hdr: Msghdr{Iov: make([][]byte, n)}}}, unix.MSG_DONTWAIT, -1); err != want {
				t.Errorf("%s, %d buffers: %v", name, n, err)
			}
		}
	}
}

// What is cut says so; a socket that is shut down gives nothing of nobody.
func TestWhatIsTold(t *testing.T) {
	a := newAPI(t)
	for name, s := range both(t, a) {
		send := func() {
			if _, err := s.Sendto([]byte("datagram"), 0, nameOf(t, s)); err != nil {
				t.Fatal(err)
			}
		}
		for _, room := range []int{7, 8, 9} {
			for _, flags := range []int{0, unix.MSG_TRUNC} {
				want := min(room, 8)
				if flags != 0 {
					want = 8
				}
				send()
				if n, err := s.Recv(make([]byte, room), flags); n != want || err != nil {
					t.Errorf("%s, Recv with room for %d, flags %#x: %d, %v", name, room, flags, n, err)
				}
				send()
				m := Msghdr{Iov: [][]byte{make([]byte, room)}}
				if n, err := s.Recvmsg(&m, flags); n != want || err != nil || m.Flags&unix.MSG_TRUNC != 0 != (room < 8) {
					t.Errorf("%s, Recvmsg with room for %d, flags %#x: %d, flags %#x, %v", name, room, flags, n, m.Flags, err)
				}
			}
		}
		if err := s.Connect(nameOf(t, s)); err != nil {
			t.Fatal(err)
		}
		if err := s.Shutdown(unix.SHUT_RD); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Fcntl(unix.F_SETFL, 0); err != nil { // it may wait
			t.Fatal(err)
		}
		n, from, err := s.Recvfrom(make([]byte, 9), 0)
		if n != 0 || err != nil || !from.IsZero() {
			t.Errorf("%s, shut down: %d from %v, %v", name, n, from, err)
		}
	}
}

// EVL's dates are times of CLOCK_MONOTONIC, in seconds that may be none and nanoseconds
// below a second; those beyond what a clock can tell are without end.
func TestDates(t *testing.T) {
	a := newAPI(t)
	last := int64(math.MaxInt64/int64(time.Second) - 1)
	for _, tt := range []struct {
		date *unix.Timespec
		want error
		end  bool
	}{
		{nil, nil, true},
		{&unix.Timespec{}, nil, false},
		{&unix.Timespec{Sec: -1}, unix.EINVAL, false},
		{&unix.Timespec{Nsec: -1}, unix.EINVAL, false},
		{&unix.Timespec{Nsec: 1e9}, unix.EINVAL, false},
		{&unix.Timespec{Nsec: 1e9 - 1}, nil, false},
		{&unix.Timespec{Sec: last - 1}, nil, false},
		{&unix.Timespec{Sec: last}, nil, true},
		{&unix.Timespec{Sec: math.MaxInt64}, nil, true},
	} {
		end, err := a.deadlineAt(tt.date)
		if err != tt.want && (err != nil || tt.want != nil) || err == nil && (end == stack.NoDeadline) != tt.end {
			t.Errorf("%+v: %d, %v", tt.date, end, err)
		}
	}
	if _, ok := ParseIOTimes(make([]byte, IOTimesLen-1)); ok {
		t.Error("a record that is short")
	}
	if _, ok := ParseIOTimes(make([]byte, IOTimesLen)); !ok {
		t.Error("no record")
	}
	s, _ := oobSocket(t, a)
	for _, date := range []*unix.Timespec{{Sec: -1}, {Nsec: 1e9}} {
		if _, err := s.OobRecvmsg(&Msghdr{}, date, unix.MSG_DONTWAIT); err != unix.EINVAL {
			t.Errorf("OobRecvmsg until %+v: %v", date, err)
		}
	}
	name := nameOf(t, s)
	bad := Msghdr{Name: name, Iov: make([][]byte, maxBuffers+1)}
	if _, err := s.OobSendmsg(&bad, nil, 0); err != unix.EMSGSIZE {
		t.Errorf("OobSendmsg of many: %v", err)
	}
	if _, err := s.OobRecvmsg(&bad, nil, unix.MSG_DONTWAIT); err != unix.EMSGSIZE {
		t.Errorf("OobRecvmsg of many: %v", err)
	}
	bad.Iov = make([][]byte, maxBuffers)
	if _, err := s.OobRecvmsg(&bad, nil, unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("OobRecvmsg of as many as may be: %v", err)
	}
}

// Arguments of ioctl(2) and fcntl(2) that are short or wrong.
func TestShortArguments(t *testing.T) {
	a := newAPI(t)
	s := waitSocket(t, a, SOCK_OOB)
	if _, err := s.Sendto([]byte("four"), 0, nameOf(t, s)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		req  uint
		n    int
		want error
	}{
		{"SIOCINQ", unix.SIOCINQ, 4, nil}, {"SIOCINQ", unix.SIOCINQ, 3, unix.EFAULT},
		{"FIONBIO", FIONBIO, 4, nil}, {"FIONBIO", FIONBIO, 3, unix.EFAULT},
		{"SIOCGSTAMP", unix.SIOCGSTAMP, 15, unix.EFAULT},
		{"SIOCGIFNAME", unix.SIOCGIFNAME, 39, unix.EFAULT},
	} {
		if _, err := s.Ioctl(tt.req, make([]byte, tt.n)); err != tt.want && (err != nil || tt.want != nil) {
			t.Errorf("%s of %d bytes: %v", tt.name, tt.n, err)
		}
	}
	for req, want := range map[uint]uint32{unix.SIOCINQ: 4, unix.SIOCOUTQ: 0} {
		b := make([]byte, 4)
		if _, err := s.Ioctl(req, b); err != nil || binary.NativeEndian.Uint32(b) != want {
			t.Errorf("ioctl %#x: %d, %v", req, binary.NativeEndian.Uint32(b), err)
		}
	}
	for _, tt := range []struct {
		arg  int
		want error
	}{{unix.FD_CLOEXEC, nil}, {0, unix.EINVAL}} {
		if _, err := s.Fcntl(unix.F_SETFD, tt.arg); err != tt.want && (err != nil || tt.want != nil) {
			t.Errorf("F_SETFD %d: %v", tt.arg, err)
		}
	}
}

// Programs may be as long as BPF's may be, in-band and out-of-band.
func TestLongPrograms(t *testing.T) {
	a := newAPI(t)
	program := func(n int) []bpf.RawInstruction {
		all := make([]bpf.RawInstruction, n)
		for i := range all {
			all[i] = bpf.RawInstruction{Op: 0x06, K: 0xffff} // ret
		}
		return all
	}
	for name, s := range both(t, a) {
		for n, want := range map[int]error{0: unix.EINVAL, 1: nil, unix.BPF_MAXINSNS: nil, unix.BPF_MAXINSNS + 1: unix.EINVAL} {
			err := s.AttachFilter(program(n))
			if errors.Is(err, unix.ENOMEM) && n == unix.BPF_MAXINSNS { // net.core.optmem_max
				err = nil
			}
			if err != want && (err != nil || want != nil) {
				t.Errorf("%s, a filter of %d instructions: %v", name, n, err)
			}
			grouped, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB, 0)
			if err != nil {
				t.Fatal(err)
			}
			enable(t, grouped, unix.SOL_SOCKET, unix.SO_REUSEPORT)
			if err := grouped.AttachReusePort(program(n)); err != want && (err != nil || want != nil) {
				t.Errorf("a choice by %d instructions: %v", n, err)
			}
			grouped.Close()
			if err := s.AttachReusePort(program(n)); (n == 0 || n > unix.BPF_MAXINSNS) && err != unix.EINVAL {
				t.Errorf("%s, a choice by %d instructions: %v", name, n, err)
			}
		}
	}
}

// Addresses that are just long enough have what there is of them.
func TestShortestAddresses(t *testing.T) {
	var buf [addrSize]byte
	binary.NativeEndian.PutUint16(buf[:], unix.AF_INET6)
	buf[3], buf[8], buf[23], buf[24] = 9, 0x20, 1, 5
	for _, n := range []int{inet6Len - 5, inet6Len - 4, inet6Len - 1, inet6Len} {
		a := decodeSockaddr(&buf, n)
		if a.Port == 9 != (n >= inet6Len-4) || a.IfIndex == 5 != (n >= inet6Len) || a.addr[15] == 1 != (n >= inet6Len-4) {
			t.Errorf("IPv6 of %d bytes: %+v", n, a)
		}
	}
	buf = [addrSize]byte{}
	binary.NativeEndian.PutUint16(buf[:], unix.AF_PACKET)
	buf[3], buf[4] = 8, 2
	for _, n := range []int{packetHead - 1, packetHead} {
		if a := decodeSockaddr(&buf, n); a.IfIndex == 2 != (n >= packetHead) {
			t.Errorf("a device of %d bytes: %+v", n, a)
		}
	}
	for _, n := range []int{6, 16, 17, 20} {
		buf[11], buf[packetHead+n-1] = byte(n), byte(n)
		a := decodeSockaddr(&buf, packetHead+n)
		if (a.path != "") != (n > len(a.addr)) || a.hardware() != string(buf[packetHead:packetHead+n]) {
			t.Errorf("a hardware address of %d bytes: %x", n, a.hardware())
		}
	}
}

// Poll says what it sees of a stack that is closed, and that there is no descriptor to sleep
// with, after which none is left open.
func TestPollEnds(t *testing.T) {
	a := newAPI(t)
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	quiet, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(quiet)
	s, inner := waitSocket(t, a, SOCK_OOB), waitEpoll(t, a)
	if err := inner.CtlFd(unix.EPOLL_CTL_ADD, quiet, EpollEvent{Events: unix.EPOLLIN}); err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for name, fds := range map[string][]PollFd{
		"a descriptor":           {{Socket: s, Events: unix.POLLIN}, {Fd: quiet, Events: unix.POLLIN}},
		"an Epoll with one":      {{Socket: s, Events: unix.POLLIN}, {Epoll: inner, Events: unix.POLLIN}},
		"an Epoll, and one more": {{Epoll: inner, Events: unix.POLLIN}, {Fd: quiet, Events: unix.POLLIN}},
	} {
		refused, open := 0, 0
		for limit := uint64(1); ; limit++ { // poll(2) itself takes no more than the limit
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
				t.Fatal(err)
			}
			n, err := a.Poll(fds, time.Millisecond)
			unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
			if err == nil && n == 0 {
				break
			}
			if limit > 1000 || !errors.Is(err, unix.EMFILE) {
				t.Fatalf("%s, with %d descriptors: %d, %v", name, limit, n, err)
			}
			refused++
			all, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				t.Fatal(err)
			}
			if open == 0 {
				open = len(all)
			} else if len(all) > open {
				t.Errorf("%s: %d descriptors are open, %d before", name, len(all), open)
			}
		}
		if refused == 0 {
			t.Errorf("%s: never refused", name)
		}
	}
	if _, err := a.Select(&FdSet{fds: map[int]struct{}{-1: {}}}, nil, nil, 0); err != unix.EBADF {
		t.Errorf("select of no descriptor: %v", err)
	}
	a.Stack().Close()
	if _, err := a.Select(&FdSet{fds: map[int]struct{}{quiet: {}}}, nil, nil, time.Minute); err != unix.ENETDOWN {
		t.Errorf("closed, select: %v", err)
	}
	for _, timeout := range []time.Duration{0, time.Second, -1} {
		if n, err := a.Poll([]PollFd{{Fd: fd, Events: unix.POLLIN}}, timeout); n != 1 || err != nil {
			t.Errorf("closed, something is ready, in %v: %d, %v", timeout, n, err)
		}
		if n, err := a.Poll([]PollFd{{Fd: quiet, Events: unix.POLLIN}}, timeout); n != 0 || err != unix.ENETDOWN {
			t.Errorf("closed, nothing is ready, in %v: %d, %v", timeout, n, err)
		}
	}
}

// IP options come as a control message if they are wanted.
func TestOptionsAreTold(t *testing.T) {
	a := newAPI(t)
	s := waitSocket(t, a, SOCK_OOB)
	for _, wanted := range []bool{false, true} {
		if wanted {
			enable(t, s, unix.SOL_IP, unix.IP_RECVOPTS)
		}
		if err := s.Setsockopt(unix.SOL_IP, unix.IP_OPTIONS, []byte{1, 1, 1, 0}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sendto([]byte("x"), 0, nameOf(t, s)); err != nil {
			t.Fatal(err)
		}
		if _, got := receiveControl(t, s); len(got) > 0 != wanted {
			t.Errorf("wanted %v: %v", wanted, got)
		}
	}
}

// Groups of IPv6 are options of IPv6.
func TestGroupLevel(t *testing.T) {
	for group, want := range map[string]int{"239.1.1.1": unix.SOL_IP, "ff02::1": unix.SOL_IPV6, "::ffff:239.1.1.1": unix.SOL_IP} {
		if got := groupLevel(netip.MustParseAddr(group)); got != want {
			t.Errorf("%s: %d", group, got)
		}
	}
}
