package demo

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/outband/outband/cmd/outband/internal/ping"
	"github.com/outband/outband/cmd/outband/internal/wire"
	"github.com/outband/outband/sockapi"
)

// pingCount and pingInterval make a ping that is short.
const (
	pingCount    = 3
	pingInterval = 20 * time.Millisecond
)

func (d *demo) pings(ctx context.Context) {
	d.step("ping", "Ping: ICMP echo, and each end's stack answers")
	text, err := d.wePing(ctx)
	d.check(err, "ours -> kernel  %s", text)
	text, err = d.kernelPings(ctx)
	d.check(err, "kernel -> ours  %s", text)
}

func (d *demo) wePing(ctx context.Context) (string, error) {
	s, err := ping.Open(d.node.Stack, ping.SocketOptions{Local: wire.NearAddr.Addr(), Dest: wire.FarAddr.Addr(), Discover: -1})
	if err != nil {
		return "", err
	}
	defer s.Close()
	return runPing(ctx, s, wire.FarAddr.Addr())
}

func (d *demo) kernelPings(ctx context.Context) (string, error) {
	s, err := d.kernels(unix.SOCK_RAW, unix.IPPROTO_ICMP, 0)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if err := s.Connect(sockapi.Inet4(wire.NearAddr.Addr().As4(), 0)); err != nil {
		return "", err
	}
	return runPing(ctx, rawPing{s}, wire.NearAddr.Addr())
}

func runPing(ctx context.Context, conn ping.Conn, to netip.Addr) (string, error) {
	c := ping.Config{Name: to.String(), Addr: to, Count: pingCount, Interval: pingInterval, Deadline: patience, Size: 56}
	stats, err := ping.Run(ctx, c, conn, io.Discard, io.Discard, nil)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%d of %d replies", stats.Received, pingCount)
	if stats.Received > 0 {
		text += fmt.Sprintf(", ttl=%d, %s", stats.Replies[0].TTL, stats.RTT())
	}
	if stats.Received < pingCount {
		err = fmt.Errorf("%d of %d requests have no reply", pingCount-stats.Received, pingCount)
	}
	return text, err
}

// pingIdent is the identifier of the kernel's requests: it is alone in its
// namespace.
const pingIdent = 0x6f62

// A rawPing is a raw in-band ICMP socket (raw(7)) as a ping.Conn. Unlike a ping
// socket it needs no permission by the sysctl ping_group_range.
type rawPing struct{ s *sockapi.Socket }

// Send fills in what a ping socket would, and sends.
func (p rawPing) Send(message []byte) error {
	binary.BigEndian.PutUint16(message[4:], pingIdent)
	binary.BigEndian.PutUint16(message[2:], 0)
	binary.BigEndian.PutUint16(message[2:], ^checksum.Checksum(message, 0))
	_, err := p.s.Send(message, 0)
	return err
}

// MTU implements ping.Conn.
func (rawPing) MTU() int { return 0 }

// Recv returns the next message; one that is no reply of ours has length 0.
func (p rawPing) Recv(buf []byte, within time.Duration) (ping.Message, error) {
	const echoReply, ipHeader, icmpHeader = 0, 20, 8
	if err := p.s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, max(within, time.Microsecond)); err != nil {
		return ping.Message{}, err
	}
	packet := make([]byte, ipHeader+len(buf))
	got, err := p.s.Recv(packet, 0)
	if err != nil || got < ipHeader+icmpHeader {
		return ping.Message{}, err
	}
	message := packet[ipHeader:got]
	if message[0] != echoReply || binary.BigEndian.Uint16(message[4:]) != pingIdent {
		return ping.Message{}, nil
	}
	return ping.Message{Len: copy(buf, message), TTL: int(packet[8])}, nil // RFC 791: the TTL is octet 8
}
