package sockapi

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// Kinds of arguments.
const (
	zero     = "zero"
	sensible = "sensible" // would do something
	wrong    = "wrong"
)

// callAll calls every exported method of what is closed with arguments of each kind,
// and fails unless each that can return an error
// returns want. what is made is closed.
func callAll(t *testing.T, on any, want error, others ...string) {
	t.Helper()
	v := reflect.ValueOf(on)
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		if slices.Contains(others, name) {
			continue
		}
		for _, kind := range []string{zero, sensible, wrong} {
			m := v.Method(i)
			var in []reflect.Value
			for a := range m.Type().NumIn() {
				in = append(in, argument(m.Type().In(a), kind))
			}
			out := m.Call(in)
			if len(out) == 0 {
				continue
			}
			if last := out[len(out)-1]; last.Type() == reflect.TypeFor[error]() {
				if err, _ := last.Interface().(error); err != want {
					t.Errorf("%T.%s (%s arguments): %v, want %v", on, name, kind, err, want)
				}
			}
		}
	}
}

// argument returns a value of a type, with what it points to.
func argument(t reflect.Type, kind string) reflect.Value {
	if t.Kind() == reflect.Pointer {
		p := reflect.New(t.Elem())
		switch v := p.Interface().(type) {
		case *Socket:
			v.api = New(nil)
			v.backend = &stackSocket{State: option.State{K: new(stack.Endpoint)}, api: v.api}
		case *unix.Timespec:
			v.Sec = 1 << 40
		case *Msghdr:
			switch kind {
			case wrong:
				v.Name, v.Iov = Unix("@x"), make([][]byte, 2000)
			case sensible:
				v.Iov = [][]byte{make([]byte, 4)}
			}
		}
		return p
	}
	if kind == sensible {
		switch reflect.Zero(t).Interface().(type) {
		case []byte:
			return reflect.ValueOf(make([]byte, 4))
		case int:
			return reflect.ValueOf(1)
		case []Mmsghdr:
			return reflect.ValueOf([]Mmsghdr{{Hdr: Msghdr{Iov: [][]byte{make([]byte, 4)}}}})
		case Sockaddr:
			return reflect.ValueOf(InetAddrPort(netip.MustParseAddrPort("127.0.0.1:9")))
		case []EpollEvent:
			return reflect.ValueOf(make([]EpollEvent, 1))
		}
	}
	if kind == wrong {
		switch reflect.Zero(t).Interface().(type) {
		case int:
			return reflect.ValueOf(-1)
		case []Mmsghdr:
			return reflect.ValueOf([]Mmsghdr{{Hdr: Msghdr{Name: Unix("@x"), Iov: make([][]byte, 2000)}}})
		case Sockaddr:
			return reflect.ValueOf(Unix("@x"))
		case EpollEvent:
			return reflect.ValueOf(EpollEvent{Events: unix.EPOLLEXCLUSIVE | unix.EPOLLONESHOT})
		}
	}
	return reflect.Zero(t)
}

func TestClosedSocketsSaySo(t *testing.T) {
	a := newAPI(t)
	for name, kind := range map[string][3]int{
		"udp":     {unix.AF_INET, unix.SOCK_DGRAM | SOCK_OOB, 0},
		"ping":    {unix.AF_INET, unix.SOCK_DGRAM | SOCK_OOB, unix.IPPROTO_ICMP},
		"raw":     {unix.AF_INET, unix.SOCK_RAW | SOCK_OOB, 99},
		"packet":  {unix.AF_PACKET, unix.SOCK_DGRAM | SOCK_OOB, 0},
		"in-band": {unix.AF_INET, unix.SOCK_DGRAM, 0},
		"tcp":     {unix.AF_INET, unix.SOCK_STREAM, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := a.Socket(kind[0], kind[1], kind[2])
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			callAll(t, s, unix.EBADF)
		})
	}
}

func TestClosedEpollsSaySo(t *testing.T) {
	a := newAPI(t)
	e := waitEpoll(t, a)
	e.Close()
	callAll(t, e, unix.EBADF)
}

// TestClosedStacksSaySo: in-band sockets live on.
func TestClosedStacksSaySo(t *testing.T) {
	a := newAPI(t)
	e, s, in := waitEpoll(t, a), waitSocket(t, a, SOCK_OOB), waitSocket(t, a, 0)
	a.Stack().Close()
	callAll(t, e, unix.EBADF, "Close")
	callAll(t, s, unix.EBADF)
	// Those that take a domain of the kernel's, or nothing to wait for, are below.
	callAll(t, a, unix.ENETDOWN, "Socket", "Socketpair", "Select")
	if _, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB, 0); err != unix.ENETDOWN {
		t.Errorf("Socket: %v, want ENETDOWN", err)
	}
	if _, err := a.Select(nil, nil, nil, -1); err != unix.ENETDOWN {
		t.Errorf("Select: %v, want ENETDOWN", err)
	}
	fds := []PollFd{{Socket: in, Events: unix.POLLIN}}
	if _, err := a.Poll(fds, -1); err != unix.ENETDOWN {
		t.Errorf("Poll of an in-band socket: %v, want ENETDOWN", err)
	}
	if _, err := in.Sendto([]byte("x"), 0, nameOf(t, in)); err != nil {
		t.Errorf("an in-band socket sends: %v", err)
	}
	if n, err := in.Recv(make([]byte, 1), 0); n != 1 || err != nil {
		t.Errorf("and receives: %d, %v", n, err)
	}
}
