package shared

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A world is a host, near, whose address a stack shares, and another, far.
type world struct {
	t *testing.T
	*lab.Lab
	host *Host
	st   *stack.Stack
}

// rungs are what all tests run on: all are equally correct.
var rungs = []claim.Rung{claim.TCX, claim.NFT, claim.Holder}

// onEachRung runs a test on every rung of the ladder.
func onEachRung(t *testing.T, c Config, f func(t *testing.T, w *world)) {
	t.Helper()
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			c.Only = r
			f(t, newWorld(t, c))
		})
	}
}

func newWorld(t *testing.T, c Config) *world {
	t.Helper()
	lab.CheckLeaks(t)
	return worldOf(t, lab.New(t, lab.Config{Kernel: lab.All}), c)
}

// worldOf is newWorld in a lab that is there.
func worldOf(t *testing.T, l *lab.Lab, c Config) *world {
	t.Helper()
	return worldWith(t, l, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// worldWith is worldOf with a log.
func worldWith(t *testing.T, l *lab.Lab, c Config, log *slog.Logger) *world {
	t.Helper()
	w := &world{t: t, Lab: l}
	c.Stack.Panics, c.Log = true, log
	w.Near().In(t, func() (err error) {
		if w.host, err = Open(c); err == nil {
			w.st = w.host.Stack()
		}
		return err
	})
	t.Cleanup(func() { w.host.Close() })
	return w
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// addrPort returns an address and port of an end.
func addrPort(e *lab.Endpoint, port uint16) netip.AddrPort { return netip.AddrPortFrom(e.Addr, port) }

// socket opens a UDP socket of the stack's, bound to an address unless that is "".
func (w *world) socket(local string) *stack.UDPSocket {
	w.t.Helper()
	k, err := w.st.NewUDPSocket()
	check(w.t, err)
	w.t.Cleanup(func() { k.Close() })
	if local != "" {
		check(w.t, k.Bind(netip.MustParseAddrPort(local)))
	}
	return k
}

// recv receives one datagram from a socket of the stack's.
func (w *world) recv(k *stack.UDPSocket) (string, stack.Info) {
	w.t.Helper()
	b := make([]byte, 65536)
	n, info, err := k.Recv(b, 0, w.st.Deadline(lab.Patience))
	if err != nil {
		w.t.Fatalf("Recv: %v", err)
	}
	return string(b[:n]), info
}

// nothing fails if a socket of the stack's has a datagram, now or soon.
func (w *world) nothing(k *stack.UDPSocket) {
	w.t.Helper()
	b := make([]byte, 65536)
	if n, info, err := k.Recv(b, 0, w.st.Deadline(20*time.Millisecond)); err != unix.EAGAIN {
		w.t.Errorf("received %q from %v, %v", b[:n], info.From, err)
	}
}

// recvInBand receives one datagram from an in-band socket.
func recvInBand(t testing.TB, u *inband.UDP) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 65536)
	n, from, err := u.RecvFrom(b, 0)
	check(t, err)
	return string(b[:n]), from
}

// counters returns what the kernel of an end has counted (/proc/net/snmp and netstat).
func counters(t testing.TB, e *lab.Endpoint) map[string]int {
	t.Helper()
	all := map[string]int{}
	e.In(t, func() error {
		for _, file := range []string{"snmp", "netstat"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			lines := strings.Split(strings.TrimSpace(string(b)), "\n")
			for at := 0; at+1 < len(lines); at += 2 {
				names, values := strings.Fields(lines[at]), strings.Fields(lines[at+1])
				for f := 1; f < len(names); f++ {
					n, _ := strconv.Atoi(values[f])
					all[strings.TrimSuffix(names[0], ":")+names[f]] = n
				}
			}
		}
		return nil
	})
	return all
}

// grown returns by how much counters have grown since before, those that have not left out.
func grown(before, now map[string]int, names ...string) string {
	var out []string
	for _, n := range names {
		if d := now[n] - before[n]; d != 0 {
			out = append(out, fmt.Sprintf("%s+%d", n, d))
		}
	}
	return strings.Join(out, " ")
}

// runIn calls a program in a namespace.
func runIn(t testing.TB, n *netlab.Namespace, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := n.Do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// addrPortOf returns an address and port.
func addrPortOf(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}
