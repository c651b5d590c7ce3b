package stack

import (
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// arguments returns arguments for a method: zero ones, or, if sensible, such as
// would do something. What is pointed to is there.
func arguments(m reflect.Value, sensible bool) []reflect.Value {
	t := m.Type()
	var in []reflect.Value
	for i := range t.NumIn() {
		v := reflect.Zero(t.In(i))
		switch t.In(i).Kind() {
		case reflect.Pointer:
			v = reflect.New(t.In(i).Elem())
		case reflect.Func:
			v = reflect.MakeFunc(t.In(i), func([]reflect.Value) []reflect.Value { return nil })
		}
		if sensible {
			switch t.In(i) {
			case reflect.TypeFor[netip.Addr]():
				v = reflect.ValueOf(netip.MustParseAddr("10.9.0.77"))
			case reflect.TypeFor[netip.AddrPort]():
				v = reflect.ValueOf(netip.MustParseAddrPort("10.9.0.77:9"))
			case reflect.TypeFor[netip.Prefix]():
				v = reflect.ValueOf(netip.MustParsePrefix("10.9.0.1/24"))
			case reflect.TypeFor[[]byte]():
				v = reflect.ValueOf(make([]byte, 4))
			case reflect.TypeFor[int]():
				v = reflect.ValueOf(1)
			case reflect.TypeFor[int64](): // a deadline
				v = reflect.ValueOf(NoDeadline)
			case reflect.TypeFor[arp.State]():
				v = reflect.ValueOf(arp.Permanent)
			case reflect.TypeFor[ipv4.Route]():
				v = reflect.ValueOf(ipv4.Route{Prefix: netip.MustParsePrefix("10.77.0.0/16"), Iface: 1})
			case reflect.TypeFor[[]Message]():
				v = reflect.ValueOf(make([]Message, 1))
			case reflect.TypeFor[[]OutMessage]():
				v = reflect.ValueOf(make([]OutMessage, 1))
			case reflect.TypeFor[[]IOTimes]():
				v = reflect.ValueOf(make([]IOTimes, 1))
			case reflect.TypeFor[link.Link]():
				l, _ := pipe.New(pipe.Options{})
				v = reflect.ValueOf(l)
			case reflect.TypeFor[bool]():
				v = reflect.ValueOf(true)
			}
		}
		in = append(in, v)
	}
	return in
}

// mustSay calls every exported method of what is closed, and fails unless each
// that can return an error returns want. others have results of their own.
func mustSay(t *testing.T, on any, want error, others ...string) {
	t.Helper()
	v := reflect.ValueOf(on)
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		for _, sensible := range []bool{false, true} {
			if name == "AddLink" && !sensible {
				continue // there is no link without one
			}
			out := v.Method(i).Call(arguments(v.Method(i), sensible))
			if len(out) == 0 || slices.Contains(others, name) {
				continue
			}
			last := out[len(out)-1]
			if last.Type() != reflect.TypeFor[error]() {
				continue
			}
			if err, _ := last.Interface().(error); err != want {
				t.Errorf("%T.%s (sensible arguments: %v): %v, want %v", on, name, sensible, err, want)
			}
		}
	}
}

func TestClosedSocketsSaySo(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	for name, open := range map[string]func() (Socket, error){
		"udp":    func() (Socket, error) { return p.near.NewUDPSocket() },
		"ping":   func() (Socket, error) { return p.near.NewPingSocket() },
		"raw":    func() (Socket, error) { return p.near.NewRawSocket(99) },
		"hdr":    func() (Socket, error) { return p.near.NewRawSocket(unix.IPPROTO_RAW) },
		"packet": func() (Socket, error) { return p.near.NewPacketSocket(true, unix.ETH_P_ALL) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, bound := range []bool{false, true} {
				k, err := open()
				if err != nil {
					t.Fatal(err)
				}
				if bound {
					k.Bind(netip.MustParseAddrPort("10.9.0.1:0"))
					k.Connect(netip.MustParseAddrPort("10.9.0.2:9"))
				}
				k.Close()
				mustSay(t, k, unix.EBADF)
				mustSay(t, k.Base().Receiving(), unix.EBADF)
				mustSay(t, k.Base().Sending(), unix.EBADF)
				mustSay(t, k.Base().Times(), unix.EBADF)
				mustSay(t, k.Base().Errors(), unix.EBADF)
				if ip := k.Base().kind.ip(); ip != nil {
					mustSay(t, ip.Multicast(), unix.EBADF)
					mustSay(t, ip.Binding(), unix.EBADF)
				}
			}
		})
	}
	if n := len(p.near.Sockets()); n != 0 {
		t.Errorf("%d sockets open", n)
	}
}

// TestRemovedInterfacesSaySo has another interface under the removed one's index,
// which nothing may reach by it.
func TestRemovedInterfacesSaySo(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	gone := p.nearIfc
	if err := p.near.RemoveLink(gone.Index()); err != nil {
		t.Fatal(err)
	}
	mustSay(t, gone, unix.ENODEV)
	end, far := pipe.New(pipe.Options{})
	defer far.Close()
	heir, err := p.near.AddLink(end, InterfaceConfig{Index: gone.Index()})
	if err != nil {
		t.Fatal(err)
	}
	if err := heir.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	mustSay(t, gone, unix.ENODEV)
	if a := heir.Addresses(); len(a) != 1 || len(gone.Addresses()) != 0 {
		t.Errorf("the heir has %v, the one that is gone %v", a, gone.Addresses())
	}
	if n := p.near.Neighbours(); len(n) != 0 {
		t.Errorf("neighbours %v", n)
	}
}

func TestClosedStacksSaySo(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	spare, far := pipe.New(pipe.Options{})
	defer far.Close()
	k := udpSocket(t, p.near, "10.9.0.1:9")
	if err := p.near.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.near.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := p.near.AddLink(spare, InterfaceConfig{}); err != unix.ENETDOWN {
		t.Errorf("AddLink: %v, want ENETDOWN", err)
	}
	mustSay(t, p.near, unix.ENETDOWN, "Close")
	mustSay(t, p.nearIfc, unix.ENETDOWN)
	mustSay(t, k, unix.EBADF)
	called := false
	p.near.OnClose(func() { called = true })
	if !called {
		t.Error("OnClose of a closed stack does not call")
	}
}

// TestClosesTogether: whoever closes a stack finds it closed.
func TestClosesTogether(t *testing.T) {
	for range 20 {
		s := newStack(t, Config{})
		a, b := pipe.New(pipe.Options{})
		addLink(t, s, a, "10.9.0.1/24")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if st := a.Info().State; st != link.Gone {
					t.Errorf("Close has returned, and the link is %v", st)
				}
			})
		}
		all.Wait()
		b.Close()
	}
}

func TestDeadlines(t *testing.T) {
	c := new(handClock)
	s := newStack(t, Config{Clock: c})
	for _, tt := range []struct {
		now  int64
		d    time.Duration
		want int64
	}{
		{0, 5, 5}, {1, -1, NoDeadline}, {7, math.MaxInt64, NoDeadline}, {7, math.MaxInt64 - 7, NoDeadline}, {7, math.MaxInt64 - 8, NoDeadline - 1},
		{-7, math.MaxInt64, NoDeadline - 7}, {3, 0, 3}, {3, math.MinInt64, NoDeadline},
	} {
		c.now.Store(tt.now)
		if got := s.Deadline(tt.d); got != tt.want {
			t.Errorf("at %d, in %d: %d, want %d", tt.now, tt.d, got, tt.want)
		}
	}
}

// TestCloseWakesFollowers: those who sleep behind one who spins are told too.
func TestCloseWakesFollowers(t *testing.T) {
	s := newStack(t, Config{Spin: SpinNever})
	spinner := s.NewWaiter(func() bool { return false })
	spinner.SetSpin(SpinAlways)
	sleeper := s.NewWaiter(func() bool { return false })
	done := make(chan bool)
	go func() { done <- spinner.Wait(NoDeadline) }()
	for !s.lanes.first.drive.Lock.Spinning() {
		runtime.Gosched()
	}
	for range 3 {
		go func() { done <- sleeper.Wait(NoDeadline) }()
	}
	for sleeper.Waiting() < 3 {
		runtime.Gosched()
	}
	s.Close()
	for range 4 {
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("a wait goes on")
		}
	}
}
