package stack

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
)

// replay is a link that receives one and the same frame as often as it is
// asked to, and keeps the last frame sent: what is left is the stack's cost.
type replay struct {
	// shared makes senders take turns: the housekeeper sends too. Benchmarks,
	// which know that nobody else does, do not pay for it.
	shared bool
	mu     sync.Mutex
	frame  []byte
	ready  int
	sent   []byte
	frames int
}

var (
	nearMAC = link.MAC{2, 0, 0, 0, 0, 1}
	farMAC  = link.MAC{2, 0, 0, 0, 0, 2}
)

func (r *replay) Receive(frames []link.Frame) int {
	if r.ready == 0 {
		return 0
	}
	r.ready--
	f := &frames[0]
	f.Data = r.frame
	f.Meta = link.Meta{WireLen: len(r.frame)}
	return 1
}
func (r *replay) Release() {}
func (r *replay) Send(frame []byte) error {
	if r.shared {
		r.mu.Lock()
		defer r.mu.Unlock()
	}
	r.sent = append(r.sent[:0], frame...)
	r.frames++
	return nil
}
func (r *replay) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		r.Send(frames[i].Data)
	}
	return len(frames), nil
}
func (r *replay) Info() link.Info {
	return link.Info{Name: "replay0", Index: 2, MTU: 1500, HardwareAddr: nearMAC, State: link.Up}
}
func (r *replay) Stats() link.Stats         { return link.Stats{} }
func (r *replay) SetNotify(_, _ func())     {}
func (r *replay) FD() int                   { return -1 }
func (r *replay) PollError()                {}
func (r *replay) JoinGroup(link.MAC) error  { return nil }
func (r *replay) LeaveGroup(link.MAC) error { return nil }
func (r *replay) AddMode(link.Mode) error   { return nil }
func (r *replay) DropMode(link.Mode) error  { return nil }
func (r *replay) Close() error              { return nil }

// udpFrame returns the frame of a datagram from 10.9.0.2:7 to 10.9.0.1:port.
func udpFrame(port uint16, data []byte) []byte {
	src, dst := ipv4.Addr{10, 9, 0, 2}, ipv4.Addr{10, 9, 0, 1}
	b := make([]byte, output.HeadersLen+len(data))
	copy(b, nearMAC[:])
	copy(b[6:], farMAC[:])
	b[12], b[13] = 8, 0
	f := ipv4.Fields{TTL: 64, Protocol: ipv4.ProtocolUDP, Src: src, Dst: dst, DontFragment: true}
	f.Put(b[output.IPOffset:], udp.HeaderLen+len(data))
	copy(b[output.HeadersLen:], data)
	udp.Put(b[output.UDPOffset:], src, dst, 7, port, len(data))
	return b
}

// replayStack is a stack with 10.9.0.1/24 on a replay link.
func replayStack(t testing.TB) (*Stack, *replay, *Interface) {
	return replayStackConfig(t, Config{})
}

func replayStackConfig(t testing.TB, cfg Config) (*Stack, *replay, *Interface) {
	s := newStack(t, cfg)
	r := &replay{}
	_, benchmark := t.(*testing.B)
	r.shared = !benchmark
	i, err := s.AddLink(r, InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	return s, r, i
}

func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(itoa(size), func(b *testing.B) {
			s, r, _ := replayStack(b)
			k := udpSocket(b, s, "10.9.0.1:9")
			r.frame = udpFrame(9, payload(size))
			buf := make([]byte, 2048)
			b.ReportAllocs()
			for b.Loop() {
				r.ready = 1
				if n, _, err := k.Recv(buf, 0, NoDeadline); n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(itoa(size), func(b *testing.B) {
			s, r, i := replayStack(b)
			if err := i.SetNeighbour(farAddr, farMAC, arp.Permanent); err != nil {
				b.Fatal(err)
			}
			k := udpSocket(b, s, "10.9.0.1:9")
			if err := k.Connect(netip.AddrPortFrom(farAddr, 7)); err != nil {
				b.Fatal(err)
			}
			p := payload(size)
			b.ReportAllocs()
			for b.Loop() {
				if err := k.Send(p, 0, NoDeadline); err != nil {
					b.Fatal(err)
				}
			}
			_ = r
		})
	}
}

func itoa(n int) string {
	if n == 64 {
		return "64"
	}
	return "1400"
}
