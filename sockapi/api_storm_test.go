package sockapi

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A storm has many goroutines call everything that there is, with arguments that
// are right, at an edge and wrong, while objects are closed and made anew.
type storm struct {
	st      *stack.Stack
	a       *API
	sockets [8]atomic.Pointer[Socket]
	inband  [2]atomic.Pointer[Socket]
	epolls  [4]atomic.Pointer[Epoll]
	calls   atomic.Int64
}

// notInStorm are methods that would reach beyond the test (signals to others, devices
// of the host), that belong to package sockapi, or that the storm calls itself.
var notInStorm = map[string]bool{
	"Stack.Close": true, "Stack.OnClose": true, "Stack.NewWaiter": true, "Stack.WaitElsewhere": true, "Stack.Subscribe": true,
	"API.Socketpair": true, "Socket.Fcntl": true, "Socket.FcntlOwner": true,
}

// notInStormOfSockets are such methods of the stack's sockets, of whichever type.
var notInStormOfSockets = map[string]bool{"Watch": true, "Unwatch": true, "ChangeWatch": true, "WaitElsewhere": true}

// inbandMethods are what the storm does with in-band sockets.
var inbandMethods = []string{"Recv", "Recvfrom", "Recvmsg", "Recvmmsg", "OobRecvmsg", "OobRead", "Getsockname", "Shutdown",
	"SetNonblock", "PollFD", "Close", "GetsockoptInt"}

// stormIoctls are requests that Ioctl is called with: nothing of the kernel's hears
// of them.
var stormIoctls = []uint{FIONREAD, FIONBIO, FIOASYNC, FIOGETOWN, unix.SIOCOUTQ, unix.SIOCGSTAMP, unix.SIOCGIFCONF,
	unix.SIOCGIFNAME, unix.SIOCGIFINDEX, unix.SIOCGIFADDR, unix.SIOCGIFMTU, 0xffffffff}

func newStorm(t testing.TB) (*storm, *stack.Stack) {
	near, far := pipe.New(pipe.Options{})
	stacks := [2]*stack.Stack{}
	for i, l := range []*pipe.Link{near, far} {
		st, err := stack.New(stack.Config{})
		ok(t, "stack.New", err)
		ifc, err := st.AddLink(l, stack.InterfaceConfig{})
		ok(t, "AddLink", err)
		ok(t, "AddAddress", ifc.AddAddress(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}), 24)))
		stacks[i] = st
	}
	s := &storm{st: stacks[0], a: New(stacks[0])}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range s.sockets {
		s.sockets[i].Store(s.open(r))
	}
	for i := range s.inband {
		s.inband[i].Store(s.openInband())
	}
	for i := range s.epolls {
		s.epolls[i].Store(s.openEpoll())
	}
	return s, stacks[1]
}

// open opens a socket of any kind, that does not wait long; nil of a closed stack.
func (s *storm) open(r *rand.Rand) *Socket {
	kinds := [][3]int{{unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
		{unix.AF_INET, unix.SOCK_RAW, 99}, {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW},
		{unix.AF_PACKET, unix.SOCK_RAW, HTONS(unix.ETH_P_ALL)}, {unix.AF_PACKET, unix.SOCK_DGRAM, 0}}
	k := kinds[r.IntN(len(kinds))]
	n, err := s.a.Socket(k[0], k[1]|SOCK_OOB, k[2])
	if err != nil {
		return nil
	}
	stackOf(n).RcvTimeout.Store(int64(time.Millisecond))
	stackOf(n).SndTimeout.Store(int64(time.Millisecond))
	return n
}

func (s *storm) openInband() *Socket {
	n, err := s.a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil
	}
	n.Bind(Inet4([4]byte{127, 0, 0, 1}, 0))
	n.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, time.Millisecond)
	return n
}

func (s *storm) openEpoll() *Epoll {
	e, err := s.a.EpollCreate()
	if err != nil {
		return nil
	}
	return e
}

// renew replaces some object by a fresh one, and closes the old one.
func (s *storm) renew(r *rand.Rand) {
	switch r.IntN(3) {
	case 0:
		if n := s.open(r); n != nil {
			s.sockets[r.IntN(len(s.sockets))].Swap(n).Close()
		}
	case 1:
		s.inband[r.IntN(len(s.inband))].Swap(s.openInband()).Close()
	default:
		if e := s.openEpoll(); e != nil {
			s.epolls[r.IntN(len(s.epolls))].Swap(e).Close()
		}
	}
}

// call calls any method of any object.
func (s *storm) call(r *rand.Rand) {
	s.calls.Add(1)
	g := stormArguments{s, r}
	socket := s.sockets[r.IntN(len(s.sockets))].Load()
	switch n := r.IntN(40); {
	case n < 16:
		g.any(socket)
	case n < 24:
		g.any(stackOf(socket).Socket)
	case n < 28:
		g.any(s.epolls[r.IntN(len(s.epolls))].Load())
	case n < 31:
		g.any(s.a)
	case n < 33:
		g.any(s.st)
	case n < 35:
		if all := s.st.Interfaces(); len(all) > 0 {
			g.any(all[r.IntN(len(all))])
		}
	case n < 37:
		in := s.inband[r.IntN(len(s.inband))].Load()
		g.named(in, inbandMethods[r.IntN(len(inbandMethods))])
		if to, err := in.Getsockname(); err == nil {
			in.Sendto([]byte("x"), unix.MSG_DONTWAIT, to)
		}
	case n == 37:
		s.renew(r)
	case n == 38: // what a table has is met more often than by chance
		keys := slices.Collect(maps.Keys(option.Options))
		k := keys[r.IntN(len(keys))]
		v := g.value(reflect.TypeFor[[]byte]()).Bytes()
		if r.IntN(2) == 0 {
			socket.Setsockopt(k.Level, k.Name, v)
		} else {
			socket.Getsockopt(k.Level, k.Name, v)
		}
	default:
		socket.Ioctl(stormIoctls[r.IntN(len(stormIoctls))], make([]byte, r.IntN(64)))
		socket.Fcntl(unix.F_SETFL, []int{0, unix.O_NONBLOCK, unix.O_ASYNC}[r.IntN(3)])
	}
}

// stormArguments makes up arguments.
type stormArguments struct {
	s *storm
	r *rand.Rand
}

// any calls any of the methods, and closes what that opens.
func (g stormArguments) any(on any) {
	t := reflect.TypeOf(on)
	name := t.Method(g.r.IntN(t.NumMethod())).Name
	ofStack := t.Elem().PkgPath() == reflect.TypeFor[stack.Stack]().PkgPath()
	if notInStorm[t.Elem().Name()+"."+name] || ofStack && notInStormOfSockets[name] {
		return
	}
	g.named(on, name)
}

func (g stormArguments) named(on any, name string) {
	m := reflect.ValueOf(on).MethodByName(name)
	var in []reflect.Value
	for i := range m.Type().NumIn() {
		in = append(in, g.value(m.Type().In(i)))
	}
	switch name {
	case "Socket": // out-of-band ones only: others load modules
		in[1] = reflect.ValueOf(int(in[1].Int()) | SOCK_OOB)
	case "Ioctl", "IoctlInt", "IoctlSetInt":
		in[0] = reflect.ValueOf(stormIoctls[g.r.IntN(len(stormIoctls))])
	}
	for _, out := range m.Call(in) {
		switch v := out.Interface().(type) {
		case *Socket:
			if v != nil {
				v.Close()
			}
		case stack.Socket:
			if !reflect.ValueOf(v).IsNil() {
				v.Close()
			}
		case *Epoll:
			if v != nil {
				v.Close()
			}
		case Nap: // which is owed
			v.Disarm(nil)
		}
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// value makes up a value of a type.
func (g stormArguments) value(t reflect.Type) reflect.Value {
	r := g.r
	v := reflect.New(t).Elem()
	switch p := v.Addr().Interface().(type) {
	case *int:
		*p = pick(r, -1, 0, 0, 1, 1, 2, 3, 4, 7, 8, 64, 1500, math.MinInt32, math.MaxInt32,
			unix.MSG_DONTWAIT, unix.MSG_DONTWAIT, unix.MSG_PEEK|unix.MSG_DONTWAIT, unix.MSG_ERRQUEUE, unix.MSG_TRUNC, unix.MSG_MORE)
	case *int64: // a deadline, most often
		*p = pick[int64](r, 0, math.MinInt64, g.s.st.Deadline(time.Millisecond), g.s.st.Deadline(time.Millisecond))
		if r.IntN(200) == 0 {
			*p = math.MaxInt64
		}
	case *time.Duration:
		*p = pick[time.Duration](r, 0, 0, 1, time.Microsecond, time.Millisecond, 50*time.Microsecond)
		if r.IntN(200) == 0 {
			*p = pick[time.Duration](r, -1, math.MaxInt64, math.MinInt64)
		}
	case *[]byte:
		*p = make([]byte, pick(r, 0, 1, 4, 8, 8, 16, 100, 1472, 1500, 65507, 65508))
		for i := range min(len(*p), 16) {
			(*p)[i] = pick[byte](r, 0, 0, 1, 255, byte(r.Uint32()))
		}
	case *netip.Addr:
		*p = netip.AddrFrom4(g.address())
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(netip.AddrFrom4(g.address()), pick[uint16](r, 0, 7, 9, 65535))
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4(g.address()), pick(r, -1, 0, 8, 24, 31, 32))
	case *Sockaddr:
		*p = pick(r, Sockaddr{}, Inet4(g.address(), 7), Inet4(g.address(), 7), Inet4(g.address(), 0), Unix("@x"))
	case **Socket:
		*p = g.s.sockets[r.IntN(len(g.s.sockets))].Load()
	case **Epoll:
		*p = g.s.epolls[r.IntN(len(g.s.epolls))].Load()
	case **unix.Timespec:
		*p = g.s.a.Date(g.value(reflect.TypeFor[time.Duration]()).Interface().(time.Duration))
	case *link.Link:
		l, _ := pipe.New(pipe.Options{})
		*p = l
	case *ipv4.Route:
		*p = ipv4.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4(g.address()), 24).Masked(), Iface: r.IntN(4), Gateway: pick(r, [4]byte{}, [4]byte{10, 9, 0, 2})}
	case **FdSet:
		*p = &FdSet{}
		(*p).Set(g.s.sockets[r.IntN(len(g.s.sockets))].Load())
		(*p).SetEpoll(g.s.epolls[r.IntN(len(g.s.epolls))].Load())
	case *PollFd:
		*p = PollFd{Fd: -1, Events: int16(r.Uint32())}
		switch r.IntN(3) {
		case 0:
			p.Socket = g.s.sockets[r.IntN(len(g.s.sockets))].Load()
		case 1:
			p.Socket = g.s.inband[r.IntN(len(g.s.inband))].Load()
		default:
			p.Epoll = g.s.epolls[r.IntN(len(g.s.epolls))].Load()
		}
	case *context.Context:
		c, cancel := context.WithCancel(context.Background())
		cancel()
		*p = c
	case *error:
	default:
		g.fill(v)
	}
	return v
}

func (g stormArguments) address() [4]byte {
	return pick(g.r, [4]byte{10, 9, 0, 2}, [4]byte{10, 9, 0, 2}, [4]byte{10, 9, 0, 1}, [4]byte{127, 0, 0, 1}, [4]byte{},
		[4]byte{10, 9, 0, 77}, [4]byte{239, 1, 1, 1}, [4]byte{224, 0, 0, 1}, [4]byte{10, 9, 0, 255}, [4]byte{255, 255, 255, 255}, [4]byte{10, 8, 0, 1})
}

// fill fills a value by its kind.
func (g stormArguments) fill(v reflect.Value) {
	r := g.r
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(pick[int64](r, -1, 0, 1, 2, 3, 64, math.MaxInt64, math.MinInt64))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(pick[uint64](r, 0, 1, 2, 4, 7, 0x0800, math.MaxUint64, r.Uint64()))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		v.Elem().Set(g.value(v.Type().Elem()))
	case reflect.Slice:
		n := pick(r, 0, 1, 1, 2, 5)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			v.Index(i).Set(g.value(v.Type().Elem()))
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).Set(g.value(v.Type().Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && r.IntN(3) > 0 {
				f.Set(g.value(f.Type()))
			}
		}
	}
}

// weather is a round: a storm in whose middle the stack closes.
func weather(t *testing.T, d time.Duration) (calls int64) {
	s, far := newStorm(t)
	var workers, peer sync.WaitGroup
	echo, _ := far.NewUDPSocket()
	ok(t, "Bind", echo.Bind(netip.MustParseAddrPort("10.9.0.2:7")))
	peer.Go(func() { // sends back, and more than that: a flood
		b := make([]byte, 1500)
		for {
			n, in, err := echo.Recv(b, 0, stack.NoDeadline)
			if err == unix.EBADF {
				return
			}
			for range 20 {
				echo.SendTo(b[:n], unix.MSG_DONTWAIT, stack.NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(in.From), in.FromPort))
			}
		}
	})
	var stop atomic.Bool
	for w := range 8 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
			for !stop.Load() {
				s.call(r)
			}
		})
	}
	time.Sleep(d / 2)
	ok(t, "Close", s.st.Close())
	time.Sleep(d / 4)
	stop.Store(true)
	for i := range s.sockets {
		s.sockets[i].Load().Close()
	}
	for i := range s.inband {
		s.inband[i].Load().Close()
	}
	for i := range s.epolls {
		s.epolls[i].Load().Close()
	}
	workers.Wait()
	for i := range s.inband { // of a renewal in the meantime
		s.inband[i].Load().Close()
	}
	ok(t, "Close", far.Close())
	peer.Wait()
	return s.calls.Load()
}

// TestAPIStorm: after a storm of calls a stack works as ever, and nothing is left of
// it.
func TestAPIStorm(t *testing.T) {
	defer watchdog(t, *stormFor+time.Minute)()
	const round = 400 * time.Millisecond
	type state struct{ descriptors, goroutines int }
	now := func() state { return state{openDescriptors(t), runtime.NumGoroutine()} }
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	calls := weather(t, round)
	before, memory := now(), heap()
	for end := time.Now().Add(*stormFor); time.Now().Before(end); {
		calls += weather(t, round)
	}
	for end := time.Now().Add(10 * time.Second); now() != before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if after := now(); after != before {
		b := make([]byte, 1<<16)
		t.Errorf("%+v before, %+v after\n%s", before, after, b[:runtime.Stack(b, true)])
	}
	if after := heap(); after > memory+memory/2+(8<<20) {
		t.Errorf("%d bytes of memory before, %d after", memory, after)
	}
	t.Log(calls, "calls")
	a := newAPI(t)
	server, to := oobSocket(t, a)
	client, _ := oobSocket(t, a)
	for i := range 10 {
		want := fmt.Sprint("echo ", i)
		client.Sendto([]byte(want), 0, to)
		b := make([]byte, 16)
		n, from, err := server.Recvfrom(b, 0)
		ok(t, "Recvfrom", err)
		server.Sendto(b[:n], 0, from)
		n, err = client.Recv(b, 0)
		if err != nil || string(b[:n]) != want {
			t.Errorf("%q, %v, want %q", b[:n], err, want)
		}
	}
}
