package shared

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A way is how a socket takes a port.
type way struct {
	addr                 string
	reuseAddr, reusePort bool
	connected            bool
}

func (w way) String() string {
	return fmt.Sprintf("%s reuseaddr %t reuseport %t connected %t", w.addr, w.reuseAddr, w.reusePort, w.connected)
}

// ways returns all there are.
func ways() (all []way) {
	for _, addr := range []string{"0.0.0.0", "10.9.0.1", "127.0.0.1"} {
		for flags := range 8 {
			all = append(all, way{addr, flags&1 != 0, flags&2 != 0, flags&4 != 0})
		}
	}
	return all
}

// A taker takes port 7 in a way, and returns how to let go of it.
type taker func(w way) (release func(), e error)

// peerOf is whom a connected socket of the test is connected to.
func peerOf(w way) netip.AddrPort {
	if w.addr == "127.0.0.1" {
		return netip.MustParseAddrPort("127.0.0.1:9")
	}
	return netip.MustParseAddrPort("10.9.0.2:9")
}

// inStack takes ports by sockets of a stack.
func inStack(st *stack.Stack) taker {
	return func(w way) (func(), error) {
		k, err := st.NewUDPSocket()
		if err != nil {
			return nil, err
		}
		k.SetReuse(w.reuseAddr, w.reusePort)
		err = k.Bind(netip.AddrPortFrom(netip.MustParseAddr(w.addr), 7))
		if err == nil && w.connected {
			err = k.Connect(peerOf(w))
		}
		if err != nil {
			k.Close()
		}
		return func() { k.Close() }, err
	}
}

// inKernel takes ports by in-band sockets at an end.
func inKernel(t *testing.T, e *lab.Endpoint) taker {
	work := lab.Worker(t, e.Namespace)
	return func(w way) (release func(), err error) {
		done := make(chan struct{})
		work <- func() { defer close(done); release, err = takeInBand(w) }
		<-done
		return release, err
	}
}

func takeInBand(w way) (func(), error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	set := func(option int, on bool) {
		if on {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1)
		}
	}
	set(unix.SO_REUSEADDR, w.reuseAddr)
	set(unix.SO_REUSEPORT, w.reusePort)
	err = unix.Bind(fd, &unix.SockaddrInet4{Port: 7, Addr: netip.MustParseAddr(w.addr).As4()})
	if err == nil && w.connected {
		p := peerOf(w)
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(p.Port()), Addr: p.Addr().As4()})
	}
	if err != nil {
		unix.Close(fd)
	}
	return func() { unix.Close(fd) }, err
}

// Whoever has a port, in-band, this stack or another one, the next one gets the errno that
// one in-band socket gives another.
func TestErrnosAsInBand(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	other := worldOf(t, w.Lab, Config{Devices: []string{"near0"}})
	takers := map[string]taker{"in-band": inKernel(t, w.Near()), "this stack": inStack(w.st), "another stack": inStack(other.st)}
	for _, a := range ways() {
		for _, b := range ways() {
			want := secondTakes(t, takers["in-band"], takers["in-band"], a, b)
			for first, x := range takers {
				for second, y := range takers {
					if got := secondTakes(t, x, y, a, b); got != want {
						t.Errorf("%s (%s), then %s (%s): %v, want %v", first, a, second, b, got, want)
					}
				}
			}
		}
	}
}

// secondTakes returns what the second of two says.
func secondTakes(t *testing.T, x, y taker, a, b way) error {
	t.Helper()
	first, err := x(a)
	if err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	defer first()
	second, err := y(b)
	if err == nil {
		second()
	}
	return err
}
