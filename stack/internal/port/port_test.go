package port

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

var (
	local = ipv4.Addr{10, 0, 0, 1}
	peer  = ipv4.Addr{10, 0, 0, 2}
)

// newPorts returns ports of UDP, whose owners are numbers above 0.
func newPorts(h Holder) *Ports[int] {
	return New(udp.NewTable[int](rand.Uint64), new(sync.Mutex), ipv4.ProtocolUDP, h)
}

func claimOf(owner int) *Claim[int] { return &Claim[int]{Binding: udp.Binding[int]{Owner: owner}} }

// owner returns whose datagrams to a port are, 0 if they are nobody's.
func (p *Ports[T]) owner(port uint16) (owner T) {
	p.lock.Lock()
	defer p.lock.Unlock()
	owner, _ = p.Table.Lookup(local, port, peer, 9, 1)
	return owner
}

// free reports whether a port may be had.
func free(p *Ports[int], port uint16) bool {
	c := claimOf(99)
	if p.Reserve(c, ipv4.Addr{}, port, 0, 0, 0) != 0 {
		return false
	}
	p.GiveBack(c)
	return true
}

// A holderFunc is a Holder that is a function.
type holderFunc func(Request) (uint16, func(), unix.Errno)

func (f holderFunc) HoldPort(r Request) (Hold, unix.Errno) {
	port, release, e := f(r)
	return &testHold{port: port, release: release}, e
}

// A testHold is a Hold of a port, which somebody may want to know the end of.
type testHold struct {
	port    uint16
	release func()
}

func (h *testHold) Number() uint32                           { return 0 }
func (h *testHold) Port() uint16                             { return h.port }
func (h *testHold) Connect(Peer) (a ipv4.Addr, e unix.Errno) { return a, e }
func (h *testHold) Disconnect()                              {}
func (h *testHold) SetDevice(int32) unix.Errno               { return 0 }
func (h *testHold) SetReuse(bool, bool)                      {}
func (h *testHold) NotifyShared(func())                      {}
func (h *testHold) Release()                                 { call(h.release) }

// claims does all that takes a port: what remains is nothing, or a port that is in use.
func claims(p *Ports[int], c *Claim[int], port uint16) unix.Errno {
	if e := p.Reserve(c, local, port, 0, 0, 0); e != 0 {
		return e
	}
	if p.Asks() {
		if e := p.Agree(c); e != 0 {
			return e
		}
	}
	p.Publish(c, 0, func() {})
	return 0
}

// A port passes through its phases: it is free, reserved, published, and free again.
func TestPhases(t *testing.T) {
	p := newPorts(nil)
	if p.Asks() {
		t.Error("without a Holder somebody is to be asked")
	}
	c := claimOf(1)
	published := false
	for _, phase := range []struct {
		name  string
		do    func() unix.Errno
		owner int
		free  bool
	}{
		{"at first", func() unix.Errno { return 0 }, 0, true},
		{"reserved", func() unix.Errno { return p.Reserve(c, local, 53, 0, 0, 0) }, 0, false},
		{"published", func() unix.Errno { p.Publish(c, 0, func() { published = true }); return 0 }, 1, false},
		{"given back", func() unix.Errno { p.GiveBack(c); return 0 }, 0, true},
		{"given back again", func() unix.Errno { p.GiveBack(c); return 0 }, 0, true},
		{"reserved once more", func() unix.Errno { return p.Reserve(c, local, 53, 0, 0, 0) }, 0, false},
		{"given back unpublished", func() unix.Errno { p.GiveBack(c); return 0 }, 0, true},
	} {
		if e := phase.do(); e != 0 {
			t.Fatalf("%s: %v", phase.name, e)
		}
		if owner, free := p.owner(53), free(p, 53); owner != phase.owner || free != phase.free {
			t.Errorf("%s: datagrams are for %d, free: %t", phase.name, owner, free)
		}
	}
	if !published {
		t.Error("Publish has not called what it was given")
	}
}

// A port that is chosen comes out of the range, as far as that is in the table's own.
func TestRange(t *testing.T) {
	for _, tt := range []struct{ lo, hi, least, most uint16 }{
		{0, 0, 32768, 60999},
		{40000, 40003, 40000, 40003},
		{40000, 0, 40000, 60999},
		{0, 40000, 32768, 40000},
		{1, 40000, 32768, 40000},
		{40000, 65535, 40000, 60999},
	} {
		t.Run(fmt.Sprintf("%d-%d", tt.lo, tt.hi), func(t *testing.T) {
			p := newPorts(nil)
			for i := range 4 {
				c := claimOf(1 + i)
				if e := p.Reserve(c, local, 0, 0, tt.lo, tt.hi); e != 0 {
					t.Fatal(e)
				}
				if got := c.Binding.LocalPort; got < tt.least || got > tt.most {
					t.Errorf("port %d, want one from %d to %d", got, tt.least, tt.most)
				}
			}
			if lo, hi := p.Table.PortRange(); lo != 32768 || hi != 60999 {
				t.Errorf("the table's own range is %d to %d now", lo, hi)
			}
		})
	}
	p := newPorts(nil)
	for _, end := range []struct{ lo, hi, want uint16 }{{60999, 0, 60999}, {0, 32768, 32768}} {
		c := claimOf(3)
		if e := p.Reserve(c, local, 0, 0, end.lo, end.hi); e != 0 || c.Binding.LocalPort != end.want {
			t.Errorf("from %d to %d: %v, port %d", end.lo, end.hi, e, c.Binding.LocalPort)
		}
	}
	if e := p.Reserve(claimOf(1), local, 0, 0, 40000, 40000); e != 0 {
		t.Fatal(e)
	}
	c := claimOf(2)
	if e := p.Reserve(c, local, 0, 0, 40000, 40000); e == 0 || c.Binding.LocalPort != 0 {
		t.Errorf("a range that is full: %v, port %d", e, c.Binding.LocalPort)
	}
}

// What a Holder says decides which port a claim gets, whether it is asked for another
// one, and whether what it holds is released.
func TestHolder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		port     uint16 // asked for; 0: to be chosen
		answers  func(n int, r Request) (uint16, unix.Errno)
		want     unix.Errno
		asked    int
		released int  // before the claim is given back
		other    bool // the port is 1234 then
	}{
		{name: "agrees", port: 53, answers: func(int, Request) (uint16, unix.Errno) { return 0, 0 }, asked: 1},
		{name: "agrees by number", port: 53, answers: func(int, Request) (uint16, unix.Errno) { return 53, 0 }, asked: 1},
		{name: "refuses", port: 53, answers: func(int, Request) (uint16, unix.Errno) { return 0, unix.EACCES },
			want: unix.EACCES, asked: 1},
		{name: "has it", port: 53, answers: func(int, Request) (uint16, unix.Errno) { return 0, unix.EADDRINUSE },
			want: unix.EADDRINUSE, asked: 1},
		{name: "gives another than was named", port: 53, answers: func(int, Request) (uint16, unix.Errno) { return 1234, 0 },
			want: unix.EADDRINUSE, asked: 1, released: 1},
		{name: "gives another than was chosen", answers: func(int, Request) (uint16, unix.Errno) { return 1234, 0 },
			asked: 1, other: true},
		{name: "gives one that is taken here", answers: func(n int, _ Request) (uint16, unix.Errno) {
			if n == 1 {
				return 7, 0
			}
			return 0, 0
		}, asked: 2, released: 1},
		{name: "refuses what was chosen", answers: func(int, Request) (uint16, unix.Errno) { return 0, unix.EACCES },
			want: unix.EACCES, asked: 1},
		{name: "has what was chosen", answers: func(n int, _ Request) (uint16, unix.Errno) {
			if n < holdTries {
				return 0, unix.EADDRINUSE
			}
			return 0, 0
		}, asked: holdTries},
		{name: "has all", answers: func(int, Request) (uint16, unix.Errno) { return 0, unix.EADDRINUSE },
			want: unix.EADDRINUSE, asked: holdTries},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, released := 0, 0
			p := newPorts(holderFunc(func(r Request) (uint16, func(), unix.Errno) {
				asked++
				if r.Protocol != ipv4.ProtocolUDP || r.Addr != local || r.Port == 0 || r.Chosen != (tt.port == 0) {
					t.Errorf("asked for %+v", r)
				}
				port, e := tt.answers(asked, r)
				if e != 0 {
					return 0, nil, e
				}
				return port, func() { released++ }, 0
			}))
			taken := claimOf(7)
			if e := p.Reserve(taken, local, 7, 0, 0, 0); e != 0 {
				t.Fatal(e)
			}
			c := claimOf(1)
			e := claims(p, c, tt.port)
			if e != tt.want || asked != tt.asked || released != tt.released {
				t.Errorf("%v, want %v; asked %d times, want %d; released %d times, want %d",
					e, tt.want, asked, tt.asked, released, tt.released)
			}
			got := c.Binding.LocalPort
			switch {
			case e != 0:
				if got != 0 || tt.port != 0 && !free(p, tt.port) {
					t.Errorf("port %d after the error, or what was asked for is not free", got)
				}
				return
			case tt.port != 0 && got != tt.port, tt.other && got != 1234, p.owner(got) != 1:
				t.Errorf("port %d, whose datagrams are for %d", got, p.owner(got))
			}
			p.GiveBack(c)
			if p.GiveBack(c); released != tt.released+1 || !free(p, got) {
				t.Errorf("given back: released %d times, want %d; free: %t", released, tt.released+1, free(p, got))
			}
		})
	}
}

// While a Holder takes its time, the port is nobody else's, and other ports may be had. A
// claim that is given back as soon as the Holder has agreed, since its socket was closed
// meanwhile, is released once.
func TestSlowHolder(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var released atomic.Int32
	p := newPorts(holderFunc(func(r Request) (uint16, func(), unix.Errno) {
		if r.Port == 53 {
			close(asked)
			<-answer
		}
		return 0, func() { released.Add(1) }, 0
	}))
	c := claimOf(1)
	if e := p.Reserve(c, local, 53, 0, 0, 0); e != 0 {
		t.Fatal(e)
	}
	agreed := make(chan unix.Errno)
	go func() { agreed <- p.Agree(c) }()
	<-asked
	if free(p, 53) || p.owner(53) != 0 {
		t.Error("somebody else may have the port, or has its datagrams, while the Holder is asked")
	}
	other := claimOf(2)
	if e := claims(p, other, 54); e != 0 || p.owner(54) != 2 {
		t.Errorf("another port meanwhile: %v", e)
	}
	close(answer)
	if e := <-agreed; e != 0 {
		t.Fatal(e)
	}
	if p.GiveBack(c); released.Load() != 1 || !free(p, 53) {
		t.Errorf("released %d times, free: %t", released.Load(), free(p, 53))
	}
}

// A device that the socket was bound to while the Holder was asked counts from when the
// port is published.
func TestDeviceOfThePublished(t *testing.T) {
	for _, device := range []int32{0, 1, 2} {
		p := newPorts(nil)
		c := claimOf(1)
		if e := p.Reserve(c, local, 53, 1, 0, 0); e != 0 {
			t.Fatal(e)
		}
		p.Publish(c, device, func() {})
		for by := int32(1); by <= 2; by++ {
			_, ok := p.Table.Lookup(local, 53, peer, 9, by)
			if want := device == 0 || device == by; ok != want {
				t.Errorf("bound to %d, by device %d: received: %t", device, by, ok)
			}
		}
	}
}

// Many goroutines claim few ports, and give them back: none is had by two, each that was
// held is released, and all are free in the end.
func TestClaimsTogether(t *testing.T) {
	const ports, goroutines, rounds = 4, 8, 200
	var held, released atomic.Int64
	p := newPorts(holderFunc(func(r Request) (uint16, func(), unix.Errno) {
		if rand.IntN(8) == 0 {
			return 0, nil, unix.EADDRINUSE
		}
		held.Add(1)
		return 0, func() { released.Add(1) }, 0
	}))
	var owners [ports]atomic.Int32
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			c := claimOf(1 + g)
			for range rounds {
				n := uint16(rand.IntN(ports + 1)) // one more: to be chosen
				if n == ports {
					if claims(p, c, 0) == 0 {
						p.GiveBack(c)
					}
					continue
				}
				if claims(p, c, 50+n) != 0 {
					continue
				}
				if !owners[n].CompareAndSwap(0, int32(1+g)) {
					t.Errorf("port %d has two owners", 50+n)
				}
				if owner := p.owner(50 + n); owner != 1+g {
					t.Errorf("port %d: datagrams are for %d, not for %d", 50+n, owner, 1+g)
				}
				owners[n].Store(0)
				p.GiveBack(c)
			}
		})
	}
	wg.Wait()
	if held.Load() == 0 || held.Load() != released.Load() {
		t.Errorf("held %d times, released %d times", held.Load(), released.Load())
	}
	for n := range uint16(ports) {
		if !free(p, 50+n) {
			t.Errorf("port %d is not free", 50+n)
		}
	}
}

// noHold is a Holder that agrees to all and holds nothing.
type noHold struct{}

func (noHold) HoldPort(Request) (Hold, unix.Errno) { return nil, 0 }

// A Holder may have nothing to hold.
func TestNothingToHold(t *testing.T) {
	p := newPorts(noHold{})
	c := claimOf(1)
	if e := claims(p, c, 53); e != 0 || p.owner(53) != 1 || c.Hold() != nil {
		t.Errorf("%v, datagrams are for %d", e, p.owner(53))
	}
	if p.GiveBack(c); !free(p, 53) {
		t.Error("not given back")
	}
}
