package gonet

import (
	"net"
	"reflect"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
)

// packetMethods are the methods of *ipv4.PacketConn.
type packetMethods interface {
	SetControlMessage(cf ipv4.ControlFlags, on bool) error
	ReadFrom(b []byte) (int, *ipv4.ControlMessage, net.Addr, error)
	WriteTo(b []byte, cm *ipv4.ControlMessage, dst net.Addr) (int, error)
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
	LocalAddr() net.Addr
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Close() error
	TTL() (int, error)
	SetTTL(ttl int) error
	TOS() (int, error)
	SetTOS(tos int) error
	MulticastTTL() (int, error)
	SetMulticastTTL(ttl int) error
	MulticastInterface() (*net.Interface, error)
	SetMulticastInterface(ifi *net.Interface) error
	MulticastLoopback() (bool, error)
	SetMulticastLoopback(on bool) error
	JoinGroup(ifi *net.Interface, group net.Addr) error
	LeaveGroup(ifi *net.Interface, group net.Addr) error
	JoinSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error
	LeaveSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error
	ExcludeSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error
	IncludeSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error
	ICMPFilter() (*ipv4.ICMPFilter, error)
	SetICMPFilter(f *ipv4.ICMPFilter) error
	SetBPF(filter []bpf.RawInstruction) error
}

// TestMethodsOfPacketConn finds what package ipv4's type has and packetMethods has not.
func TestMethodsOfPacketConn(t *testing.T) {
	var _ packetMethods = (*PacketConn)(nil)
	var _ packetMethods = (*ipv4.PacketConn)(nil)
	not := map[string]bool{"RecvMsg": true, "RecvMsgs": true, "SendMsg": true, "SendMsgs": true, // of a package that is internal
		"Lock": true, "RLock": true, "RLocker": true, "RUnlock": true, "TryLock": true, "TryRLock": true, "Unlock": true} // of a field of its
	theirs, ours := reflect.TypeFor[*ipv4.PacketConn](), reflect.TypeFor[packetMethods]()
	for i := range theirs.NumMethod() {
		name := theirs.Method(i).Name
		if _, ok := ours.MethodByName(name); !ok && !not[name] {
			t.Error(name)
		}
	}
}

// packetConnOf returns package ipv4's, or ours, of a connection.
func packetConnOf(c any) packetMethods {
	if c, ok := c.(Conn); ok {
		return NewPacketConn(c)
	}
	return ipv4.NewPacketConn(c.(net.PacketConn))
}

// loopback is the interface of that name, in-band and out-of-band.
var loopback = &net.Interface{Index: 1, Name: "lo"}

func TestOptionsAsIPv4(t *testing.T) {
	theSame(t, func(l *log, w world) {
		p := packetConnOf(l.listen(w))
		ttl, err := p.TTL()
		l.add("TTL %d %s", ttl, describe(err))
		for _, v := range []int{1, 255, 256, 0, -1} {
			l.add("SetTTL %d: %s", v, describe(p.SetTTL(v)))
			ttl, err := p.TTL()
			l.add("TTL %d %s", ttl, describe(err))
			l.add("SetTOS %d: %s", v, describe(p.SetTOS(v)))
			tos, err := p.TOS()
			l.add("TOS %d %s", tos, describe(err))
			l.add("SetMulticastTTL %d: %s", v, describe(p.SetMulticastTTL(v)))
			ttl, err = p.MulticastTTL()
			l.add("MulticastTTL %d %s", ttl, describe(err))
		}
		for _, v := range []bool{false, true} {
			on, err := p.MulticastLoopback()
			l.add("MulticastLoopback %v %s", on, describe(err))
			l.add("SetMulticastLoopback: %s", describe(p.SetMulticastLoopback(v)))
		}
		for _, v := range []*net.Interface{nil, loopback, {Index: 99999}} {
			l.add("SetMulticastInterface: %s", describe(p.SetMulticastInterface(v)))
		}
		_, err = p.ICMPFilter()
		l.add("ICMPFilter: %s", describe(err))
		l.add("SetICMPFilter: %s", describe(p.SetICMPFilter(new(ipv4.ICMPFilter))))
		l.add("SetBPF: %s", describe(p.SetBPF([]bpf.RawInstruction{{Op: 6, K: 4}})))
		l.add("SetBPF of nothing that is one: %s", describe(p.SetBPF([]bpf.RawInstruction{{Op: 0xffff}})))
	})
}

func TestGroupsAsIPv4(t *testing.T) {
	theSame(t, func(l *log, w world) {
		p := packetConnOf(l.listen(w))
		group, ssm := &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3)}, &net.IPAddr{IP: net.IPv4(232, 1, 2, 3)}
		source := &net.IPAddr{IP: net.IPv4(192, 0, 2, 1)}
		for i, err := range []error{
			p.JoinGroup(loopback, group), p.JoinGroup(loopback, group), p.JoinGroup(loopback, source),
			p.JoinGroup(loopback, &net.TCPAddr{}), p.JoinGroup(loopback, &net.UDPAddr{IP: net.IPv6loopback}), p.JoinGroup(&net.Interface{Index: 99999}, group),
			p.ExcludeSourceSpecificGroup(loopback, group, source), p.ExcludeSourceSpecificGroup(loopback, group, source),
			p.IncludeSourceSpecificGroup(loopback, group, source), p.IncludeSourceSpecificGroup(loopback, group, source),
			p.LeaveGroup(loopback, group), p.LeaveGroup(loopback, group),
			p.JoinSourceSpecificGroup(loopback, ssm, source), p.JoinSourceSpecificGroup(loopback, ssm, source),
			p.JoinSourceSpecificGroup(loopback, ssm, &net.TCPAddr{}), p.JoinSourceSpecificGroup(loopback, nil, source),
			p.LeaveSourceSpecificGroup(loopback, ssm, source), p.LeaveSourceSpecificGroup(loopback, ssm, source),
		} {
			l.add("call %d: %s", i, describe(err))
		}
	})
}

// TestControlMessagesAsIPv4 sends with and receives control messages.
func TestControlMessagesAsIPv4(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c, d := l.listen(w), l.listen(w)
		p, q := packetConnOf(c), packetConnOf(d)
		check(t, p.SetReadDeadline(soon()))
		check(t, q.SetTTL(7))
		b := make([]byte, 100)
		receive := func(what string) {
			t.Helper()
			n, cm, src, err := p.ReadFrom(b)
			l.add("%s: %d %v %T %v %s", what, n, cm, src, src, describe(err))
		}
		send := func(cm *ipv4.ControlMessage) {
			n, err := q.WriteTo([]byte("hello"), cm, c.LocalAddr())
			l.add("%d %s", n, describe(err))
		}
		send(nil)
		receive("nothing asked")
		for _, cf := range []ipv4.ControlFlags{ipv4.FlagTTL, ipv4.FlagDst, ipv4.FlagTTL | ipv4.FlagInterface} {
			check(t, p.SetControlMessage(cf, true))
			send(nil)
			receive("asked")
		}
		send(&ipv4.ControlMessage{Src: net.IPv4(127, 0, 0, 9), IfIndex: 1})
		receive("from another address")
		check(t, p.SetControlMessage(ipv4.FlagDst, false))
		send(nil)
		receive("not any more")
		check(t, p.SetControlMessage(ipv4.FlagTTL, false))
		send(nil)
		receive("nothing any more")
		send(&ipv4.ControlMessage{IfIndex: 99999})
		send(&ipv4.ControlMessage{Src: net.IPv4(192, 0, 2, 1)})
	})
}

// TestBatchesAsIPv4 sends and receives several datagrams by one call.
func TestBatchesAsIPv4(t *testing.T) {
	theSame(t, func(l *log, w world) {
		c := l.listen(w)
		d := l.dialTo(w, c.LocalAddr())
		p, q := packetConnOf(c), packetConnOf(d)
		check(t, p.SetControlMessage(ipv4.FlagTTL, true))
		check(t, p.SetReadDeadline(soon()))
		out := []ipv4.Message{{Buffers: [][]byte{[]byte("one")}}, {Buffers: [][]byte{[]byte("two "), []byte("parts")}},
			{Buffers: [][]byte{{}}}, {Buffers: [][]byte{[]byte("too long for it")}, OOB: (&ipv4.ControlMessage{IfIndex: 1}).Marshal()}}
		n, err := q.WriteBatch(out, 0)
		l.add("WriteBatch: %d %s", n, describe(err))
		for _, m := range out {
			l.add("%d %d", m.N, m.NN)
		}
		in := make([]ipv4.Message, 10)
		for i := range in {
			in[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 2), make([]byte, 8)}, OOB: make([]byte, 40)}
		}
		for got := 0; got < len(out); got += n {
			n, err = p.ReadBatch(in[got:], 0)
			check(t, err)
		}
		for _, m := range in[:len(out)] {
			l.add("%q %d %d %#x %T %v", m.Buffers, m.N, m.NN, m.Flags, m.Addr, m.Addr)
		}
		for _, c := range []packetMethods{p, q} {
			n, err = c.ReadBatch(nil, 0)
			l.add("nothing: %d %s", n, describe(err))
			n, err = c.WriteBatch(nil, 0)
			l.add("nothing: %d %s", n, describe(err))
		}
		out = out[:2]
		out[0].Addr, out[1].Addr = c.LocalAddr(), c.LocalAddr()
		n, err = p.WriteBatch(out, 0) // to itself
		l.add("with addresses: %d %s", n, describe(err))
	})
}

// TestBatchErrors: what package ipv4 says in other words, since it does not call package net.
func TestBatchErrors(t *testing.T) {
	n := lone(t)
	c := listener(t, n)
	msg := []ipv4.Message{{Buffers: [][]byte{[]byte("x")}}}
	l := &log{t: t}
	add := func(n int, err error) { l.add("%d %s", n, describe(err)) }
	add(c.WriteBatch(msg, 0))
	msg[0].Addr = &net.TCPAddr{}
	add(c.WriteBatch(msg, 0))
	msg[0].Addr = &net.UDPAddr{IP: net.IPv6loopback}
	add(c.WriteBatch(msg, 0))
	const dontWait = 0x40
	add(c.ReadBatch(msg, dontWait))
	check(t, c.SetDeadline(past))
	add(c.ReadBatch(msg, 0))
	msg[0].Addr = c.LocalAddr()
	add(c.WriteBatch(msg, 0))
	for _, f := range []func([]ipv4.Message, int) (int, error){c.ReadBatch, c.WriteBatch} {
		if n, err := f(nil, 0); n != 0 || err != nil {
			t.Errorf("no messages: %d, %v", n, err)
		}
	}
	check(t, c.Close())
	add(c.ReadBatch(msg, 0))
	add(c.WriteBatch(msg, 0))
	want := []string{
		`0 "write udp4 127.0.0.1:PORT: sendmmsg: destination address required" timeout false temporary false {*net.OpError write udp4 from *net.UDPAddr to <nil>} {*os.SyscallError sendmmsg} {syscall.Errno}`,
		`0 "write udp4 127.0.0.1:PORT: sendmmsg: invalid argument" timeout false temporary false {*net.OpError write udp4 from *net.UDPAddr to <nil>} {*os.SyscallError sendmmsg} {syscall.Errno}`,
		`0 "write udp4 127.0.0.1:PORT: address ::1: non-IPv4 address" timeout false temporary false {*net.OpError write udp4 from *net.UDPAddr to <nil>} {*net.AddrError}`,
		`0 "read udp4 127.0.0.1:PORT: recvmmsg: resource temporarily unavailable" timeout true temporary true {*net.OpError read udp4 from *net.UDPAddr to <nil>} {*os.SyscallError recvmmsg} {syscall.Errno}`,
		`0 "read udp4 127.0.0.1:PORT: i/o timeout" is "i/o timeout" timeout true temporary true {*net.OpError read udp4 from *net.UDPAddr to <nil>} {*poll.DeadlineExceededError}`,
		`0 "write udp4 127.0.0.1:PORT: i/o timeout" is "i/o timeout" timeout true temporary true {*net.OpError write udp4 from *net.UDPAddr to <nil>} {*poll.DeadlineExceededError}`,
		`0 "read udp4 127.0.0.1:PORT: use of closed network connection" is "use of closed network connection" timeout false temporary false {*net.OpError read udp4 from *net.UDPAddr to <nil>} {poll.errNetClosing}`,
		`0 "write udp4 127.0.0.1:PORT: use of closed network connection" is "use of closed network connection" timeout false temporary false {*net.OpError write udp4 from *net.UDPAddr to <nil>} {poll.errNetClosing}`,
	}
	for i, line := range l.lines {
		if line != want[i] {
			t.Errorf("got  %s\nwant %s", line, want[i])
		}
	}
}
