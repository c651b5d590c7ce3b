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

	"github.com/outband/outband/test/lab"
)

// serveDNS runs a name server at a connection until the test ends: it has A records for all
// names.
func serveDNS(t testing.TB, c net.PacketConn) {
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
	client := dns.Client{Timeout: 200 * time.Millisecond}
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

// runDNS has clients ask a server of miekg/dns.
func runDNS(t *testing.T, w *world, client, server *host) {
	serveDNS(t, server.listen(t, 53))
	w.rounds(t, func(round int) {
		var wg sync.WaitGroup
		for i := range 4 {
			conn := &dns.Conn{Conn: client.dial(t, server.port(53))}
			wg.Go(func() {
				for n := range 100 {
					if err := ask(conn, fmt.Sprintf("%d.%d.%d.example.", round, n, i)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// runDNSMasq asks Debian's name server.
func runDNSMasq(t *testing.T, w *world, client, server *host) {
	dnsmasq(t, server, "--port=53", "--no-hosts", "--address=/example/192.0.2.9")
	conn := &dns.Conn{Conn: client.dial(t, server.port(53))}
	await(t, func() error { return ask(conn, "first.example.") })
	w.rounds(t, func(round int) {
		for n := range 100 {
			check(t, ask(conn, fmt.Sprintf("%d.%d.example.", round, n)))
		}
	})
}

// dnsmasq runs it at a host until the test ends.
func dnsmasq(t *testing.T, h *host, args ...string) {
	t.Helper()
	args = append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv", "--log-facility=-"}, args...)
	lab.Start(t, h.at.Namespace, lab.NeedProgram(t, "/usr/sbin/dnsmasq"), args...)
}

// await has something tried until it goes well, of a program that has just been started.
func await(t *testing.T, try func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// runDNSPerf has dnsperf ask a server of miekg/dns, and wants all answers but for what the wire
// has lost.
func runDNSPerf(t *testing.T, w *world, client, server *host) {
	serveDNS(t, server.listen(t, 53))
	sent, lost := 0, 0
	w.rounds(t, func(int) {
		s, l := dnsperf(t, client, server, "-l", "1", "-Q", "2000", "-t", "0.5")
		sent, lost = sent+s, lost+l
	})
	limit := map[trouble]int{none: 0, bad: sent / 20, flap: sent - 1}[w.trouble]
	if sent < 100 || lost > limit {
		t.Errorf("%d of %d queries without an answer", lost, sent)
	}
}

// dnsperf asks a server, and returns how many queries it has sent and how many had no answer.
func dnsperf(t *testing.T, client, server *host, args ...string) (sent, lost int) {
	t.Helper()
	out := dnsperfOutput(t, client, server, args...)
	return int(number(t, out, `Queries sent: +(\d+)`)), int(number(t, out, `Queries lost: +(\d+)`))
}

// TestResolver has package net's own resolver ask out-of-band.
func TestResolver(t *testing.T) {
	for _, tr := range troubles {
		w := newWorld(t, memory, tr.trouble, lab.None)
		near := w.near.net
		serveDNS(t, w.far.listen(t, 53))
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
	}
}

// runMulticastDNS has a server of miekg/dns answer what is asked of a group, as mDNS does
// (RFC 6762, section 5.1: a one-shot query).
func runMulticastDNS(t *testing.T, w *world, client, server *host) {
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	// Of a connection of the kernel's miekg/dns would want to answer from the group's address.
	serveDNS(t, struct{ net.PacketConn }{server.listenGroup(t, group)})
	asker := client.listenAt(t, client.port(0))
	q := new(dns.Msg)
	q.SetQuestion("printer.local.", dns.TypeA)
	w.rounds(t, func(int) {
		for range 20 {
			r, from := askGroup(t, asker, group, q)
			if r.Id != q.Id || len(r.Answer) != 1 || from.String() != server.port(5353).String() {
				t.Errorf("%v from %v", r, from)
			}
		}
	})
}

// askGroup asks a group, as often as it takes, for one answer.
func askGroup(t *testing.T, asker net.PacketConn, group net.Addr, q *dns.Msg) (r dns.Msg, from net.Addr) {
	t.Helper()
	b := make([]byte, 1500)
	packed, err := q.Pack()
	check(t, err)
	for end := time.Now().Add(patience); ; {
		_, err = asker.WriteTo(packed, group)
		check(t, err)
		check(t, asker.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
		n, from, err := asker.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end) {
			continue
		}
		check(t, err)
		check(t, r.Unpack(b[:n]))
		return r, from
	}
}
