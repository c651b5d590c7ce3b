//go:build linux

package udp

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// These tests ask the running kernel. They put the same sockets into Linux and
// into a Table and compare what both say.

const strayDevice = 7777 // an interface that does not exist: SO_BINDTOIFINDEX does not mind

// A lab is a network namespace, or the test's own if that needs privileges that
// it lacks.
type lab struct {
	t        *testing.T
	isolated bool
	lo       int32
}

func newLab(t *testing.T) *lab {
	// Without unlocking: the thread ends with the test, and the namespace with it.
	runtime.LockOSThread()
	l := &lab{t: t, lo: 1}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Logf("no network namespace of its own (%v): sockets of one user only", err)
		return l
	}
	l.isolated = true
	fd := l.must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) must(fd int, err error) int {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	return fd
}

// uids are the owners that sockets may have here.
func (l *lab) uids() []uint32 {
	if l.isolated && unix.Geteuid() == 0 {
		return []uint32{0, 1000}
	}
	return []uint32{uint32(unix.Geteuid())}
}

// A kernelSock is a socket in the kernel and its binding in the table.
type kernelSock struct {
	fd     int
	b      Binding[*kernelSock]
	hadOne bool // was connected before
}

// socket opens a socket with b's owner and options.
func (l *lab) socket(b Binding[*kernelSock]) *kernelSock {
	l.t.Helper()
	if len(l.uids()) > 1 {
		unix.Setfsuid(int(b.UID))
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if len(l.uids()) > 1 {
		unix.Setfsuid(0)
	}
	s := &kernelSock{fd: l.must(fd, err), b: b}
	s.b.Owner = s
	for opt, on := range map[int]bool{unix.SO_REUSEADDR: b.ReuseAddr, unix.SO_REUSEPORT: b.ReusePort} {
		if on {
			l.set(s, opt, 1)
		}
	}
	if b.Device != 0 {
		l.set(s, unix.SO_BINDTOIFINDEX, int(b.Device))
	}
	return s
}

func (l *lab) set(s *kernelSock, opt, v int) {
	l.t.Helper()
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, opt, v); err != nil {
		l.t.Fatal(err)
	}
}

// freePort returns a port that nothing is bound to.
func (l *lab) freePort() uint16 {
	s := l.socket(Binding[*kernelSock]{})
	defer unix.Close(s.fd)
	if err := unix.Bind(s.fd, &unix.SockaddrInet4{}); err != nil {
		l.t.Fatal(err)
	}
	return l.name(s).port
}

type addrPort struct {
	addr ipv4.Addr
	port uint16
}

func (l *lab) name(s *kernelSock) addrPort {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		l.t.Fatal(err)
	}
	in := sa.(*unix.SockaddrInet4)
	return addrPort{in.Addr, uint16(in.Port)}
}

// bind binds s in the kernel and in the table, and compares the errnos.
func (l *lab) bind(table *Table[*kernelSock], s *kernelSock, others []*kernelSock) bool {
	l.t.Helper()
	var want unix.Errno
	err := unix.Bind(s.fd, &unix.SockaddrInet4{Addr: s.b.Local, Port: int(s.b.LocalPort)})
	if err != nil && !errors.As(err, &want) {
		l.t.Fatal(err)
	}
	if got := table.Bind(&s.b); got != want {
		for i, o := range others {
			l.t.Logf("bound %d: %s", i, describe(&o.b))
		}
		l.t.Fatalf("Bind(%s) = %v, in Linux %v", describe(&s.b), got, want)
	}
	return want == 0
}

func describe(b *Binding[*kernelSock]) string {
	s := ""
	for _, f := range []struct {
		on   bool
		name string
	}{{b.ReuseAddr, " reuseaddr"}, {b.ReusePort, " reuseport"}, {b.Device == strayDevice, " stray device"},
		{b.Device == 1, " lo"}, {b.connected, " connected"}, {b.UID != 0, " other user"}} {
		if f.on {
			s += f.name
		}
	}
	return string(rune('0'+b.Local[3])) + s
}

var kernelLocals = []ipv4.Addr{{}, {127, 0, 0, 1}, {127, 0, 0, 2}}

// configs returns every combination of address, options, device and owner.
func (l *lab) configs(port uint16) []Binding[*kernelSock] {
	var all []Binding[*kernelSock]
	for _, local := range kernelLocals {
		for reuse := range 4 {
			for _, dev := range []int32{0, l.lo, strayDevice} {
				for _, uid := range l.uids() {
					all = append(all, Binding[*kernelSock]{Local: local, LocalPort: port, Device: dev, UID: uid,
						ReuseAddr: reuse&1 != 0, ReusePort: reuse&2 != 0})
				}
			}
		}
	}
	return all
}

func newKernelTable() *Table[*kernelSock] {
	return NewTable[*kernelSock](rand.New(rand.NewPCG(1, 1)).Uint64)
}

// Every pair of sockets that there is.
func TestBindPairsAgainstKernel(t *testing.T) {
	l := newLab(t)
	configs := l.configs(l.freePort())
	for _, first := range configs {
		table := newKernelTable()
		a := l.socket(first)
		l.bind(table, a, nil)
		for _, second := range configs {
			b := l.socket(second)
			if l.bind(table, b, []*kernelSock{a}) {
				table.Unbind(&b.b)
			}
			unix.Close(b.fd)
		}
		unix.Close(a.fd)
	}
}

// Of several that overlap, the order in which they were bound decides.
func TestBindSequencesAgainstKernel(t *testing.T) {
	l := newLab(t)
	configs := l.configs(l.freePort())
	r := rand.New(rand.NewPCG(21, 22))
	for range 1500 {
		table := newKernelTable()
		var bound []*kernelSock
		for range 6 {
			s := l.socket(configs[r.IntN(len(configs))])
			if l.bind(table, s, bound) {
				bound = append(bound, s)
			} else {
				unix.Close(s.fd)
			}
		}
		for _, s := range bound {
			unix.Close(s.fd)
		}
	}
}

// A delivery is one world of sockets, in the kernel and in a table.
type delivery struct {
	*lab
	r       *rand.Rand
	table   *Table[*kernelSock]
	socks   []*kernelSock
	senders []*kernelSock
	port    uint16
}

func TestDeliveryAgainstKernel(t *testing.T) {
	d := &delivery{lab: newLab(t), r: rand.New(rand.NewPCG(31, 32))}
	if !d.isolated {
		t.Skip("needs a network namespace of its own: strangers' datagrams would confuse it")
	}
	for i := range 2 {
		s := d.socket(Binding[*kernelSock]{})
		if err := unix.Bind(s.fd, &unix.SockaddrInet4{Addr: ipv4.Addr{127, 0, 0, byte(8 + i)}, Port: 5000 + i}); err != nil {
			t.Fatal(err)
		}
		d.senders = append(d.senders, s)
	}
	d.port = d.freePort()
	for range 250 {
		d.world()
	}
}

// world binds and connects some sockets and sends to all of them.
func (d *delivery) world() {
	d.table, d.socks = newKernelTable(), nil
	configs := d.configs(d.port)
	for range 7 {
		c := configs[d.r.IntN(len(configs))]
		if d.r.IntN(3) > 0 {
			c.ReuseAddr = true // else few get in
		}
		s := d.socket(c)
		if d.bind(d.table, s, d.socks) {
			d.socks = append(d.socks, s)
		} else {
			unix.Close(s.fd)
		}
		if d.r.IntN(2) == 0 {
			d.connectOrDisconnect(d.socks[d.r.IntN(len(d.socks))])
		}
		d.sendToAll()
	}
	for _, s := range d.socks {
		unix.Close(s.fd)
	}
}

func (d *delivery) connectOrDisconnect(s *kernelSock) {
	if s.b.Device == strayDevice {
		return // no route by that device
	}
	if s.b.ReusePort && (s.b.connected || len(d.socks) < 4) {
		return // from here on, Linux' groups and the table's part: see Disconnect
	}
	if s.b.connected {
		d.disconnect(s)
	}
	if s.hadOne {
		return // Linux' table of connected sockets misses it the second time
	}
	s.hadOne = true
	from := d.name(d.senders[d.r.IntN(len(d.senders))])
	if d.r.IntN(4) == 0 {
		from.port = 0
	}
	if err := unix.Connect(s.fd, &unix.SockaddrInet4{Addr: from.addr, Port: int(from.port)}); err != nil {
		d.t.Fatal(err)
	}
	if e := d.table.Connect(&s.b, d.name(s).addr, from.addr, from.port); e != 0 {
		d.t.Fatal(e)
	}
}

func (d *delivery) disconnect(s *kernelSock) {
	sa := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa)); e != 0 {
		d.t.Fatal(e)
	}
	d.table.Disconnect(&s.b, d.name(s).addr)
	d.table.Rebind(&s.b, 0) // what Linux does too
}

func (d *delivery) sendToAll() {
	for _, dst := range []ipv4.Addr{{127, 0, 0, 1}, {127, 0, 0, 2}, {127, 0, 0, 3}} {
		for _, sender := range d.senders {
			from := d.name(sender)
			for _, s := range d.socks {
				// Linux breaks ties in favour of a connected socket that has
				// received on this CPU: let there be none.
				d.set(s, unix.SO_INCOMING_CPU, -1)
			}
			want, ok := d.table.Lookup(dst, d.port, from.addr, from.port, d.lo)
			if err := unix.Sendto(sender.fd, []byte{1}, 0, &unix.SockaddrInet4{Addr: dst, Port: int(d.port)}); err != nil {
				d.t.Fatal(err)
			}
			got := d.received(ok)
			if got == want || got != nil && want != nil && equivalent(&got.b, &want.b) {
				continue
			}
			for i, s := range d.socks {
				d.t.Logf("socket %d: %s peer %v:%d, seq %d rank %d, ours %v, Linux' %v", i, describe(&s.b),
					s.b.Remote, s.b.RemotePort, s.b.seq, s.b.rank, s == want, s == got)
			}
			d.t.Fatalf("from %v to %v: another socket than in Linux", from, dst)
		}
	}
}

// equivalent reports whether Linux may choose a where the table chooses b: by
// another hash among the members of a group, or among sockets with the same
// peer. For those Linux has a table of its own since 6.13 (udp4_lib_lookup4),
// which does not go by score.
func equivalent(a, b *Binding[*kernelSock]) bool {
	return a.group != nil && a.group == b.group || a.full() && b.full()
}

// received returns the socket that has a datagram, and reads it. If none has,
// it waits for one if wait is true.
func (d *delivery) received(wait bool) *kernelSock {
	timeout := 0
	if wait {
		timeout = int(time.Second / time.Millisecond)
	}
	fds := make([]unix.PollFd, len(d.socks))
	for i, s := range d.socks {
		fds[i] = unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN}
	}
	if n, err := unix.Poll(fds, timeout); err != nil || n == 0 {
		return nil
	}
	for i, s := range d.socks {
		if fds[i].Revents != 0 {
			if _, err := unix.Read(s.fd, make([]byte, 8)); err == nil {
				return s
			}
		}
	}
	return nil
}

func TestEphemeralExhaustedAgainstKernel(t *testing.T) {
	l := newLab(t)
	if !l.isolated {
		t.Skip("needs a network namespace of its own: it sets ip_local_port_range")
	}
	table := newKernelTable()
	table.SetPortRange(40000, 40004)
	if err := writeSysctl("/proc/sys/net/ipv4/ip_local_port_range", "40000 40004"); err != nil {
		t.Skip(err)
	}
	seen := map[uint16]bool{}
	for i := range 6 {
		s := l.socket(Binding[*kernelSock]{})
		defer unix.Close(s.fd)
		err := unix.Bind(s.fd, &unix.SockaddrInet4{})
		got := table.Bind(&s.b)
		var want unix.Errno
		errors.As(err, &want)
		if got != want {
			t.Fatalf("socket %d: Bind = %v, in Linux %v", i, got, want)
		}
		if got == 0 && (seen[s.b.LocalPort] || s.b.LocalPort < 40000 || s.b.LocalPort > 40004) {
			t.Fatalf("socket %d got port %d", i, s.b.LocalPort)
		}
		seen[s.b.LocalPort] = true
	}
}

func writeSysctl(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(value))
	return err
}
