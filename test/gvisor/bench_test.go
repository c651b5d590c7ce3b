package gvisor

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/outband/outband/arp"
	obipv4 "github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack"
)

// replay is a link that receives the same frame once per request, and copies
// what is sent, as a device would.
type replay struct {
	link.Link // for what is never called
	frame     []byte
	ready     bool
	sent      []byte
}

func (r *replay) Receive(frames []link.Frame) int {
	if !r.ready {
		return 0
	}
	r.ready = false
	frames[0] = link.Frame{Data: r.frame, Meta: link.Meta{WireLen: len(r.frame)}}
	return 1
}
func (r *replay) Release()              {}
func (r *replay) Send(f []byte) error   { r.sent = append(r.sent[:0], f...); return nil }
func (r *replay) SetNotify(_, _ func()) {}
func (r *replay) FD() int               { return -1 }
func (r *replay) Close() error          { return nil }
func (r *replay) SendBatch(f []link.TxFrame) (int, error) {
	for i := range f {
		r.Send(f[i].Data)
	}
	return len(f), nil
}
func (r *replay) Info() link.Info {
	return link.Info{Name: "replay0", Index: 2, MTU: 1500, HardwareAddr: nearMAC, State: link.Up}
}

// replayStack is our stack on a replay link, with a socket connected to far.
func replayStack(b *testing.B, size int) (*replay, *stack.UDPSocket) {
	b.Helper()
	s, err := stack.New(stack.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	r := &replay{frame: benchFrame(size)}
	i, err := s.AddLink(r, stack.InterfaceConfig{ARP: arp.Config{AnnounceNum: -1}})
	if err != nil {
		b.Fatal(err)
	}
	if err := i.AddAddress(netip.PrefixFrom(netip.AddrFrom4(near), 24)); err != nil {
		b.Fatal(err)
	}
	if err := i.SetNeighbour(netip.AddrFrom4(far), farMAC, arp.Permanent); err != nil {
		b.Fatal(err)
	}
	k, err := s.NewUDPSocket()
	if err != nil {
		b.Fatal(err)
	}
	if err := k.Bind(netip.AddrPortFrom(netip.AddrFrom4(near), 9)); err != nil {
		b.Fatal(err)
	}
	if err := k.Connect(netip.AddrPortFrom(netip.AddrFrom4(far), 7)); err != nil {
		b.Fatal(err)
	}
	return r, k
}

// benchFrame is a datagram from 10.9.0.2:7 to 10.9.0.1:9.
func benchFrame(size int) []byte {
	r := &source{Rand: rand.New(rand.NewPCG(1, 1))}
	f := r.ip(obipv4.Fields{Protocol: 17, Dst: near, DontFragment: true}, r.udp(far, near, make([]byte, size)))
	f[34], f[35], f[36], f[37] = 0, 7, 0, 9
	f[40], f[41] = 0, 0
	sum := header.UDP(f[34:]).CalculateChecksum(header.PseudoHeaderChecksum(header.UDPProtocolNumber,
		tcpip.AddrFrom4(far), tcpip.AddrFrom4(near), uint16(size+8)))
	header.UDP(f[34:]).SetChecksum(^sum)
	return f
}

// netstackSocket is a socket of netstack's, connected to far's port 7.
func netstackSocket(b *testing.B) (*netstack, tcpip.Endpoint) {
	b.Helper()
	h := newNetstack(b)
	h.sockets[0].Close()
	h.sockets[0] = nil
	var wq waiter.Queue
	ep, err := h.s.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(ep.Close)
	if err := ep.Bind(tcpip.FullAddress{Addr: tcpip.AddrFrom4(near), Port: 9}); err != nil {
		b.Fatal(err)
	}
	if err := ep.Connect(tcpip.FullAddress{Addr: tcpip.AddrFrom4(far), Port: 7}); err != nil {
		b.Fatal(err)
	}
	return h, ep
}

// BenchmarkReceive takes the time from a frame to its payload in the caller's
// buffer.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(fmt.Sprintf("outband/%d", size), func(b *testing.B) {
			r, k := replayStack(b, size)
			buf := make([]byte, 2048)
			b.ReportAllocs()
			for b.Loop() {
				r.ready = true
				if n, _, err := k.Recv(buf, 0, stack.NoDeadline); n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
		b.Run(fmt.Sprintf("netstack/%d", size), func(b *testing.B) {
			h, ep := netstackSocket(b)
			frame := benchFrame(size)
			buf := make([]byte, 2048)
			w := tcpip.SliceWriter(buf)
			b.ReportAllocs()
			for b.Loop() {
				h.feed(frame)
				w = buf
				if res, err := ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true}); err != nil || res.Count != size {
					b.Fatal(res.Count, err)
				}
			}
		})
	}
}

// BenchmarkSend takes the time from a payload to its frame at the link.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(fmt.Sprintf("outband/%d", size), func(b *testing.B) {
			_, k := replayStack(b, size)
			p := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if err := k.Send(p, 0, stack.NoDeadline); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("netstack/%d", size), func(b *testing.B) {
			h, ep := netstackSocket(b)
			p := make([]byte, size)
			r := bytes.NewReader(p)
			b.ReportAllocs()
			for b.Loop() {
				r.Reset(p)
				if n, err := ep.Write(r, tcpip.WriteOptions{}); err != nil || n != int64(size) {
					b.Fatal(n, err)
				}
				pkt := h.link.Read()
				if pkt == nil {
					b.Fatal("no frame left")
				}
				pkt.DecRef()
			}
		})
	}
}
