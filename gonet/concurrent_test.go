package gonet

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/outband/outband/sockapi"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// TestEverythingAtOnce calls all methods of two connections from many goroutines until they are
// closed: each call is of use, or has an error that may be, and all come to an end.
func TestEverythingAtOnce(t *testing.T) {
	a, b := pair(t)
	var wg sync.WaitGroup
	closed := make(chan struct{})
	until := func(call func() error) {
		wg.Go(func() {
			for {
				err := call()
				if errors.Is(err, net.ErrClosed) {
					select {
					case <-closed:
					default:
						t.Error("closed too early")
					}
					return
				}
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	for _, c := range []*UDPConn{a, b} {
		p := NewPacketConn(c)
		room := func() []byte { return make([]byte, 100) }
		until(func() error { _, err := c.Read(room()); return err })
		until(func() error { _, _, err := c.ReadFrom(room()); return err })
		until(func() error { _, _, _, _, err := c.ReadMsgUDPAddrPort(room(), room()); return err })
		until(func() error { _, _, _, err := p.ReadFrom(room()); return err })
		until(func() error { _, err := c.Write(room()); return err })
		until(func() error { _, _, err := c.WriteMsgUDP(room(), nil, nil); return err })
		messages := func() []ipv4.Message {
			return []ipv4.Message{{Buffers: [][]byte{room()}}, {Buffers: [][]byte{room()}}}
		}
		until(func() error { _, err := c.ReadBatch(messages(), 0); return err })
		until(func() error { _, err := c.WriteBatch(messages(), 0); return err })
		until(func() error { return c.SetReadDeadline(time.Now().Add(time.Millisecond)) })
		until(func() error { return c.SetWriteDeadline(time.Now().Add(time.Millisecond)) })
		until(func() error { return c.SetDeadline(past) })
		until(func() error { return c.SetDeadline(time.Time{}) })
		until(func() error { return c.SetReadBuffer(10000) })
	}
	<-time.After(50 * time.Millisecond)
	close(closed)
	check(t, a.Close())
	check(t, b.Close())
	wg.Wait()
}

// BenchmarkRoundTrip sends a datagram over loopback and reads it, by the calls of sockapi and
// by those of a UDPConn: what is between them is what the connection costs.
func BenchmarkRoundTrip(b *testing.B) {
	n := lone(b)
	c := listener(b, n)
	to := c.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, 64)
	b.Run("sockapi", func(b *testing.B) {
		name := sockapi.InetAddrPort(to)
		for b.Loop() {
			if _, err := c.s.Sendto(buf, 0, name); err != nil {
				b.Fatal(err)
			}
			if _, _, err := c.s.Recvfrom(buf, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	run := func(b *testing.B) {
		for b.Loop() {
			if _, err := c.WriteToUDPAddrPort(buf, to); err != nil {
				b.Fatal(err)
			}
			if _, _, err := c.ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("AddrPort", run)
	b.Run("AddrPort/deadline", func(b *testing.B) {
		check(b, c.SetDeadline(time.Now().Add(time.Hour)))
		defer c.SetDeadline(time.Time{})
		run(b)
	})
	b.Run("Addr", func(b *testing.B) {
		addr := c.LocalAddr()
		for b.Loop() {
			if _, err := c.WriteTo(buf, addr); err != nil {
				b.Fatal(err)
			}
			if _, _, err := c.ReadFrom(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
