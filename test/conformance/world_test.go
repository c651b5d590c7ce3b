package conformance

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/inband"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A setup says what world a test wants; the zero value is an ordinary one.
type setup struct {
	lab       lab.Config // Kernel is the far end if it says nothing
	stack     stack.Config
	link      tpacket.Options
	arp       arp.Config
	wrap      func(link.Link) link.Link // puts something around the ring
	noAddress bool                      // leaves the interface without its address
}

// A world is our stack at the near end of a lab, and the kernel at the far one.
type world struct {
	t         testing.TB
	lab       *lab.Lab
	near, far *lab.Endpoint
	stack     *stack.Stack
	ifc       *stack.Interface
	dev       *tpacket.Link
	shared    bool // the address is the kernel's
}

func newWorld(t testing.TB, c setup) *world {
	t.Helper()
	if c.lab.Kernel == lab.None {
		c.lab.Kernel = lab.Far
	}
	if os.Getenv(sharedVariable) != "" {
		return newSharedWorld(t, c)
	}
	l := lab.New(t, c.lab)
	w := &world{t: t, lab: l, near: l.Near(), far: l.Far()}
	w.dev = openRing(t, w.near, c.link)
	var err error
	w.stack, err = stack.New(c.stack)
	check(t, err)
	t.Cleanup(func() { check(t, w.stack.Close()) })
	var outer link.Link = w.dev
	if c.wrap != nil {
		outer = c.wrap(outer)
	}
	w.ifc, err = w.stack.AddLink(outer, stack.InterfaceConfig{ARP: c.arp})
	check(t, err)
	if !c.noAddress {
		check(t, w.ifc.AddAddress(w.near.Prefix()))
	}
	return w
}

func openRing(t testing.TB, e *lab.Endpoint, o tpacket.Options) *tpacket.Link {
	t.Helper()
	var l *tpacket.Link
	e.In(t, func() (err error) {
		l, err = tpacket.Open(e.Name, o)
		return err
	})
	return l
}

// addAddress gives the near end another address: the stack, or the kernel whose addresses it
// shares.
func (w *world) addAddress(p netip.Prefix) {
	w.t.Helper()
	if !w.shared {
		check(w.t, w.ifc.AddAddress(p))
		return
	}
	check(w.t, w.near.AddAddress(w.near.Name, p))
	await(w.t, "the stack has the kernel's address", func() bool {
		k := w.unbound()
		defer k.Close()
		return k.Bind(netip.AddrPortFrom(p.Addr(), 0)) == nil
	})
}

// addDefaultRoute has the far end be the near end's gateway.
func (w *world) addDefaultRoute() {
	w.t.Helper()
	if !w.shared {
		check(w.t, w.stack.AddRoute(defaultRoute(w.far.Addr)))
		return
	}
	check(w.t, w.near.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), w.far.Addr))
	await(w.t, "the stack goes by the kernel's route", func() bool {
		k := w.unbound()
		defer k.Close()
		return k.Connect(netip.MustParseAddrPort("192.0.2.1:9")) == nil
	})
}

// udp opens a UDP socket of our stack's at a port of all its addresses.
func (w *world) udp(port uint16) *stack.UDPSocket {
	w.t.Helper()
	return w.udpAt(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
}

func (w *world) udpAt(local netip.AddrPort) *stack.UDPSocket {
	w.t.Helper()
	k := w.unbound()
	check(w.t, k.Bind(local))
	return k
}

// unbound opens a UDP socket.
func (w *world) unbound() *stack.UDPSocket {
	w.t.Helper()
	k, err := w.stack.NewUDPSocket()
	opened(w.t, k, err)
	return k
}

// ping opens a ping socket.
func (w *world) ping() *stack.PingSocket {
	w.t.Helper()
	k, err := w.stack.NewPingSocket()
	opened(w.t, k, err)
	return k
}

// opened has a socket closed with the test, if it has not been by then.
func opened(t testing.TB, k stack.Socket, err error) {
	t.Helper()
	check(t, err)
	t.Cleanup(func() { k.Close() })
}

// recv receives one datagram of ours within the lab's patience.
func (w *world) recv(k stack.Socket) ([]byte, stack.Info) {
	w.t.Helper()
	b := make([]byte, 1<<16)
	n, info, err := k.Recv(b, 0, w.stack.Deadline(lab.Patience))
	if err != nil {
		w.t.Fatalf("Recv: %v", err)
	}
	return b[:n], info
}

// send sends from a socket of ours.
func (w *world) send(k stack.Socket, b []byte, to netip.AddrPort) {
	w.t.Helper()
	if err := k.SendTo(b, 0, w.stack.Deadline(lab.Patience), to); err != nil {
		w.t.Fatalf("SendTo %v, %d bytes: %v", to, len(b), err)
	}
}

// stat returns one of our stack's counters.
func (w *world) stat(name string) uint64 { return w.stack.Stats().Get(name) }

// wantStat fails the test unless the counter has come to want in time, and stays
// there for as long as it takes to look again.
func (w *world) wantStat(name string, want uint64) {
	w.t.Helper()
	if !eventually(func() bool { return w.stat(name) >= want }) || w.stat(name) != want {
		w.t.Errorf("%s is %d, want %d", name, w.stat(name), want)
	}
}

// awaitError waits until a socket of ours has a pending error, and returns it.
func (w *world) awaitError(k stack.Socket) unix.Errno {
	w.t.Helper()
	var e unix.Errno
	eventually(func() bool { e = k.Base().Errors().Take(); return e != 0 }) // the error queue has it a moment before
	return e
}

// kernelCounter returns a counter of the kernel's (/proc/net/snmp).
func kernelCounter(t testing.TB, e *lab.Endpoint, proto, name string) uint64 {
	t.Helper()
	data, err := e.ReadFile("net/snmp")
	check(t, err)
	var names []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if f[0] != proto+":" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		v, err := strconv.ParseUint(f[slices.Index(names, name)], 10, 64)
		check(t, err)
		return v
	}
	t.Fatalf("no counter %s %s", proto, name)
	return 0
}

// ours and kernels are addresses of the two ends.
func (w *world) ours(port uint16) netip.AddrPort    { return w.near.AddrPort(port) }
func (w *world) kernels(port uint16) netip.AddrPort { return w.far.AddrPort(port) }

// echoOnce sends a datagram from k to the kernel's socket and back.
func (w *world) echoOnce(k *stack.UDPSocket, peer *inband.UDP, b []byte) {
	w.t.Helper()
	at, err := peer.LocalAddr()
	check(w.t, err)
	w.send(k, b, w.kernels(at.Port()))
	got, from := recvInBand(w.t, peer)
	wantBytes(w.t, got, b)
	check(w.t, peer.SendTo(got, from))
	back, _ := w.recv(k)
	wantBytes(w.t, back, b)
}

// recvInBand receives at a socket of the kernel's.
func recvInBand(t testing.TB, u *inband.UDP) ([]byte, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 1<<16)
	n, from, err := u.RecvFrom(b, 0)
	if err != nil {
		t.Fatalf("%v: recvfrom: %v", u, err)
	}
	return b[:n], from
}

// eventually reports whether cond comes true within the lab's patience.
func eventually(cond func() bool) bool {
	for end := time.Now().Add(lab.Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if cond() {
			return true
		}
	}
	return cond()
}

// await fails the test if cond does not come true in time.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !eventually(cond) {
		t.Fatalf("not within %v: %s", lab.Patience, what)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if got != want {
		t.Errorf("error is %v, want %v", got, want)
	}
}

func wantBytes(t testing.TB, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Fatalf("got %d bytes, want %d; they differ from byte %d", len(got), len(want), at)
}

// pattern returns n bytes that differ from place to place and by seed, so that
// pieces in the wrong order or of another datagram show.
func pattern(n int, seed uint32) []byte {
	b := make([]byte, n)
	x := seed*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// sealed returns n bytes, at least 8, that begin with their number and a
// checksum of all that follows: intact tells whether they arrived so.
func sealed(n int, number uint32) []byte {
	b := pattern(n, number)
	binary.BigEndian.PutUint32(b[4:], number)
	binary.BigEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

func intact(b []byte) (number uint32, ok bool) {
	if len(b) < 8 || binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[4:]), true
}
