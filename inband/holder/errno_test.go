package holder

import (
	"bufio"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// A taker binds a port, connects if it is told to, and returns how it went.
type taker func(r Request, connected bool) (port uint16, release func(), e unix.Errno)

// plain takes ports by plain in-band sockets of a namespace: the yardstick.
func plain(n *netlab.Namespace) taker {
	return func(r Request, connected bool) (uint16, func(), unix.Errno) {
		fd := -1
		err := n.Do(func() (err error) { fd, err = plainSocket(r, connected); return err })
		if err != nil {
			return 0, nil, errnoOf(err)
		}
		port, err := portOf(fd)
		return port, func() { unix.Close(fd) }, errnoOf(err)
	}
}

func plainSocket(r Request, connected bool) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	set := func(level, name, value int) {
		if err == nil && value != 0 {
			err = unix.SetsockoptInt(fd, level, name, value)
		}
	}
	one := map[bool]int{true: 1}
	set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(r.Device))
	set(unix.SOL_SOCKET, unix.SO_REUSEADDR, one[r.ReuseAddr])
	set(unix.SOL_SOCKET, unix.SO_REUSEPORT, one[r.ReusePort])
	set(unix.SOL_IP, unix.IP_FREEBIND, one[r.FreeBind])
	set(unix.SOL_IP, unix.IP_TRANSPARENT, one[r.Transparent])
	set(unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, int(r.PortHigh)<<16|int(r.PortLow))
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: r.Local, Port: int(r.Port)})
	}
	if err == nil && connected {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 9}, Port: 9})
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// held takes ports by Holds.
func held(h *Holders) taker {
	return func(r Request, connected bool) (uint16, func(), unix.Errno) {
		d, e := h.Hold(r)
		if e != 0 {
			return 0, nil, e
		}
		if connected {
			if _, e := d.Connect(Peer{Addr: [4]byte{127, 0, 0, 9}, Port: 9}); e != 0 {
				d.Close()
				return 0, nil, e
			}
		}
		return d.Port(), d.Close, 0
	}
}

// A way is how one of a pair of sockets is bound.
type way struct {
	Request
	connected bool
}

func (w way) String() string {
	return fmt.Sprintf("%v:%d dev %d addr %v port %v connected %v", w.Local, w.Port, w.Device, w.ReuseAddr, w.ReusePort, w.connected)
}

// ways are all that there are of what decides whether two may have a port.
func ways() (all []way) {
	for _, local := range [][4]byte{{}, {127, 0, 0, 1}, {127, 0, 0, 2}} {
		for bits := range 16 {
			w := way{Request{Local: local, Port: 5000, ReuseAddr: bits&1 != 0, ReusePort: bits&2 != 0}, bits&4 != 0}
			if bits&8 != 0 {
				w.Device = 1 // lo
			}
			all = append(all, w)
		}
	}
	return all
}

// Two that want a port, in each way that there is, get what two in-band sockets get:
// whichever is a Hold, and whether of one Holders or of two.
func TestErrnosAsInBand(t *testing.T) {
	n := newSpace(t)
	kernel, ours, others := plain(n), held(newHolders(t, n)), held(newHolders(t, n))
	pairs := []struct {
		name          string
		first, second taker
	}{{"in-band, ours", kernel, ours}, {"ours, in-band", ours, kernel}, {"ours, ours", ours, ours}, {"ours, another's", ours, others}}
	refused := 0
	for _, a := range ways() {
		for _, b := range ways() {
			want := second(t, kernel, kernel, a, b)
			if want != 0 {
				refused++
			}
			for _, p := range pairs {
				if got := second(t, p.first, p.second, a, b); got != want {
					t.Errorf("%s: %v, then %v: %v, in-band %v", p.name, a, b, got, want)
				}
			}
		}
	}
	if all := len(ways()) * len(ways()); refused < 100 || refused > all-100 {
		t.Errorf("%d of %d pairs were refused: the ways say little", refused, all)
	}
}

// second returns what the second of two gets.
func second(t *testing.T, first, then taker, a, b way) unix.Errno {
	t.Helper()
	_, release, e := first(a.Request, a.connected)
	if e != 0 {
		t.Fatalf("first: %v: %v", a, e)
	}
	defer release()
	port, again, e := then(b.Request, b.connected)
	if e == 0 {
		if port != b.Port {
			t.Errorf("%v: port %d", b, port)
		}
		again()
	}
	return e
}

// Addresses, options and devices that cannot be are refused as in-band.
func TestRefusedAsInBand(t *testing.T) {
	n := newSpace(t)
	kernel, ours := plain(n), held(newHolders(t, n))
	foreign := [4]byte{192, 0, 2, 1}
	for _, r := range []Request{
		{Local: foreign, Port: 7}, {Local: foreign, Port: 7, FreeBind: true}, {Local: foreign, Port: 7, Transparent: true},
		{Local: [4]byte{233, 252, 0, 1}, Port: 7}, {Local: [4]byte{255, 255, 255, 255}, Port: 7},
		{Local: [4]byte{127, 255, 255, 255}, Port: 7}, {Device: 99, Port: 7}, {PortLow: 9, PortHigh: 8},
	} {
		_, release, want := kernel(r, false)
		if release != nil {
			release()
		}
		_, release, got := ours(r, false)
		if release != nil {
			release()
		}
		if got != want {
			t.Errorf("%+v: %v, in-band %v", r, got, want)
		}
	}
}

// The kernel chooses among the ports of the range, each once, and says when all are taken.
func TestPortChoice(t *testing.T) {
	for name, by := range map[string]func(*netlab.Namespace) taker{
		"in-band": plain,
		"ours":    func(n *netlab.Namespace) taker { return held(newHolders(t, n)) },
	} {
		take := by(newSpace(t))
		seen := map[uint16]bool{}
		for range 8 {
			port, release, e := take(Request{PortLow: 40000, PortHigh: 40007}, false)
			ok(t, e)
			defer release()
			if port < 40000 || port > 40007 || seen[port] {
				t.Errorf("%s: port %d", name, port)
			}
			seen[port] = true
		}
		if _, _, e := take(Request{PortLow: 40000, PortHigh: 40007}, false); e != unix.EADDRINUSE {
			t.Errorf("%s: the ninth of eight ports: %v", name, e)
		}
	}
}

// A thread without capabilities gets no port below 1024, and any other.
func TestPrivilegedPort(t *testing.T) {
	n := newSpace(t)
	must(t, n.SetSysctl("net/ipv4/ip_unprivileged_port_start", "1024"))
	type result struct {
		low, high, mark unix.Errno
		err             error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread has no capabilities any more
		var r result
		defer func() { done <- r }()
		if r.err = unix.Setns(n.FD(), unix.CLONE_NEWNET); r.err != nil {
			return
		}
		var h *Holders
		if h, r.err = Open(); r.err != nil {
			return
		}
		defer h.Close()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var nothing [2]unix.CapUserData
		if r.err = unix.Capset(&header, &nothing[0]); r.err != nil {
			return
		}
		_, r.low = h.Hold(Request{Port: 1023})
		var d *Hold
		if d, r.high = h.Hold(Request{Port: 1024}); r.high == 0 {
			_, r.mark = d.Connect(Peer{Addr: [4]byte{127, 0, 0, 1}, Port: 9, Mark: 1})
		}
	}()
	r := <-done
	must(t, r.err)
	if r.low != unix.EACCES || r.high != 0 || r.mark != unix.EPERM {
		t.Errorf("port 1023: %v, 1024: %v, a mark: %v", r.low, r.high, r.mark)
	}
}

// A port is free as soon as the process that holds it was killed.
func TestKilledProcessFreesPort(t *testing.T) {
	n := newSpace(t)
	cmd := self(t, n)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, n.Do(cmd.Start))
	var port uint16
	var e int
	_, err = fmt.Fscan(bufio.NewReader(out), &port, &e)
	if err != nil || e != 0 {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the child: errno %d, %v", e, err)
	}
	take := plain(n)
	r := Request{Local: [4]byte{127, 0, 0, 1}, Port: port}
	if _, _, e := take(r, false); e != unix.EADDRINUSE {
		t.Errorf("while the child lives: %v", e)
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	for end := time.Now().Add(patience); ; {
		_, release, e := take(r, false)
		if e == 0 {
			release()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after kill -9: %v", e)
		}
	}
}
