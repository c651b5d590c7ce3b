package gosuite

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// host is one that has no link but its own loopback.
var host = func() *gonet.Net {
	st, err := stack.New(stack.Config{})
	if err != nil {
		panic(err)
	}
	return gonet.New(sockapi.New(st))
}()

type (
	UDPConn = gonet.UDPConn
	IPConn  = gonet.IPConn
)

var (
	Dial               = host.Dial
	DialUDP            = host.DialUDP
	DialIP             = host.DialIP
	ListenPacket       = host.ListenPacket
	ListenUDP          = host.ListenUDP
	ListenIP           = host.ListenIP
	ListenMulticastUDP = host.ListenMulticastUDP
)

// A Dialer is net.Dialer's fields that matter for datagrams.
type Dialer struct {
	Timeout   time.Duration
	Deadline  time.Time
	LocalAddr net.Addr
}

func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return (&gonet.Dialer{Net: host, Timeout: d.Timeout, Deadline: d.Deadline, LocalAddr: d.LocalAddr}).Dial(network, address)
}

type ListenConfig struct{}

func (*ListenConfig) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return (&gonet.ListenConfig{Net: host}).ListenPacket(ctx, network, address)
}

// Listen is about TCP, which helpers of tests know too.
func (*ListenConfig) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, address)
}

// fileOf is what stands for a method that connections of ours have not.
func fileOf(any) (io.Closer, error) { return io.NopCloser(nil), nil }
