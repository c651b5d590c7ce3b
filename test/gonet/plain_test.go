package gonet

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/beevik/ntp"
	"github.com/xtaci/kcp-go/v5"

	"github.com/outband/outband/gonet"
)

// TestNTP has a client of beevik/ntp ask for the time.
func TestNTP(t *testing.T) {
	onWires(t, func(t *testing.T, near, far *gonet.Net) {
		c, err := far.ListenPacket("udp", ":123")
		check(t, err)
		defer c.Close()
		go tellTime(c)
		for end := time.Now().Add(patience); ; {
			r, err := ntp.QueryWithOptions("10.9.0.2", ntp.QueryOptions{Timeout: 500 * time.Millisecond, Dialer: func(_, to string) (net.Conn, error) { return near.Dial("udp", to) }})
			if e, ok := err.(net.Error); ok && e.Timeout() && time.Now().Before(end) {
				continue
			}
			check(t, err)
			check(t, r.Validate())
			if off := r.ClockOffset.Abs(); off > 10*time.Second || r.Stratum != 1 {
				t.Errorf("%+v", r)
			}
			return
		}
	})
}

// tellTime answers what asks for the time (RFC 5905, section 7.3) until c is closed.
func tellTime(c net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if n < 48 {
			continue
		}
		const since1900 = 2208988800
		now := time.Now()
		stamp := uint64(now.Unix()+since1900)<<32 | uint64(now.Nanosecond())<<32/1e9
		r := make([]byte, 48)
		r[0], r[1], r[3] = 4<<3|4, 1, 0xec // version 4, a server's; stratum 1; 2^-20 s
		copy(r[12:], "GPS")
		binary.BigEndian.PutUint64(r[16:], stamp)
		copy(r[24:32], b[40:48])
		binary.BigEndian.PutUint64(r[32:], stamp)
		binary.BigEndian.PutUint64(r[40:], stamp)
		_, _ = c.WriteTo(r, from)
	}
}

// TestKCP sends a stream there and back.
func TestKCP(t *testing.T) {
	onWires(t, func(t *testing.T, near, far *gonet.Net) {
		there, err := far.ListenPacket("udp", ":4000")
		check(t, err)
		defer there.Close()
		l, err := kcp.ServeConn(nil, 0, 0, there)
		check(t, err)
		defer l.Close()
		go func() {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			defer s.Close()
			s.SetNoDelay(1, 10, 2, 1)
			s.SetWindowSize(256, 256)
			io.Copy(s, s)
		}()
		here, err := near.ListenPacket("udp", "")
		check(t, err)
		defer here.Close()
		s, err := kcp.NewConn2(&net.UDPAddr{IP: net.IPv4(10, 9, 0, 2), Port: 4000}, nil, 0, 0, here)
		check(t, err)
		defer s.Close()
		s.SetNoDelay(1, 10, 2, 1)
		s.SetWindowSize(256, 256)
		check(t, s.SetDeadline(time.Now().Add(patience)))
		data := payload[:size/10]
		go s.Write(data)
		back := make([]byte, len(data))
		_, err = io.ReadFull(s, back)
		check(t, err)
		if !bytes.Equal(back, data) {
			t.Error("what came back is not what was sent")
		}
	})
}
