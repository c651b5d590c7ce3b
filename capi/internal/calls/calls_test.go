package calls

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// start returns a library over a stack that has a loopback device only.
func start(t testing.TB) *Library {
	t.Helper()
	st, err := stack.New(stack.Config{Spin: stack.SpinNever})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	l := new(Library)
	l.now.Store(&running{api: sockapi.New(st), close: st.Close, spin: stack.SpinNever})
	return l
}

// raw returns a struct sockaddr_in.
func raw(port uint16) []byte {
	a := sockapi.Inet4([4]byte{127, 0, 0, 1}, port)
	return a.Raw()
}

// bound returns a socket that is bound to a port.
func bound(t testing.TB, l *Library, port uint16) int {
	t.Helper()
	h := l.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if h < 0 {
		t.Fatal(h)
	}
	if e := l.Bind(h, raw(port)); e != 0 {
		t.Fatal(e)
	}
	return h
}

func TestHandles(t *testing.T) {
	l := start(t)
	open := func() int { return l.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0) }
	for want := range 3 {
		if h := open(); h != want {
			t.Fatalf("handle %d, want %d", h, want)
		}
	}
	if e := l.Close(1); e != 0 {
		t.Error(e)
	}
	if e := l.Close(1); e != badHandle {
		t.Errorf("closed again: %d", e)
	}
	if h := l.EpollCreate(); h != 1 {
		t.Errorf("the lowest free one is 1, not %d", h)
	}
	for h, want := range map[int]int{-1: badHandle, 3: badHandle, maxHandles: badHandle, maxHandles + 5: badHandle, 1: -int(unix.ENOTSOCK)} {
		if e := l.Sendto(h, nil, 0, raw(9)); e != want {
			t.Errorf("handle %d: %d, want %d", h, e, want)
		}
	}
	if e := l.EpollWait(0, make([]EpollEvent, 1), 0); e != invalid {
		t.Errorf("epoll of a socket: %d", e)
	}
	for range chunkSize {
		open()
	}
	if h := open(); h != 3+chunkSize {
		t.Errorf("in the second chunk: %d", h)
	}
	if e := l.Close(2); e != 0 || open() != 2 {
		t.Errorf("%d, or the number is not used again", e)
	}
	if e := l.Stop(); e != 0 {
		t.Error(e)
	}
	if e := open(); e != -int(unix.ENETDOWN) {
		t.Errorf("without a stack: %d", e)
	}
	if e := l.Close(0); e != badHandle {
		t.Errorf("after Stop: %d", e)
	}
}

// A table that is full says so, and one number that is free again is found.
func TestTableFull(t *testing.T) {
	var tab table
	o := &object{}
	for want := range maxHandles {
		if h := tab.add(o); h != want {
			t.Fatalf("%d, want %d", h, want)
		}
	}
	if h := tab.add(o); h != -1 {
		t.Errorf("one more: %d", h)
	}
	tab.take(4711)
	if a, b := tab.add(o), tab.add(o); a != 4711 || b != -1 {
		t.Errorf("%d, %d", a, b)
	}
	if n := len(tab.takeAll()); n != maxHandles || tab.add(o) != 0 {
		t.Errorf("%d were there", n)
	}
}

// Sockets are opened and closed by many while the stack stops: none is left.
func TestStopMeanwhile(t *testing.T) {
	for range 20 {
		l := start(t)
		st := l.now.Load().api.Stack()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					h := l.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
					if h < 0 {
						return
					}
					if h%2 == 0 {
						l.Close(h)
					}
				}
			})
		}
		l.Stop()
		wg.Wait()
		if n := len(st.Sockets()); n != 0 || len(l.table.takeAll()) != 0 {
			t.Fatalf("%d sockets are left", n)
		}
	}
}

// message is a struct msghdr with one buffer.
func message(b []byte, name []byte) *unix.Msghdr {
	m := &unix.Msghdr{Iov: &unix.Iovec{Base: &b[0], Len: uint64(len(b))}, Iovlen: 1}
	if name != nil {
		m.Name, m.Namelen = &name[0], uint32(len(name))
	}
	return m
}

// No call allocates for a datagram, nor keeps the caller's memory.
func TestAllocations(t *testing.T) {
	l := start(t)
	s := bound(t, l, 9)
	to, from := raw(9), make([]byte, 28)
	b, size := make([]byte, 64), uint32(len(from))
	control := make([]byte, 256)
	out, in := message(b, to), message(b, from)
	in.Control, in.Controllen = &control[0], uint64(len(control))
	for _, name := range []int{unix.IP_PKTINFO, unix.IP_RECVTTL} {
		if e := l.Setsockopt(s, unix.SOL_IP, name, []byte{1, 0, 0, 0}); e != 0 {
			t.Fatal(e)
		}
	}
	long := message(b, to)
	iov := make([]unix.Iovec, 20)
	for i := range iov {
		iov[i] = unix.Iovec{Base: &b[0], Len: 3}
	}
	long.Iov, long.Iovlen = &iov[0], uint64(len(iov))
	outs, ins := make([]Mmsghdr, 16), make([]Mmsghdr, 16)
	for i := range outs {
		outs[i].Hdr, ins[i].Hdr = *message(b, to), *message(make([]byte, 64), make([]byte, 16))
	}
	want, cut := []Want{{Handle: int32(s), Events: unix.POLLIN}}, uint32(0)
	fds, nfds, until := make([]int32, 8), uint32(0), int64(0)
	e := l.EpollCreate()
	ev := EpollEvent{Events: unix.EPOLLIN}
	if r := l.EpollCtl(e, unix.EPOLL_CTL_ADD, s, &ev); r != 0 {
		t.Fatal(r)
	}
	events := make([]EpollEvent, 8)
	send := func() int { return l.Sendto(s, b, 0, to) }
	recv := func() int { return l.Recvfrom(s, b, 0, nil, nil) }
	limit := unix.Timespec{Sec: 5}
	for name, calls := range map[string][]func() int{
		"sendto, recvfrom":  {send, func() int { return l.Recvfrom(s, b, 0, &from[0], &size) }},
		"sendmsg, recvmsg":  {func() int { return l.Sendmsg(s, out, 0) }, func() int { in.Controllen = 256; return l.Recvmsg(s, in, 0) }},
		"many buffers":      {func() int { return l.Sendmsg(s, long, 0) }, func() int { return l.Recvmsg(s, long, 0) }},
		"recvmsg, cut":      {send, func() int { return l.RecvmsgCut(s, in, 0, &cut) }},
		"sendmmsg recvmmsg": {func() int { return l.Sendmmsg(s, outs, 0) }, func() int { return l.Recvmmsg(s, ins, 0, nil) }},
		"recvmmsg, timed":   {func() int { return l.Sendmmsg(s, outs, 0) }, func() int { limit.Sec = 5; return l.Recvmmsg(s, ins, 0, &limit) }},
		"recvmmsg, cut":     {func() int { return l.Sendmmsg(s, outs, 0) }, func() int { return l.RecvmmsgCut(s, ins, 0, &cut) }},
		"poll":              {send, func() int { return l.Poll(want, -1) }, recv},
		"spin":              {send, func() int { return l.Spin(want, SpinAlways, &cut) }, recv},
		"spin, nothing":     {func() int { return 1 + l.Spin(want, 1000, &cut) }},
		"arm": {func() int {
			token := l.Arm(want, fds, &nfds, &until)
			send()
			return l.Disarm(token, want)
		}, recv},
		"epoll":  {send, func() int { return l.EpollWait(e, events, -1) }, recv},
		"events": {func() int { return l.Events(s) }},
	} {
		all := func() {
			for i, call := range calls {
				if n := call(); n <= 0 {
					t.Fatalf("%s, call %d: %d", name, i, n)
				}
			}
		}
		if n := testing.AllocsPerRun(100, all); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for range 10 {
		c := getScratch()
		if len(c.msg.Iov) != 0 || c.msg.Control != nil || c.handle.Word != nil {
			t.Error("the caller's memory is kept")
		}
		for _, b := range append(c.few[:], c.many[:cap(c.many)]...) {
			if b != nil {
				t.Error("the caller's buffers are kept")
			}
		}
		for _, m := range c.msgs[:cap(c.msgs)] {
			if m.Hdr.Iov != nil || m.Hdr.Control != nil {
				t.Error("the caller's messages are kept")
			}
		}
	}
}

func TestGather(t *testing.T) {
	b := make([]byte, 8)
	at := func(n uint64) unix.Iovec { return unix.Iovec{Base: &b[0], Len: n} }
	for name, tt := range map[string]struct {
		iov  []unix.Iovec
		n    uint64
		want int
		size int
	}{
		"none":     {nil, 0, 0, 0},
		"NULL":     {nil, 1, badMemory, 0},
		"too many": {make([]unix.Iovec, 1), maxMessages + 1, -int(unix.EMSGSIZE), 0},
		"negative": {[]unix.Iovec{at(1 << 63)}, 1, invalid, 0},
		"no base":  {[]unix.Iovec{{Len: 1}}, 1, badMemory, 0},
		"empty":    {[]unix.Iovec{{}, at(3)}, 2, 0, 3},
	} {
		var first *unix.Iovec
		if len(tt.iov) > 0 {
			first = &tt.iov[0]
		}
		to, e := gather(nil, first, tt.n)
		size := 0
		for _, p := range to {
			size += len(p)
		}
		if e != tt.want || size != tt.size {
			t.Errorf("%s: %d, %d bytes", name, e, size)
		}
	}
	if unsafe.Sizeof(Mmsghdr{}) != 64 || unsafe.Sizeof(Want{}) != 8 {
		t.Error("structures are not C's")
	}
}
