package oracle

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// patience bounds every call of a script: one that lasts longer is written down
// as hanging.
const patience = 5 * time.Second

// A Run is one performance of a script in one world: it makes the script's calls
// and writes a line for each.
type Run struct {
	World World
	Top   Topology
	lines []string
	stage *Stage
	aside func() // in place of a stage; see NewRun
	socks []*Sock
	ports map[uint16]string // of those that a host chose, their names
}

// Logf writes a line that is no call's.
func (r *Run) Logf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// Near and Far return the address of an end with a port.
func (r *Run) Near(port uint16) sockapi.Sockaddr { return sockapi.Inet4(r.Top.Addrs[Near], port) }

// Far is Near for the far end.
func (r *Run) Far(port uint16) sockapi.Sockaddr { return sockapi.Inet4(r.Top.Addrs[Far], port) }

// Index returns the index of the interface that the two ends are joined by.
func (r *Run) Index() int {
	if r.Top.Hosts[Near] == r.Top.Hosts[Far] {
		return loIndex
	}
	return deviceIndex
}

// Device returns the name of that interface at an end.
func (r *Run) Device(end Host) string {
	if r.Index() == loIndex {
		return "lo"
	}
	return device(end)
}

// Open opens a socket at an end. The script goes on with a nil Sock, whose calls
// do nothing, if that fails.
func (r *Run) Open(name string, end Host, domain, typ, proto int) *Sock {
	s, err := r.World.Socket(r.Top.Hosts[end], domain, typ, proto)
	if err != nil {
		r.Logf("%s = socket(%s, %s, %d): %s", name, domainName(domain), typeName(typ), proto, errnoName(err))
		return &Sock{r: r, Name: name}
	}
	k := &Sock{r: r, Name: name, s: s, host: r.Top.Hosts[end], ping: proto == unix.IPPROTO_ICMP && typ&0xf == unix.SOCK_DGRAM}
	r.socks = append(r.socks, k)
	return k
}

// UDP opens a UDP socket at the near end.
func (r *Run) UDP(name string) *Sock { return r.Open(name, Near, unix.AF_INET, unix.SOCK_DGRAM, 0) }

// FarUDP opens a UDP socket at the far end.
func (r *Run) FarUDP(name string) *Sock {
	return r.Open(name, Far, unix.AF_INET, unix.SOCK_DGRAM, 0)
}

// Ping opens a ping socket at the near end.
func (r *Run) Ping(name string) *Sock {
	return r.Open(name, Near, unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
}

// Pair opens a socket at each end, binds them to ports 7001 and 7002 and
// connects them with each other: what most scripts begin with.
func (r *Run) Pair() (a, b *Sock) {
	a, b = r.UDP("a"), r.FarUDP("b")
	a.quietly(func() {
		a.Bind(r.Near(7001))
		a.Connect(r.Far(7002))
		b.Bind(r.Far(7002))
		b.Connect(r.Near(7001))
	})
	return a, b
}

// Sync returns when all that was sent has arrived, and all that was sent in
// answer, ICMP errors among it; of a script with a ping socket also what hosts answer.
func (r *Run) Sync() {
	if r.aside != nil {
		r.aside()
		return
	}
	pings := slices.ContainsFunc(r.socks, func(k *Sock) bool { return k.ping })
	r.stage.sync(r.Top, r.stage.Careful || pings)
}

// SyncAnswers is Sync for what hosts themselves answer, too: echo replies and ICMP
// errors, which do not keep the order of what sockets send.
func (r *Run) SyncAnswers() { r.stage.sync(r.Top, true) }

// end closes what the script left open.
func (r *Run) end() {
	for _, k := range r.socks {
		if k.s != nil && !k.closed {
			k.s.Close()
		}
	}
}

// A Sock is a socket of a script. Its methods are the calls on it, each of which
// writes its line. A Sock that could not be opened makes none.
type Sock struct {
	Name   string
	r      *Run
	s      *sockapi.Socket
	host   Host
	ping   bool
	own    bool // a ping socket, and the script has named its ident
	closed bool
}

// quietly makes calls whose lines are written only if they say something else
// than ok: a script's preparations.
func (k *Sock) quietly(f func()) {
	before := len(k.r.lines)
	f()
	kept := k.r.lines[:before]
	for _, l := range k.r.lines[before:] {
		if !strings.HasSuffix(l, "= ok") {
			kept = append(kept, l)
		}
	}
	k.r.lines = kept
}

// do makes a call, and writes its line.
func (k *Sock) do(call string, f func() string) {
	if k.s == nil {
		return
	}
	k.r.Logf("%s.%s = %s", k.Name, call, bounded(k.s, f))
}

// bounded makes a call that may wait, within patience: if it does not return in
// time the socket is closed to get it back.
func bounded(s *sockapi.Socket, f func() string) string {
	result := make(chan string, 1)
	go func() { result <- f() }()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case out := <-result:
		return out
	case <-t.C:
		s.Close()
		<-result
		return "hangs"
	}
}

// err makes a call that returns an error only, and returns it too.
func (k *Sock) err(call string, f func() error) error {
	if k.s == nil {
		return nil
	}
	err := f()
	k.r.Logf("%s.%s = %s", k.Name, call, errnoName(err))
	return err
}

// Bind calls bind.
func (k *Sock) Bind(a sockapi.Sockaddr) {
	if k.err("bind("+k.r.addr(a)+")", func() error { return k.s.Bind(a) }) == nil {
		k.own = k.own || k.ping && a.Port != 0
	}
}

// Connect calls connect; the zero address dissolves the association.
func (k *Sock) Connect(a sockapi.Sockaddr) error {
	return k.err("connect("+k.r.addr(a)+")", func() error { return k.s.Connect(a) })
}

// Shutdown calls shutdown.
func (k *Sock) Shutdown(how int) {
	k.err(fmt.Sprintf("shutdown(%d)", how), func() error { return k.s.Shutdown(how) })
}

// Close calls close.
func (k *Sock) Close() { k.err("close()", func() error { k.closed = true; return k.s.Close() }) }

// Nonblock sets or clears O_NONBLOCK.
func (k *Sock) Nonblock(on bool) {
	k.err(fmt.Sprintf("nonblock(%t)", on), func() error { return k.s.SetNonblock(on) })
}

// Listen calls listen.
func (k *Sock) Listen(n int) {
	k.err(fmt.Sprintf("listen(%d)", n), func() error { return k.s.Listen(n) })
}

// Accept calls accept4.
func (k *Sock) Accept(flags int) {
	k.do(fmt.Sprintf("accept(%#x)", flags), func() string {
		c, _, err := k.s.Accept(flags)
		if err == nil {
			c.Close()
		}
		return errnoName(err)
	})
}

// Names calls getsockname and getpeername.
func (k *Sock) Names() {
	if k.s == nil {
		return
	}
	a, err := k.s.Getsockname()
	if k.ping && a.Port != 0 && !k.own { // the host has chosen it: any number in time
		k.r.Logf("%s.getsockname() = %s:some ident %s", k.Name, a.AddrPort().Addr(), errnoName(err))
	} else {
		k.r.Logf("%s.getsockname() = %s %s", k.Name, k.r.addr(a), errnoName(err))
	}
	a, err = k.s.Getpeername()
	k.r.Logf("%s.getpeername() = %s %s", k.Name, k.r.addr(a), errnoName(err))
}

// Addr returns the socket's own address, the zero one if it has none.
func (k *Sock) Addr() sockapi.Sockaddr {
	if k.s == nil {
		return sockapi.Sockaddr{}
	}
	a, err := k.s.Getsockname()
	if err != nil {
		return sockapi.Sockaddr{}
	}
	return a
}

// Set sets an option of type int.
func (k *Sock) Set(level, name, v int) {
	k.err(fmt.Sprintf("setsockopt(%s, %d)", OptionName(level, name), v),
		func() error { return k.s.SetsockoptInt(level, name, v) })
}

// SetBytes sets an option.
func (k *Sock) SetBytes(level, name int, v []byte) {
	k.err(fmt.Sprintf("setsockopt(%s, %x)", OptionName(level, name), v),
		func() error { return k.s.Setsockopt(level, name, v) })
}

// Get gets an option into a buffer of size bytes, and writes what is in it.
func (k *Sock) Get(level, name, size int) { k.GetAs(level, name, size, nil) }

// GetAs is Get, with the value written as show has it.
func (k *Sock) GetAs(level, name, size int, show func(v []byte) string) {
	if show == nil {
		show = func(v []byte) string { return fmt.Sprintf("%x", v) }
	}
	k.do(fmt.Sprintf("getsockopt(%s, %d)", OptionName(level, name), size), func() string {
		v := make([]byte, size, size+8)
		for i := range v {
			v[i] = 0xaa
		}
		n, err := k.s.Getsockopt(level, name, v)
		if err != nil {
			return errnoName(err)
		}
		return fmt.Sprintf("length %d: %s", n, show(v[:min(n, size)]))
	})
}

// GetInt gets an option of type int.
func (k *Sock) GetInt(level, name int) {
	k.GetAs(level, name, 4, func(v []byte) string {
		if len(v) != 4 {
			return fmt.Sprintf("%x", v)
		}
		return fmt.Sprint(int32(binary.NativeEndian.Uint32(v)))
	})
}

// Poll asks for what the socket is ready for, of all that there is to ask.
func (k *Sock) Poll() {
	if k.s == nil || k.closed {
		return
	}
	const all = unix.POLLIN | unix.POLLOUT | unix.POLLPRI | unix.POLLRDHUP | pollRDNORM | pollWRNORM |
		pollRDBAND | pollWRBAND
	fds := []sockapi.PollFd{{Socket: k.s, Events: all}}
	n, err := k.r.World.API(k.host).Poll(fds, 0)
	k.r.Logf("%s.poll() = %d %s %s", k.Name, n, events(int(fds[0].Revents)), errnoName(err))
}

// Inq and Outq ask how much is queued (FIONREAD and SIOCOUTQ).
func (k *Sock) Inq() {
	k.do("ioctl(SIOCINQ)", func() string { return count(k.s.IoctlInt(unix.SIOCINQ)) })
}

// Outq is Inq for sending.
func (k *Sock) Outq() {
	k.do("ioctl(SIOCOUTQ)", func() string { return count(k.s.IoctlInt(unix.SIOCOUTQ)) })
}

// Error gets SO_ERROR.
func (k *Sock) Error() {
	if k.s == nil {
		return
	}
	v, err := k.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		k.r.Logf("%s.error() = %s", k.Name, errnoName(err))
		return
	}
	e := "none"
	if v != 0 {
		e = errnoName(unix.Errno(v))
	}
	k.r.Logf("%s.error() = %s", k.Name, e)
}

// A Waiter is a call that another goroutine makes.
type Waiter struct {
	k      *Sock
	call   string
	result chan string
}

// Later makes a call that is expected to wait, on a goroutine of its own, and
// returns when it is about to. What the script does next has to give it the
// same result whether it waits by then or not yet.
func (k *Sock) Later(call string, f func(s *sockapi.Socket) string) *Waiter {
	w := &Waiter{k: k, call: call, result: make(chan string, 1)}
	if k.s == nil {
		w.result <- "no socket"
		return w
	}
	started := make(chan struct{})
	go func() {
		close(started)
		w.result <- bounded(k.s, func() string { return f(k.s) })
	}()
	<-started
	for range 64 {
		runtime.Gosched()
	}
	return w
}

// Join waits for the call and writes its line.
func (w *Waiter) Join() { w.k.r.Logf("%s.%s = %s", w.k.Name, w.call, <-w.result) }

// addr names an address, with a name for a port that a host chose.
func (r *Run) addr(a sockapi.Sockaddr) string {
	if a.Family != unix.AF_INET || a.Port < firstEphemeral {
		return a.String()
	}
	return fmt.Sprintf("%s:%s", a.AddrPort().Addr(), r.port(a.Port))
}

// firstEphemeral is the first port that a host chooses itself
// (net.ipv4.ip_local_port_range); scripts use lower ones.
const firstEphemeral = 32768

func (r *Run) port(p uint16) string {
	if p < firstEphemeral {
		return fmt.Sprint(p)
	}
	n, ok := r.ports[p]
	if !ok {
		n = fmt.Sprintf("port%d", len(r.ports)+1)
		r.ports[p] = n
	}
	return n
}
