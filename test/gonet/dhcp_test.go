package gonet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/miekg/dns"

	"github.com/outband/outband/test/lab"
)

// leased is the address that the server has for everybody.
var leased = net.IPv4(10, 9, 0, 50)

// runDHCP has a client of insomniacslk/dhcp ask a server of its for an address.
func runDHCP(t *testing.T, w *world, client, server *host) {
	serveDHCP(t, server)
	w.rounds(t, func(int) {
		if got := requestLease(t, client); !got.Equal(leased) {
			t.Errorf("leased %v", got)
		}
	})
}

// serveDHCP runs a server of insomniacslk/dhcp at a host until the test ends.
func serveDHCP(t *testing.T, h *host) {
	t.Helper()
	give := func(c net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) { lease(h.addr, c, peer, m) }
	s, err := server4.NewServer("", nil, give, server4.WithConn(h.listenOnDevice(t, 67)))
	check(t, err)
	done := make(chan error)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() { s.Close(); <-done })
}

// requestLease asks for an address from where there is none, and returns it.
func requestLease(t *testing.T, h *host) net.IP {
	t.Helper()
	mac := net.HardwareAddr{2, 0, 10, 9, 0, 1}
	c, err := nclient4.NewWithConn(h.listenOnDevice(t, 68), mac, nclient4.WithTimeout(200*time.Millisecond), nclient4.WithRetry(100))
	check(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := c.Request(ctx, dhcpv4.WithBroadcast(true)) // what is for an address is not heard before there is one
	check(t, err)
	return got.ACK.YourIPAddr
}

// lease answers a client.
func lease(server netip.Addr, c net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	answer := map[dhcpv4.MessageType]dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer,
		dhcpv4.MessageTypeRequest:  dhcpv4.MessageTypeAck,
	}
	typ, ok := answer[m.MessageType()]
	if !ok {
		return
	}
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(typ), dhcpv4.WithYourIP(leased), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithLeaseTime(3600), dhcpv4.WithServerIP(server.AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server.AsSlice())))
	if err == nil {
		_, _ = c.WriteTo(r.ToBytes(), peer)
	}
}

// runDHCPOfDNSMasq has a client of insomniacslk/dhcp ask Debian's server for an address, on a host
// that has none yet, and then use it.
func runDHCPOfDNSMasq(t *testing.T, w *world, client, server *host) {
	dnsmasq(t, server, "--port=0", "--interface="+server.at.Name, "--bind-interfaces", "--dhcp-range=10.9.0.50,10.9.0.60,1h", "--dhcp-authoritative",
		"--leasefile-ro", "--no-ping")
	var got net.IP
	w.rounds(t, func(int) { got = requestLease(t, client) })
	ip, _ := netip.AddrFromSlice(got.To4())
	if !netip.MustParsePrefix("10.9.0.48/28").Contains(ip) {
		t.Fatalf("leased %v", got)
	}
	w.address(t, client, netip.PrefixFrom(ip, lab.Bits))
	serveDNS(t, server.listen(t, 5300))
	c := client.dial(t, server.port(5300))
	if from := c.LocalAddr().(*net.UDPAddr).IP; !from.Equal(got) {
		t.Errorf("a connection from %v", from)
	}
	check(t, ask(&dns.Conn{Conn: c}, "leased.example."))
}

// address gives a host an address: what its stack, or the kernel, has the addresses of.
func (w *world) address(t *testing.T, h *host, p netip.Prefix) {
	t.Helper()
	if w.kind == own && h.ours() {
		check(t, h.st.InterfaceByIndex(h.index).AddAddress(p))
		return
	}
	check(t, h.at.AddAddress(h.at.Name, p))
	await(t, func() error {
		c, err := h.ListenUDP("udp4", &net.UDPAddr{IP: p.Addr().AsSlice()})
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// runUDHCPC has busybox' client ask a server of insomniacslk/dhcp, on a host that has no address.
func runUDHCPC(t *testing.T, w *world, client, server *host) {
	serveDHCP(t, server)
	script := filepath.Join(t.TempDir(), "script")
	check(t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && echo \"bound to $ip of $serverid\"\nexit 0\n"), 0o755))
	w.rounds(t, func(int) {
		out := lab.Output(t, client.at.Namespace, lab.NeedProgram(t, "udhcpc"), "-i", client.at.Name, "-f", "-n", "-q", "-t", "30", "-T", "1", "-s", script)
		if want := fmt.Sprintf("bound to %v of %v", leased, server.addr); !strings.Contains(string(out), want) {
			t.Errorf("%s", out)
		}
	})
}
