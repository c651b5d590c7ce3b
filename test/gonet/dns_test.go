package gonet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/outband/outband/gonet"
)

// serveDNS runs a name server at a connection until the test ends: it has A records for all
// names.
func serveDNS(t *testing.T, c net.PacketConn) {
	t.Helper()
	started, done := make(chan struct{}), make(chan error)
	s := &dns.Server{PacketConn: c, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(answer)}
	go func() { done <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error("Shutdown:", err)
		}
		if err := <-done; err != nil {
			t.Error("ActivateAndServe:", err)
		}
	})
}

// answer says that every name is at 192.0.2.9, and has no IPv6 address.
func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	if q.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   net.IPv4(192, 0, 2, 9),
		}}
	}
	_ = w.WriteMsg(m)
}

// ask asks for the address of a name, as often as it takes.
func ask(c *dns.Conn, name string) error {
	q := new(dns.Msg)
	q.SetQuestion(name, dns.TypeA)
	client := dns.Client{Timeout: 500 * time.Millisecond}
	for {
		r, _, err := client.ExchangeWithConn(q, c)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue // lost
		case err != nil:
			return err
		case len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != "192.0.2.9":
			return fmt.Errorf("answer %v", r)
		}
		return nil
	}
}

// TestDNS has clients ask a server of miekg/dns.
func TestDNS(t *testing.T) {
	onWires(t, func(t *testing.T, near, far *gonet.Net) {
		c, err := far.ListenPacket("udp", ":53")
		check(t, err)
		serveDNS(t, c)
		var wg sync.WaitGroup
		for i := range 4 {
			c, err := near.Dial("udp", "10.9.0.2:53")
			check(t, err)
			defer c.Close()
			wg.Go(func() {
				conn := &dns.Conn{Conn: c}
				for n := range 100 {
					if err := ask(conn, fmt.Sprintf("%d.%d.example.", n, i)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestResolver has package net's own resolver ask out-of-band.
func TestResolver(t *testing.T) {
	onWires(t, func(t *testing.T, near, far *gonet.Net) {
		c, err := far.ListenPacket("udp", ":53")
		check(t, err)
		serveDNS(t, c)
		near.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return near.DialContext(ctx, network, "10.9.0.2:53")
		}}
		d, err := near.Dial("udp", "host.example.:9")
		if d != nil {
			d.Close()
		}
		// There is no way there, but it is known where it is.
		if e := new(net.OpError); !errors.As(err, &e) || e.Addr == nil || e.Addr.String() != "192.0.2.9:9" {
			t.Errorf("%v", err)
		}
	})
}

// TestMulticastDNS has a server of miekg/dns answer what is asked of a group, as mDNS does
// (RFC 6762, section 5.1: a one-shot query).
func TestMulticastDNS(t *testing.T) {
	onWires(t, func(t *testing.T, near, far *gonet.Net) {
		group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
		c, err := far.ListenMulticastUDP("udp4", nil, group)
		check(t, err)
		serveDNS(t, c)
		asker, err := near.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1)})
		check(t, err)
		defer asker.Close()
		q, b := new(dns.Msg), make([]byte, 1500)
		q.SetQuestion("printer.local.", dns.TypeA)
		packed, err := q.Pack()
		check(t, err)
		for end := time.Now().Add(patience); ; {
			_, err = asker.WriteTo(packed, group)
			check(t, err)
			check(t, asker.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
			n, from, err := asker.ReadFrom(b)
			if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end) {
				continue
			}
			check(t, err)
			var r dns.Msg
			check(t, r.Unpack(b[:n]))
			if r.Id != q.Id || len(r.Answer) != 1 || from.String() != "10.9.0.2:5353" {
				t.Errorf("%v from %v", &r, from)
			}
			return
		}
	})
}
