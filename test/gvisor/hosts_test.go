package gvisor

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	gstack "gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	obarp "github.com/outband/outband/arp"
	obicmp "github.com/outband/outband/icmp"
	obipv4 "github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
)

// Both hosts are 10.9.0.1/24, and know the MAC of their only neighbour, 10.9.0.2.
var (
	near    = [4]byte{10, 9, 0, 1}
	far     = [4]byte{10, 9, 0, 2}
	nearMAC = [6]byte{2, 0, 0, 0, 0, 1}
	farMAC  = [6]byte{2, 0, 0, 0, 0, 2}
)

// ports are where both hosts have a socket: bound to all addresses, and to one.
var ports = []struct {
	addr [4]byte
	port uint16
}{{[4]byte{}, 9}, {near, 10}}

// A host is a stack under test with sockets at ports.
type host interface {
	// feed gives it one frame.
	feed(frame []byte)
	// sent returns the frames that it has sent since the last call.
	sent() [][]byte
	// received returns what its sockets have received since the last call.
	received() []string
}

// delivery is how a received datagram is compared.
func delivery(port uint16, from [4]byte, fromPort uint16, data []byte) string {
	return fmt.Sprintf("port %d: %d bytes %x from %v:%d", port, len(data), data, from, fromPort)
}

// ours is the stack of this project.
type ours struct {
	s       *stack.Stack
	far     *pipe.Link
	sockets []*stack.UDPSocket
}

func newOurs(t testing.TB) *ours {
	t.Helper()
	// No limit on errors: RateMask is empty.
	// Memory is not the same: ours counts its overhead too.
	s, err := stack.New(stack.Config{
		ICMP:       obicmp.LimiterConfig{MaxHosts: 4},
		Reassembly: obipv4.ReassemblyConfig{HighThresh: 64 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := pipe.New(pipe.Options{Queue: 64})
	t.Cleanup(func() { s.Close(); b.Close() })
	i, err := s.AddLink(a, stack.InterfaceConfig{ARP: obarp.Config{AnnounceNum: -1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.AddAddress(netip.PrefixFrom(netip.AddrFrom4(near), 24)); err != nil {
		t.Fatal(err)
	}
	if err := i.SetNeighbour(netip.AddrFrom4(far), farMAC, obarp.Permanent); err != nil {
		t.Fatal(err)
	}
	h := &ours{s: s, far: b}
	for _, p := range ports {
		k, err := s.NewUDPSocket()
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Bind(netip.AddrPortFrom(netip.AddrFrom4(p.addr), p.port)); err != nil {
			t.Fatal(err)
		}
		h.sockets = append(h.sockets, k)
	}
	return h
}

func (h *ours) feed(frame []byte) {
	h.far.Send(frame)
	time.Sleep(2 * time.Millisecond)
	synctest.Wait()
}

func (h *ours) sent() (out [][]byte) {
	var batch [64]link.Frame
	for n := h.far.Receive(batch[:]); n > 0; n = h.far.Receive(batch[:]) {
		for i := range n {
			out = append(out, bytes.Clone(batch[i].Data))
		}
		h.far.Release()
	}
	return out
}

func (h *ours) received() (out []string) {
	b := make([]byte, 65536)
	for _, k := range h.sockets {
		for {
			n, info, err := k.Recv(b, unix.MSG_DONTWAIT, stack.NoDeadline)
			if err != nil {
				break
			}
			out = append(out, delivery(info.ToPort, info.From, info.FromPort, b[:n]))
		}
	}
	return out
}

// netstack is gVisor's.
type netstack struct {
	s       *gstack.Stack
	link    *channel.Endpoint
	sockets []tcpip.Endpoint
}

const nic = 1

func newNetstack(t testing.TB) *netstack {
	t.Helper()
	log.SetLevel(log.Warning) // martians are no news
	s := gstack.New(gstack.Options{
		NetworkProtocols:   []gstack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []gstack.TransportProtocolFactory{udp.NewProtocol, icmp.NewProtocol4},
	})
	t.Cleanup(s.Destroy)
	s.SetICMPLimit(1e9)
	s.SetICMPBurst(1 << 30)
	// The Ethernet header counts in the channel's MTU.
	h := &netstack{s: s, link: channel.New(256, 1500+header.EthernetMinimumSize, tcpip.LinkAddress(nearMAC[:]))}
	check := func(err tcpip.Error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(s.CreateNIC(nic, ethernet.New(h.link)))
	check(s.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(near), PrefixLen: 24},
	}, gstack.AddressProperties{}))
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	check(s.AddStaticNeighbor(nic, ipv4.ProtocolNumber, tcpip.AddrFrom4(far), tcpip.LinkAddress(farMAC[:])))
	for _, p := range ports {
		var wq waiter.Queue
		ep, err := s.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
		check(err)
		addr := tcpip.FullAddress{Port: p.port}
		if p.addr != ([4]byte{}) {
			addr.Addr = tcpip.AddrFrom4(p.addr)
		}
		check(ep.Bind(addr))
		t.Cleanup(ep.Close)
		h.sockets = append(h.sockets, ep)
	}
	return h
}

func (h *netstack) feed(frame []byte) {
	pkt := gstack.NewPacketBuffer(gstack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	h.link.InjectInbound(0, pkt)
	pkt.DecRef()
}

func (h *netstack) sent() (out [][]byte) {
	for pkt := h.link.Read(); pkt != nil; pkt = h.link.Read() {
		v := pkt.ToView()
		out = append(out, bytes.Clone(v.AsSlice()))
		v.Release()
		pkt.DecRef()
	}
	return out
}

func (h *netstack) received() (out []string) {
	for i, ep := range h.sockets {
		for {
			var b bytes.Buffer
			res, err := ep.Read(&b, tcpip.ReadOptions{NeedRemoteAddr: true})
			if err != nil {
				break
			}
			out = append(out, delivery(ports[i].port, res.RemoteAddr.Addr.As4(), res.RemoteAddr.Port, b.Bytes()))
		}
	}
	return out
}
