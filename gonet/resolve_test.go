package gonet

import (
	"fmt"
	"net"
	"testing"
)

// TestResolve compares what addresses stand for with what they do in package net, and the errors
// of those that stand for nothing.
func TestResolve(t *testing.T) {
	n := lone(t)
	addresses := []string{"", ":", ":53", "10.9.0.1:53", "10.9.0.1:domain", "10.9.0.1", "10.9.0.1:", "localhost:9", "[::1]:53", "[fe80::1%lo]:53",
		"[::ffff:10.9.0.1]:53", "::1", "localhost", "10.9.0.1:nothing", "10.9.0.1:70000", "a:b:c"}
	for _, network := range []string{"", "udp", "udp4", "udp6", "tcp", "ip", "ip4", "ip6", "ip4:icmp", "ip:99", "ip4:nothing", "unix"} {
		for _, address := range addresses {
			ours, err := n.ResolveUDPAddr(network, address)
			theirs, wantErr := net.ResolveUDPAddr(network, address)
			sameResolved(t, "ResolveUDPAddr", network, address, ours, err, theirs, wantErr)
			ip, err := n.ResolveIPAddr(network, address)
			theirIP, wantErr := net.ResolveIPAddr(network, address)
			sameResolved(t, "ResolveIPAddr", network, address, ip, err, theirIP, wantErr)
		}
	}
}

// sameResolved compares results by their texts, and errors by their types too.
func sameResolved(t *testing.T, call, network, address string, ours net.Addr, err error, theirs net.Addr, want error) {
	t.Helper()
	if ours.String() != theirs.String() || fmt.Sprintf("%T %v", err, err) != fmt.Sprintf("%T %v", want, want) {
		t.Errorf("%s(%q, %q): %v, %v; want %v, %v", call, network, address, ours, err, theirs, want)
	}
}
