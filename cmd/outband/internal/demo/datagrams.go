package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/wire"
	"github.com/outband/outband/sockapi"
)

// The ports of a demo: echo (RFC 862), and discard (RFC 863), at which nobody
// listens.
const (
	echoPort = 7
	discard  = 9
)

// maxPayload is the most that a UDP datagram carries over IPv4.
const maxPayload = 65535 - 20 - 8

// sizes in bytes. 1472 is the most that fits one frame of a device with an MTU of
// 1500; what is longer travels in fragments.
var sizes = []int{1, 64, 512, 1472, 1473, 9000, 32768, maxPayload}

func (d *demo) datagrams(ctx context.Context) {
	d.step("datagrams", "UDP: datagrams that come back as they were sent, byte for byte")
	before := d.node.Stack.Stats()
	list := make([]string, len(sizes))
	for i, n := range sizes {
		list[i] = strconv.Itoa(n)
	}
	d.check(d.weSend(ctx), "ours -> kernel -> ours    %s bytes", strings.Join(list, ", "))
	d.check(d.kernelSends(ctx), "kernel -> ours -> kernel  the same; either end refuses %d bytes with EMSGSIZE", maxPayload+1)
	after := d.node.Stack.Stats()
	grown := func(name string) uint64 { return after.Get(name) - before.Get(name) }
	d.note("what is longer than a frame went in fragments: we cut %d datagrams into %d and put %d together",
		grown("IpFragOKs"), grown("IpFragCreates"), grown("IpReasmOKs"))
}

func (d *demo) weSend(ctx context.Context) error {
	server, err := d.kernels(unix.SOCK_DGRAM, 0, echoPort)
	if err != nil {
		return err
	}
	defer echo(server)()
	client, err := d.ours(0)
	if err != nil {
		return err
	}
	return sendAll(ctx, client, sockapi.Inet4(wire.FarAddr.Addr().As4(), echoPort))
}

func (d *demo) kernelSends(ctx context.Context) error {
	server, err := d.ours(echoPort)
	if err != nil {
		return err
	}
	defer echo(server)()
	client, err := d.kernels(unix.SOCK_DGRAM, 0, 0)
	if err != nil {
		return err
	}
	return sendAll(ctx, client, sockapi.Inet4(wire.NearAddr.Addr().As4(), echoPort))
}

// echo sends back what a socket receives, until the returned function is called,
// which closes the socket.
func echo(s *sockapi.Socket) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, maxPayload)
		for {
			n, from, err := s.Recvfrom(buf, 0)
			switch {
			case err == nil:
				s.Sendto(buf[:n], 0, from) // what is lost, the client misses
			case err == unix.EBADF:
				return
			}
		}
	}()
	return func() {
		s.Close()
		<-done
	}
}

// sendAll sends one datagram of each size to an echo server, and closes the
// socket.
func sendAll(ctx context.Context, s *sockapi.Socket, to sockapi.Sockaddr) error {
	defer s.Close()
	if err := s.Connect(to); err != nil {
		return err
	}
	in := make([]byte, maxPayload+1)
	for _, size := range sizes {
		if err := ctx.Err(); err != nil {
			return err
		}
		out := pattern(size)
		if _, err := s.Send(out, 0); err != nil {
			return fmt.Errorf("%d bytes: send: %w", size, err)
		}
		n, err := s.Recv(in, 0)
		switch {
		case err == unix.EAGAIN:
			return fmt.Errorf("%d bytes: no answer within %s", size, patience)
		case err != nil:
			return fmt.Errorf("%d bytes: recv: %w", size, err)
		case !bytes.Equal(in[:n], out):
			return fmt.Errorf("%d bytes: something else came back", size)
		}
	}
	if _, err := s.Send(pattern(maxPayload+1), 0); err != unix.EMSGSIZE {
		return fmt.Errorf("%d bytes: send: %v, not EMSGSIZE", maxPayload+1, err)
	}
	return nil
}

// pattern returns n bytes in which each fragment differs from the others.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>8)*31 ^ byte(n)
	}
	return p
}

func (d *demo) unreachable(context.Context) {
	d.step("unreachable", "Port unreachable: nobody listens, and ICMP brings the news to the sender")
	s, err := d.ours(0)
	if err == nil {
		err = refused(s, sockapi.Inet4(wire.FarAddr.Addr().As4(), discard))
	}
	d.check(err, "ours -> kernel, port %d: the next call returns ECONNREFUSED", discard)
	s, err = d.kernels(unix.SOCK_DGRAM, 0, 0)
	if err == nil {
		err = refused(s, sockapi.Inet4(wire.NearAddr.Addr().As4(), discard))
	}
	d.check(err, "kernel -> ours, port %d: the same, since our stack sends the ICMP error", discard)
}

// refused sends to a port at which nobody listens, and closes the socket. It
// returns nil if the news comes.
func refused(s *sockapi.Socket, to sockapi.Sockaddr) error {
	defer s.Close()
	if err := s.Connect(to); err != nil {
		return err
	}
	if _, err := s.Send([]byte("anybody?"), 0); err != nil {
		return err
	}
	_, err := s.Recv(make([]byte, 16), 0)
	switch err {
	case unix.ECONNREFUSED:
		return nil
	case nil:
		return errors.New("somebody answered")
	}
	return fmt.Errorf("recv: %w", err)
}
