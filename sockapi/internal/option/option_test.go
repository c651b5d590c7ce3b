package option

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

func number(v int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

// both checks that several comparisons found no difference.
func both(t *testing.T, what string, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestClosed(t *testing.T) {
	l := newLab(t)
	for i, k := range kinds {
		p := l.newPair(t, i)
		p.close()
		_, get := p.ours.Get(unix.SOL_SOCKET, unix.SO_TYPE, make([]byte, 4))
		for what, err := range map[string]error{"Get": get, "Set": p.ours.Set(unix.SOL_SOCKET, unix.SO_DEBUG, number(1)), "Set, too short": p.ours.Set(unix.SOL_SOCKET, unix.SO_DEBUG, nil),
			"AttachFilter": p.ours.AttachFilter(nil), "AttachReusePort": p.ours.AttachReusePort(nil)} {
			if err != unix.EBADF {
				t.Errorf("%s of a closed %s socket: %v", what, k.name, err)
			}
		}
	}
}

// without runs f on a thread without some capabilities, which ends with it.
func without(t *testing.T, capabilities []int, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // until the thread's end
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		for _, c := range capabilities {
			data[c/32].Effective &^= 1 << (c % 32)
		}
		if err = errors.Join(err, unix.Capset(&header, &data[0])); err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// What needs a privilege in Linux needs it here.
func TestPrivileges(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	for _, gone := range [][]int{nil, {unix.CAP_NET_RAW}, {unix.CAP_NET_ADMIN}, {unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}} {
		without(t, gone, func() {
			for _, name := range []int{unix.SO_PRIORITY, unix.SO_MARK, unix.SO_RCVMARK, unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
				for _, v := range corners {
					both(t, "an option", p.set(unix.SOL_SOCKET, name, number(int(v))))
				}
			}
			for _, clock := range []int{unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME, unix.CLOCK_TAI, unix.CLOCK_BOOTTIME, 99, -1} {
				for _, flags := range []int{0, 1, 2, 3, 4} {
					both(t, "SO_TXTIME", p.set(unix.SOL_SOCKET, unix.SO_TXTIME, append(number(clock), number(flags)...)),
						p.get(unix.SOL_SOCKET, unix.SO_TXTIME, make([]byte, 8)))
				}
			}
		})
	}
}

// Of the options that share what they say the last one counts.
func TestTimestampOptions(t *testing.T) {
	l := newLab(t)
	names := []int{unix.SO_TIMESTAMP, unix.SO_TIMESTAMPNS, unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW, unix.SO_TIMESTAMPING, unix.SO_TIMESTAMPING_NEW}
	r := rand.New(rand.NewPCG(5, 6))
	p := l.newPair(t, 0)
	defer p.close()
	for range 300 {
		name := names[r.IntN(len(names))]
		both(t, "set", p.set(unix.SOL_SOCKET, name, number(r.IntN(2)*unix.SOF_TIMESTAMPING_SOFTWARE)))
		for _, other := range names {
			both(t, "get", p.get(unix.SOL_SOCKET, other, make([]byte, 8)))
		}
		if t.Failed() {
			return
		}
	}
}

// Time-outs are what was asked for: see the limits in timeout.go.
func TestTimeouts(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	const longest = math.MaxInt64/int64(time.Second) - 2
	for _, tt := range []struct {
		sec, usec int64
		want      int64 // nanoseconds
		err       error
	}{
		{0, 0, 0, nil}, {0, 1, 1000, nil}, {3, 999999, 3999999000, nil}, {0, 1000000, 0, unix.EDOM}, {0, -1, 0, unix.EDOM},
		{-1, 0, 1, nil}, {longest, 0, longest * int64(time.Second), nil}, {longest + 1, 0, 0, nil}, {math.MaxInt64, 0, 0, nil},
	} {
		value := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(tt.sec)), uint64(tt.usec))
		for _, name := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
			p.ours.RcvTimeout.Store(77)
			p.ours.SndTimeout.Store(77)
			err := p.ours.Set(unix.SOL_SOCKET, name, value)
			got := p.ours.RcvTimeout.Load()
			if name == unix.SO_SNDTIMEO {
				got = p.ours.SndTimeout.Load()
			}
			if err != tt.err || err == nil && got != tt.want {
				t.Errorf("option %d, %d s and %d us: %d ns, %v", name, tt.sec, tt.usec, got, err)
			}
			if (setsockopt(p.fd, unix.SOL_SOCKET, name, value) == nil) != (tt.err == nil) {
				t.Errorf("option %d, %d s and %d us: the kernel thinks otherwise", name, tt.sec, tt.usec)
			}
		}
	}
	both(t, "too short", p.set(unix.SOL_SOCKET, unix.SO_RCVTIMEO, make([]byte, 15)))
}

func TestCookie(t *testing.T) {
	l := newLab(t)
	a, b := l.newPair(t, 0), l.newPair(t, 0)
	defer a.close()
	defer b.close()
	var one, again, other [8]byte
	for _, n := range []int{0, 7} {
		both(t, "too short", a.get(unix.SOL_SOCKET, unix.SO_COOKIE, make([]byte, n)))
	}
	n, err := a.ours.Get(unix.SOL_SOCKET, unix.SO_COOKIE, one[:])
	a.ours.Get(unix.SOL_SOCKET, unix.SO_COOKIE, again[:])
	b.ours.Get(unix.SOL_SOCKET, unix.SO_COOKIE, other[:])
	if n != 8 || err != nil || one == other || one != again {
		t.Errorf("%d bytes, %v: % x, again % x, another's % x", n, err, one, again, other)
	}
}

func TestPeerName(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	for _, connected := range []bool{false, true} {
		for _, n := range []int{0, 1, 15, 16, 17, 32} {
			both(t, "peer", p.get(unix.SOL_SOCKET, unix.SO_PEERNAME, make([]byte, n)))
		}
		if !connected {
			both(t, "connect", unix.Connect(p.fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}), p.ours.Socket.Connect(netip.MustParseAddrPort("127.0.0.1:9")))
		}
	}
}

func TestBusyPoll(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	for _, tt := range []struct {
		set  int
		err  error
		want int
		spin time.Duration
	}{
		{50, nil, 50, 50 * time.Microsecond}, {-1, unix.EINVAL, 50, 50 * time.Microsecond}, {0, nil, 0, stack.SpinNever},
		{math.MaxInt32, nil, math.MaxInt32, stack.SpinAlways}, {math.MaxInt32 - 1, nil, math.MaxInt32 - 1, (math.MaxInt32 - 1) * time.Microsecond},
	} {
		err := p.ours.Set(unix.SOL_SOCKET, unix.SO_BUSY_POLL, number(tt.set))
		var b [4]byte
		p.ours.Get(unix.SOL_SOCKET, unix.SO_BUSY_POLL, b[:])
		if got := int(int32(binary.NativeEndian.Uint32(b[:]))); err != tt.err || got != tt.want || p.ours.K.Spinner().Now() != tt.spin {
			t.Errorf("%d: %v, is %d, %v", tt.set, err, got, p.ours.K.Spinner().Now())
		}
	}
	if got := busyPoll(0); got != 0 {
		t.Errorf("no spin is %d", got)
	}
}

func TestOobTimestamp(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	for v, want := range map[int]error{0: nil, OobAll: nil, OobAll + 1: unix.EINVAL, -1: unix.EINVAL, OobReceive: nil} {
		if err := p.ours.Set(unix.SOL_SOCKET, TimestampOOB, number(v)); err != want || err == nil && p.ours.OobTimes.Load() != uint32(v) {
			t.Errorf("%d: %v, is %d", v, err, p.ours.OobTimes.Load())
		}
	}
}

// A device that has gone has no name any more.
func TestDeviceGone(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	a, _ := pipe.New(pipe.Options{})
	i, err := l.st.AddLink(a, stack.InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ours.K.SetDevice(i.Index()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if n, err := p.ours.Get(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, b); err != nil || string(b[:n]) != i.Name()+"\x00" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if err := l.st.RemoveLink(i.Index()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ours.Get(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, b); err != unix.ENODEV {
		t.Errorf("gone: %v", err)
	}
}

// IP_ROUTER_ALERT of raw sockets is for routers.
func TestRouterAlert(t *testing.T) {
	l := newLab(t)
	for i, want := range map[int]error{0: unix.EINVAL, 2: unix.ENOPROTOOPT} {
		p := l.newPair(t, i)
		if err := p.ours.Set(unix.SOL_IP, unix.IP_ROUTER_ALERT, number(1)); err != want {
			t.Errorf("%s: %v", kinds[i].name, err)
		}
		p.close()
	}
}
