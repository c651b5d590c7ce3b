package device

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

// otherRows are readers that wait all the time, Epolls, sockets that are new in each
// phase, and what is asked about the device.
func otherRows() []row {
	packet := packetRows()[0]
	return []row{
		udp.with("a waiting reader", waits),
		udp.with("connected, a waiting reader", connected((*cell).farAddr), waits),
		udp.with("bound to the device, a waiting reader", onDevice, waits),
		member.with("a waiting reader", waits),
		ping.with("a waiting reader", waits),
		raw.with("a waiting reader", waits),
		packet.with("a waiting reader", waits),
		udp.with("in an Epoll", polled(unix.EPOLLIN|unix.EPOLLOUT)),
		udp.with("connected, in an Epoll", connected((*cell).farAddr), polled(unix.EPOLLIN|unix.EPOLLOUT)),
		udp.with("in an Epoll, by edges", polled(unix.EPOLLIN|unix.EPOLLET)),
		raw.with("in an Epoll", polled(unix.EPOLLIN|unix.EPOLLOUT)),
		packet.with("in an Epoll", polled(unix.EPOLLIN|unix.EPOLLOUT)),
		packet.with("in an Epoll, by edges", polled(unix.EPOLLIN|unix.EPOLLET)),
		udp.with("sendmmsg", func(r *row) { r.send = sendTwo }),
		{name: "new sockets", open: func(*cell) {}, calls: newSockets},
		{name: "a new packet socket", open: func(*cell) {}, calls: newPacketSocket},
		{name: "what the device is", open: func(c *cell) { c.k = c.UDP("k") }, calls: asks},
	}
}

// A reading is what a reader got that waits all the time.
type reading struct {
	mu   sync.Mutex
	got  []string
	more chan struct{} // holds a token if there is news
	done chan struct{}
}

// waits has a reader wait in recv from the beginning on. What it has got is written
// down once the phase's datagram has come.
func waits(r *row) {
	option(func(c *cell) {
		c.reads = &reading{more: make(chan struct{}, 1), done: make(chan struct{})}
		started := c.k.Later("reader", func(s *sockapi.Socket) string { go c.reads.run(c.row.offset, s); return "" })
		started.Join()
	})(r)
	r.calls = func(c *cell, p phase) {
		sent := c.send(p)
		if p.carries && sent && !r.quiet {
			c.receives(c.peer, p.name, r.peerOffset)
		}
		if p.carries {
			r.answer(c, p)
			c.Logf("the reader got %s", c.reads.until(c.answered(p), c.patience))
		}
	}
	if member := strings.Contains(r.name, "group"); member {
		calls := r.calls
		r.calls = func(c *cell, p phase) { c.peerJoins(); calls(c, p) }
	}
}

func (r *reading) run(offset int, s *sockapi.Socket) {
	defer close(r.done)
	b := make([]byte, 1<<16)
	for errors := 0; errors < 8; {
		n, err := s.Recv(b, 0)
		if err == unix.EBADF {
			return
		}
		if err != nil {
			errors++
		}
		r.mu.Lock()
		r.got = append(r.got, text(b, offset, n, err))
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
}

// until returns what the reader got since the last call, once it has got what.
func (r *reading) until(what string, patience time.Duration) string {
	end := time.After(patience)
	for {
		r.mu.Lock()
		got := strings.Join(r.got, "; ")
		if strings.HasSuffix(got, what) {
			r.got = nil
			r.mu.Unlock()
			return got
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case <-end:
			return got + " and no more"
		}
	}
}

// polled puts the socket into an Epoll, which is asked first and last in each phase,
// and waited for in between.
func polled(events uint32) change {
	return func(r *row) {
		option(func(c *cell) {
			var err error
			c.polls, err = c.h.API(oracle.Near).EpollCreate()
			check(c.h.t, err)
			c.k.Do("epoll_ctl", func(s *sockapi.Socket) string {
				return count(0, c.polls.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: events}))
			})
		})(r)
		r.calls = func(c *cell, p phase) {
			c.wait(0, 0)
			sent := c.send(p)
			if p.carries && sent {
				c.receives(c.peer, p.name, r.peerOffset)
			}
			if p.carries {
				r.answer(c, p)
				c.wait(unix.EPOLLIN, c.patience)
				c.receives(c.k, c.answered(p), r.offset)
			}
			c.wait(0, 0)
			c.k.Error()
			c.wait(0, 0)
		}
	}
}

// wait waits until the Epoll has events, these among them.
func (c *cell) wait(for_ uint32, timeout time.Duration) {
	var e [4]sockapi.EpollEvent
	for end := time.Now().Add(timeout); ; {
		n, err := c.polls.Wait(e[:], timeout)
		if n == 1 && e[0].Events&for_ == for_ || err != nil || time.Now().After(end) {
			c.Logf("epoll_wait() = %s %#x", count(n, err), e[0].Events)
			return
		}
	}
}

// sendTwo sends two datagrams at once, of which the second is the one to be waited for.
func sendTwo(c *cell, s *sockapi.Socket, b []byte) (int, error) {
	msgs := make([]sockapi.Mmsghdr, 2)
	for i, p := range [][]byte{[]byte("first"), b} {
		msgs[i].Hdr = sockapi.Msghdr{Name: c.far(), Iov: [][]byte{p}}
	}
	return s.Sendmmsg(msgs, 0)
}

// newSockets are opened in each phase.
func newSockets(c *cell, p phase) {
	k := c.UDP("bound")
	k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(c.h.near.Name))
	k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(renamed))
	k.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, c.h.index)
	k.Connect(c.far())
	k.Names()
	k.Close()
	for _, to := range []sockapi.Sockaddr{c.far(), c.beyond(), c.near(), c.zero(), c.subnet(), c.toGroup()} {
		k = c.UDP("k")
		k.Connect(to)
		k.Names()
		k.Close()
	}
	k = c.UDP("k")
	k.Bind(c.near())
	k.SetBytes(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, oracle.Mreqn(c.group(), [4]byte{}, c.h.index))
	k.SetBytes(unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, oracle.Mreqn(c.group(), [4]byte{}, c.h.index))
	k.SetBytes(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, oracle.Mreqn(c.group(), c.near().IP4(), 0))
	k.SetBytes(unix.IPPROTO_IP, unix.IP_MULTICAST_IF, oracle.Mreqn([4]byte{}, [4]byte{}, c.h.index))
	k.SetBytes(unix.IPPROTO_IP, unix.IP_UNICAST_IF, []byte{0, 0, 0, byte(c.h.index)})
	k.Close()
}

func newPacketSocket(c *cell, p phase) {
	k := c.Open("k", oracle.Near, unix.AF_PACKET, unix.SOCK_RAW, 0)
	k.Bind(c.link(c.h.index, [6]byte{}))
	k.Poll()
	k.Error()
	k.Do("send", func(s *sockapi.Socket) string { return count(s.Send(c.frame(c.h.far.MAC, c.padded(p.name)), 0)) })
	k.Names()
	k.Close()
}

// asks asks all that netdevice(7) has about the device, by its first name, its present
// one and its index.
func asks(c *cell, p phase) {
	for _, name := range []string{c.h.near.Name, renamed} {
		for _, q := range []struct {
			name string
			req  uint
		}{{"SIOCGIFINDEX", unix.SIOCGIFINDEX}, {"SIOCGIFFLAGS", unix.SIOCGIFFLAGS}, {"SIOCGIFMTU", unix.SIOCGIFMTU},
			{"SIOCGIFHWADDR", unix.SIOCGIFHWADDR}, {"SIOCGIFADDR", unix.SIOCGIFADDR}, {"SIOCGIFBRDADDR", unix.SIOCGIFBRDADDR}} {
			c.k.Do(q.name+" "+name, func(s *sockapi.Socket) string {
				var r [40]byte
				copy(r[:], name)
				_, err := s.Ioctl(q.req, r[:])
				return fmt.Sprintf("%s %x", count(0, err), r[16:24])
			})
		}
	}
	c.k.Do("SIOCGIFNAME", func(s *sockapi.Socket) string {
		var r [40]byte
		binary.NativeEndian.PutUint32(r[16:], uint32(c.h.index))
		_, err := s.Ioctl(unix.SIOCGIFNAME, r[:])
		return fmt.Sprintf("%s %s", count(0, err), unix.ByteSliceToString(r[:16]))
	})
}
