package shared

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/stack"
)

// echo has a socket of the stack's send back what it receives, until the test ends.
func (w *world) echo(k *stack.UDPSocket) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, info, err := k.Recv(b, 0, stack.NoDeadline)
			if err == unix.EBADF {
				return
			}
			if err == nil {
				k.SendTo(b[:n], 0, w.st.Deadline(time.Second), netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort))
			}
		}
	}()
	w.t.Cleanup(func() { k.Close(); <-done })
}

// echoInBand is echo for an in-band socket.
func echoInBand(t *testing.T, u *inband.UDP) {
	check(t, u.SetReadTimeout(10*time.Millisecond)) // Close does not wake it
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for !stop.Load() {
			if n, from, err := u.RecvFrom(b, 0); err == nil {
				u.SendTo(b[:n], from)
			}
		}
	}()
	t.Cleanup(func() { stop.Store(true); <-done })
}

// roundTrips sends n datagrams to a server, a few at a time, and returns an error unless
// each comes back, once.
func roundTrips(u *inband.UDP, to netip.AddrPort, n int) error {
	const window = 16
	b := make([]byte, 64)
	for first := 0; first < n; first += window {
		for seq := first; seq < first+window; seq++ {
			binary.BigEndian.PutUint32(b, uint32(seq))
			if err := u.SendTo(b[:4+seq%60], to); err != nil {
				return err
			}
		}
		seen := map[int]bool{}
		for len(seen) < window {
			got, from, err := u.RecvFrom(b, 0)
			if err != nil {
				return fmt.Errorf("%s has answered %d of %d: %w", to, first+len(seen), n, err)
			}
			seq := int(binary.BigEndian.Uint32(b))
			if from != to || got != 4+seq%60 || seq < first || seq >= first+window || seen[seq] {
				return fmt.Errorf("%s: an answer that is none, %d bytes from %s, sequence %d after %d", to, got, from, seq, first)
			}
			seen[seq] = true
		}
	}
	return nil
}

// all runs functions at once, and fails the test by their errors.
func all(t *testing.T, fs ...func() error) {
	t.Helper()
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	check(t, errors.Join(errs...))
}

// shorter returns a load for a test that is in a hurry.
func shorter(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// An in-band server and one of the stack's on one address, on neighbouring ports, are both
// under load: each answers everything, and the kernel counts nothing but the in-band one's.
func TestBothUnderLoad(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.echo(w.socket("0.0.0.0:7"))
		echoInBand(t, w.Near().BoundUDP(t, addrPort(w.Near(), 8)))
		a, b := w.Far().UDP(t, 0), w.Far().UDP(t, 0)
		before, n := counters(t, w.Near()), shorter(20000)
		all(t, func() error { return roundTrips(a, addrPort(w.Near(), 7), n) },
			func() error { return roundTrips(b, addrPort(w.Near(), 8), n) })
		want := ""
		if w.host.claims.Rung() == claim.Holder {
			want = fmt.Sprintf("UdpInErrors+%d", n)
		}
		now := counters(t, w.Near())
		if g := grown(before, now, "UdpNoPorts", "UdpInErrors", "UdpRcvbufErrors", "IcmpOutMsgs", "IpReasmFails"); g != want {
			t.Errorf("the kernel has counted %q, want %q", g, want)
		}
		if in := now["UdpInDatagrams"] - before["UdpInDatagrams"]; in != n {
			t.Errorf("the kernel has received %d datagrams, want %d", in, n)
		}
	})
}

// A stream is in-band datagrams from far to near, each with its number.
type stream struct {
	from, to *inband.UDP
	dst      netip.AddrPort
	n        int
}

// window is how many datagrams of a stream are under way.
const window = 64

// send sends all, window by window, as they are acknowledged. Some are in fragments.
func (s *stream) send() error {
	b := make([]byte, 3000)
	for i := range s.n {
		binary.BigEndian.PutUint32(b, uint32(i))
		length := 64
		if i%16 == 0 {
			length = len(b)
		}
		if err := s.from.SendTo(b[:length], s.dst); err != nil {
			return err
		}
		if (i+1)%window == 0 {
			if _, _, err := s.from.RecvFrom(b[:4], 0); err != nil {
				return fmt.Errorf("after %d datagrams: %w", i+1, err)
			}
		}
	}
	return nil
}

// receive receives all, and says which do not come.
func (s *stream) receive() error {
	b := make([]byte, 4096)
	for i := range s.n {
		_, from, err := s.to.RecvFrom(b, 0)
		if err != nil {
			return fmt.Errorf("in-band datagram %d has not come: %w", i, err)
		}
		if got := binary.BigEndian.Uint32(b); got != uint32(i) {
			return fmt.Errorf("in-band datagram %d has come in place of %d", got, i)
		}
		if (i+1)%window == 0 {
			if err := s.to.SendTo(b[:4], from); err != nil {
				return err
			}
		}
	}
	return nil
}

// claims has sockets of the stack come and go until a test is done, but at least n.
func (w *world) claims(n int, done *atomic.Bool) error {
	peer := addrPort(w.Far(), 5000)
	for i := 0; i < n || !done.Load(); i++ {
		k, err := w.st.NewUDPSocket()
		if err != nil {
			return err
		}
		local := netip.AddrPortFrom(w.Near().Addr, uint16(9+i%3))
		if i%2 == 0 {
			local = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(4+i%3))
		}
		if err = k.Bind(local); err == nil && i%3 == 0 {
			err = k.Connect(peer)
		}
		if err != nil {
			return fmt.Errorf("claim %d, %s: %w", i, local, err)
		}
		if err := k.Close(); err != nil {
			return err
		}
	}
	return nil
}

// transfer sends data over TCP to the near end, and returns an error unless it comes.
func (w *world) transfer(length int) (run func() error) {
	var l net.Listener
	w.Near().In(w.t, func() (err error) { l, err = net.Listen("tcp4", addrPort(w.Near(), 8).String()); return err })
	w.t.Cleanup(func() { l.Close() })
	data := make([]byte, length)
	rand.NewChaCha8([32]byte{9}).Read(data)
	receive := func() error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, data) {
			err = fmt.Errorf("TCP: %d bytes of %d, or others", len(got), len(data))
		}
		return err
	}
	return func() error {
		received := make(chan error, 1)
		go func() { received <- receive() }()
		var c net.Conn
		if err := w.Far().Do(func() (err error) { c, err = net.Dial("tcp4", l.Addr().String()); return err }); err != nil {
			l.Close()
			return errors.Join(err, <-received)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		_, err := c.Write(data)
		c.Close()
		return errors.Join(err, <-received)
	}
}

// While claims come and go, not one in-band datagram is lost, whole or in fragments, nor a
// byte of TCP.
func TestInBandLosesNothing(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		s := &stream{from: w.Far().UDP(t, 5000), to: w.Near().BoundUDP(t, addrPort(w.Near(), 8)), dst: addrPort(w.Near(), 8), n: shorter(100000)}
		check(t, s.to.SetBuffers(8<<20))
		before := counters(t, w.Near())
		var done atomic.Bool
		all(t, s.send, func() error { defer done.Store(true); return s.receive() },
			func() error { return w.claims(shorter(1000), &done) }, w.transfer(shorter(16<<20)))
		if g := grown(before, counters(t, w.Near()), "UdpNoPorts", "UdpInErrors", "UdpRcvbufErrors", "IpReasmFails", "IpInDiscards"); g != "" {
			t.Errorf("the kernel has counted %s", g)
		}
	})
}
