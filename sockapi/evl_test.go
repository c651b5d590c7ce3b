package sockapi

import (
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// evlPair returns the sockets of two stacks, 10.9.0.1 and 10.9.0.2, joined by a
// pipe, of which the first has a gateway 10.9.0.9 too.
func evlPair(t *testing.T) (near, far *API) {
	t.Helper()
	a, b := pipe.New(pipe.Options{})
	return evlStack(t, a, "10.9.0.1/24"), evlStack(t, b, "10.9.0.2/24")
}

func evlStack(t *testing.T, l link.Link, addr string) *API {
	t.Helper()
	a := newAPI(t)
	ifc, err := a.st.AddLink(l, stack.InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ifc.AddAddress(netip.MustParsePrefix(addr)); err != nil {
		t.Fatal(err)
	}
	err = a.st.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("10.10.0.0/16"), Gateway: [4]byte{10, 9, 0, 9}, Iface: ifc.Index()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func evlSocket(t *testing.T, a *API, typ int, ip [4]byte) *Socket {
	t.Helper()
	s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Bind(Inet4(ip, 0)); err != nil {
		t.Fatal(err)
	}
	return s
}

func evlName(t *testing.T, s *Socket) Sockaddr {
	t.Helper()
	name, err := s.Getsockname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// message returns a message with one buffer of n bytes.
func message(n int) *Msghdr { return &Msghdr{Iov: [][]byte{make([]byte, n)}} }

var (
	nearIP   = [4]byte{10, 9, 0, 1}
	farIP    = [4]byte{10, 9, 0, 2}
	nobodyIP = [4]byte{10, 9, 0, 77}
	beyondIP = [4]byte{10, 10, 0, 1}
	localIP  = [4]byte{127, 0, 0, 1}
)

// TestOobDeadlines runs the same calls out-of-band and in-band.
func TestOobDeadlines(t *testing.T) {
	for name, typ := range map[string]int{"out-of-band": SOCK_OOB, "in-band": 0} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			rx, tx := evlSocket(t, a, typ, localIP), evlSocket(t, a, typ, localIP)
			const wait = 30 * time.Millisecond
			began := time.Now()
			if _, err := rx.OobRecvmsg(message(10), a.Date(wait), 0); err != unix.ETIMEDOUT {
				t.Errorf("nothing came: %v", err)
			}
			if d := time.Since(began); d < wait {
				t.Errorf("waited %s of %s", d, wait)
			}
			if _, err := rx.OobRecvmsg(message(10), a.Date(-time.Second), 0); err != unix.ETIMEDOUT {
				t.Errorf("a date in the past: %v", err)
			}
			if _, err := rx.OobRecvmsg(message(10), nil, unix.MSG_DONTWAIT); err != unix.EAGAIN {
				t.Errorf("MSG_DONTWAIT: %v", err)
			}
			out := message(5)
			out.Name = evlName(t, rx)
			if n, err := tx.OobSendmsg(out, a.Date(time.Second), MSG_PROBE); n != 5 || err != nil {
				t.Errorf("sent %d, %v", n, err)
			}
			in := message(10)
			if n, err := rx.OobRecvmsg(in, a.Date(-time.Second), 0); n != 5 || err != nil || in.Name != evlName(t, tx) {
				t.Errorf("a datagram that is there: %d, %v from %v", n, err, in.Name)
			}
			if err := rx.SetNonblock(true); err != nil {
				t.Fatal(err)
			}
			if _, err := rx.OobRecvmsg(message(10), a.Date(time.Second), 0); err != unix.EAGAIN {
				t.Errorf("O_NONBLOCK: %v", err)
			}
		})
	}
}

func TestOobCloseEndsWait(t *testing.T) {
	for name, typ := range map[string]int{"out-of-band": SOCK_OOB, "in-band": 0} {
		for date, d := range map[string]time.Duration{"with a deadline": time.Minute, "for ever": -1} {
			t.Run(name+" "+date, func(t *testing.T) {
				a := newAPI(t)
				s := evlSocket(t, a, typ, localIP)
				var deadline *unix.Timespec
				if d > 0 {
					deadline = a.Date(d)
				}
				done := make(chan error)
				go func() {
					_, err := s.OobRecvmsg(message(10), deadline, 0)
					done <- err
				}()
				s.Close()
				if err := <-done; err != unix.EBADF {
					t.Error(err)
				}
			})
		}
	}
}

func TestOobReadWrite(t *testing.T) {
	for name, typ := range map[string]int{"out-of-band": SOCK_OOB, "in-band": 0} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			rx, tx := evlSocket(t, a, typ, localIP), evlSocket(t, a, typ, localIP)
			if _, err := tx.OobWrite([]byte("lost")); err != unix.EDESTADDRREQ {
				t.Errorf("no peer: %v", err)
			}
			if err := tx.Connect(evlName(t, rx)); err != nil {
				t.Fatal(err)
			}
			if n, err := tx.OobWrite([]byte("hello")); n != 5 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			buf := make([]byte, 10)
			if n, err := rx.OobRead(buf); err != nil || string(buf[:n]) != "hello" {
				t.Errorf("%q, %v", buf[:n], err)
			}
		})
	}
}

func TestOobErrors(t *testing.T) {
	near, _ := evlPair(t)
	s := evlSocket(t, near, SOCK_OOB, nearIP)
	tests := []struct {
		name  string
		to    Sockaddr
		size  int
		flags int
		date  *unix.Timespec
		want  error
	}{
		{"no destination", Sockaddr{}, 1, 0, nil, unix.EDESTADDRREQ},
		{"zero address", Inet4([4]byte{}, 7), 1, 0, nil, unix.EINVAL},
		{"zero port", Inet4(farIP, 0), 1, 0, nil, unix.EINVAL},
		{"too long", Inet4(farIP, 7), 65508, 0, nil, unix.EMSGSIZE},
		{"unknown flag", Inet4(farIP, 7), 1, unix.MSG_OOB, nil, unix.EINVAL},
		{"no route", Inet4([4]byte{192, 0, 2, 1}, 7), 1, 0, nil, unix.ENETUNREACH},
		{"gateway", Inet4(beyondIP, 7), 1, unix.MSG_DONTROUTE, nil, unix.EMULTIHOP},
		{"gateway, allowed", Inet4(beyondIP, 7), 1, 0, nil, nil},
		{"on the link", Inet4(farIP, 7), 1, unix.MSG_DONTROUTE, nil, nil},
		{"unknown neighbour", Inet4(nobodyIP, 7), 1, 0, nil, nil},
		{"unknown neighbour, asked", Inet4(nobodyIP, 7), 1, MSG_PROBE, nil, unix.EINPROGRESS},
		{"negative date", Inet4(farIP, 7), 1, 0, &unix.Timespec{Sec: -1}, unix.EINVAL},
		{"date with too many nanoseconds", Inet4(farIP, 7), 1, 0, &unix.Timespec{Nsec: 1e9}, unix.EINVAL},
		{"date beyond the clock", Inet4(farIP, 7), 1, 0, &unix.Timespec{Sec: 1 << 62}, nil},
	}
	for _, tt := range tests {
		m := message(tt.size)
		m.Name = tt.to
		n, err := s.OobSendmsg(m, tt.date, tt.flags)
		if tt.want == nil && (err != nil || n != tt.size) || tt.want != nil && err != tt.want {
			t.Errorf("%s: %d, %v, want %v", tt.name, n, err, tt.want)
		}
	}
	for _, flags := range []int{unix.MSG_TRUNC, unix.MSG_WAITALL, unix.MSG_OOB, MSG_TIMESTAMP} {
		if _, err := s.OobRecvmsg(message(100), nil, flags); err != unix.EINVAL {
			t.Errorf("receiving with flags %#x: %v", flags, err)
		}
	}
	if err := s.Shutdown(unix.SHUT_WR); err != unix.ENOTCONN {
		t.Fatal(err)
	}
	m := message(1)
	m.Name = Inet4(farIP, 7)
	if _, err := s.OobSendmsg(m, nil, 0); err != unix.EPIPE {
		t.Errorf("after shutdown: %v", err)
	}
}

// TestOobProbeSends sees that a datagram which EINPROGRESS was said of arrives.
func TestOobProbeSends(t *testing.T) {
	near, far := evlPair(t)
	tx, rx := evlSocket(t, near, SOCK_OOB, nearIP), evlSocket(t, far, SOCK_OOB, farIP)
	m := message(5)
	m.Name = evlName(t, rx)
	if _, err := tx.OobSendmsg(m, nil, MSG_PROBE); err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	if n, err := rx.OobRecvmsg(message(10), far.Date(5*time.Second), 0); n != 5 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := tx.OobSendmsg(m, nil, MSG_PROBE); err != nil {
		t.Errorf("the neighbour is known: %v", err)
	}
}

func TestOobFullBufferTimesOut(t *testing.T) {
	near, _ := evlPair(t)
	s := evlSocket(t, near, SOCK_OOB, nearIP)
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
		t.Fatal(err)
	}
	m := message(1000)
	m.Name = Inet4(nobodyIP, 7)
	var err error
	for range 100 {
		if _, err = s.OobSendmsg(m, nil, unix.MSG_DONTWAIT); err != nil {
			break
		}
	}
	if err != unix.EAGAIN {
		t.Fatalf("it never fills: %v", err)
	}
	if _, err := s.OobSendmsg(m, near.Date(10*time.Millisecond), 0); err != unix.ETIMEDOUT {
		t.Errorf("with a deadline: %v", err)
	}
}

func TestSolicit(t *testing.T) {
	near, _ := evlPair(t)
	s := evlSocket(t, near, SOCK_OOB, nearIP)
	tests := []struct {
		name  string
		peer  Sockaddr
		flags int
		want  error
	}{
		{"answers", Inet4(farIP, 0), 0, nil},
		{"permanent", Inet4(farIP, 0), EVL_NEIGH_PERMANENT, nil},
		{"ourselves", Inet4(nearIP, 0), 0, nil},
		{"broadcast", Inet4([4]byte{255, 255, 255, 255}, 0), 0, nil},
		{"gateway", Inet4(beyondIP, 0), 0, unix.EMULTIHOP},
		{"flags", Inet4(farIP, 0), 64, unix.EINVAL},
		{"no route", Inet4([4]byte{192, 0, 2, 1}, 0), 0, unix.ENETUNREACH},
		{"family", Sockaddr{Family: unix.AF_INET6}, 0, unix.EAFNOSUPPORT},
	}
	for _, tt := range tests {
		if err := s.Solicit(tt.peer, tt.flags); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	found := false
	for _, n := range near.st.Neighbours() {
		found = found || n.Addr == farIP && n.State == arp.Permanent
	}
	if !found {
		t.Errorf("not permanent: %+v", near.st.Neighbours())
	}
	if err := evlSocket(t, near, 0, localIP).Solicit(Inet4(localIP, 0), 0); err != unix.EOPNOTSUPP {
		t.Errorf("in-band: %v", err)
	}
	s.Close()
	if err := s.Solicit(Inet4(farIP, 0), 0); err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
}
