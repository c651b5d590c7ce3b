package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// A wire is a stack, 10.9.0.1/24, at one end of a pipe whose other end a test
// plays by hand as 10.9.0.2. It is for testing/synctest bubbles.
type wire struct {
	t    testing.TB
	s    *Stack
	ifc  *Interface
	near *pipe.Link // the stack's end
	far  *pipe.Link // the test's
	born time.Time
	base Stats
}

var (
	near4 = ipv4.Addr{10, 9, 0, 1}
	far4  = ipv4.Addr{10, 9, 0, 2}
)

func newWire(t testing.TB, cfg Config) *wire {
	t.Helper()
	return wireOf(t, newStack(t, cfg))
}

// wireOf is newWire for a stack that has no links yet.
func wireOf(t testing.TB, s *Stack) *wire {
	t.Helper()
	a, b := pipe.New(pipe.Options{})
	w := &wire{t: t, s: s, near: a, far: b, born: time.Now()}
	w.ifc = addLink(t, w.s, a, "10.9.0.1/24")
	t.Cleanup(func() { b.Close() })
	w.mark()
	return w
}

// bubble runs a test with a wire in simulated time.
func bubble(t *testing.T, f func(t *testing.T, w *wire)) {
	t.Helper()
	bubbleOf(t, func(t *testing.T) { f(t, newWire(t, Config{})) })
}

// bubbleOf runs a test that makes its own stack in simulated time.
func bubbleOf(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// After the stack's Close: goroutines that it has woken may be waiting for a lock.
		t.Cleanup(func() { time.Sleep(time.Millisecond) })
		f(t)
	})
}

// settle lets the stack take in what was sent to it.
func (w *wire) settle() {
	time.Sleep(2 * time.Millisecond)
	synctest.Wait()
}

// feed sends frames to the stack and lets it take them in.
func (w *wire) feed(frames ...[]byte) {
	w.t.Helper()
	for _, f := range frames {
		if err := w.far.Send(f); err != nil {
			w.t.Fatalf("Send of %d bytes to the stack: %v", len(f), err)
		}
	}
	w.settle()
}

// A sentFrame is a frame that the stack sent, and when after the wire was made.
type sentFrame struct {
	at   time.Duration
	data []byte
}

// sent returns the frames that the stack has sent since the last call.
func (w *wire) sent() []sentFrame {
	var out []sentFrame
	var batch [64]link.Frame
	for {
		n := w.far.Receive(batch[:])
		for i := range n {
			at := time.Duration(batch[i].Time - w.born.UnixNano())
			out = append(out, sentFrame{at, append([]byte(nil), batch[i].Data...)})
		}
		w.far.Release()
		if n == 0 {
			return out
		}
	}
}

// sentIP returns those of sent that are IP.
func (w *wire) sentIP() []sentFrame { return pick(w.sent(), unix.ETH_P_IP) }

// sentARP returns those of sent that are ARP.
func (w *wire) sentARP() []sentFrame { return pick(w.sent(), unix.ETH_P_ARP) }

func pick(frames []sentFrame, ethertype uint16) []sentFrame {
	var out []sentFrame
	for _, f := range frames {
		if binary.BigEndian.Uint16(f.data[12:]) == ethertype {
			out = append(out, f)
		}
	}
	return out
}

// one returns the only IP packet that the stack sent: its header and payload.
func (w *wire) one() (ipv4.Header, []byte) {
	w.t.Helper()
	frames := w.sentIP()
	if len(frames) != 1 {
		w.t.Fatalf("the stack sent %d IP packets, want 1", len(frames))
	}
	h, p, c := ipv4.Parse(frames[0].data[link.HeaderLen:])
	if c != ipv4.CauseNone {
		w.t.Fatalf("the stack sent a bad IP packet: %v", c)
	}
	return h, p
}

// silent fails if the stack sent an IP packet.
func (w *wire) silent() {
	w.t.Helper()
	if f := w.sentIP(); len(f) != 0 {
		w.t.Fatalf("the stack sent %d IP packets, want none: %x", len(f), f[0].data)
	}
}

// resolved gives the stack its neighbour's address.
func (w *wire) resolved() *wire {
	w.t.Helper()
	if err := w.ifc.SetNeighbour(farAddr, farMAC, arp.Permanent); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// mark remembers the counters, for grew.
func (w *wire) mark() { w.base = w.s.Stats() }

// grew fails unless the counter grew by n since mark.
func (w *wire) grew(name string, n uint64) {
	w.t.Helper()
	known := false
	for _, c := range w.base.Counters {
		known = known || c.Name == name
	}
	if !known {
		w.t.Fatalf("there is no counter %q", name)
	}
	if got := w.s.Stats().Get(name) - w.base.Get(name); got != n {
		w.t.Errorf("%s grew by %d, want %d", name, got, n)
	}
}

// changes returns how many counters differ between two snapshots.
func changes(a, b Stats) map[string]uint64 {
	out := make(map[string]uint64)
	for i, c := range b.Counters {
		if d := c.Value - a.Counters[i].Value; d != 0 {
			out[c.Name] = d
		}
	}
	return out
}

// socket opens a UDP socket, connected if peer is not "".
func (w *wire) socket(local, peer string) *UDPSocket {
	w.t.Helper()
	k := udpSocket(w.t, w.s, local)
	if peer != "" {
		if err := k.Connect(netip.MustParseAddrPort(peer)); err != nil {
			w.t.Fatal(err)
		}
	}
	return k
}

// send sends by a connected socket.
func (w *wire) send(k Socket, data []byte) {
	w.t.Helper()
	if err := k.Send(data, 0, NoDeadline); err != nil {
		w.t.Fatalf("Send of %d bytes: %v", len(data), err)
	}
}

// try receives what is there already.
func try(k Socket) (string, error) {
	b := make([]byte, 65536)
	n, _, err := k.Recv(b, unix.MSG_DONTWAIT, NoDeadline)
	return string(b[:n]), err
}

// got fails unless the datagram is there.
func (w *wire) got(k Socket, want string) {
	w.t.Helper()
	if s, err := try(k); err != nil || s != want {
		w.t.Fatalf("Recv: %d bytes, %v; want %d bytes", len(s), err, len(want))
	}
}

// empty fails unless nothing is there.
func (w *wire) empty(k Socket) {
	w.t.Helper()
	if s, err := try(k); err != unix.EAGAIN {
		w.t.Fatalf("Recv: %d bytes, %v; want EAGAIN", len(s), err)
	}
}

// eth returns a frame from far to near.
func eth(ethertype uint16, payload []byte) []byte {
	return ethTo(nearMAC, farMAC, ethertype, payload)
}

func ethTo(dst, src link.MAC, ethertype uint16, payload []byte) []byte {
	b := make([]byte, 0, link.HeaderLen+len(payload))
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	b = binary.BigEndian.AppendUint16(b, ethertype)
	return append(b, payload...)
}

// ip returns the frame of an IP packet from far to near; f's zero fields are
// filled in.
func ip(f ipv4.Fields, payload []byte) []byte {
	if f.TTL == 0 {
		f.TTL = 64
	}
	if f.Src.IsUnspecified() {
		f.Src = far4
	}
	if f.Dst.IsUnspecified() {
		f.Dst = near4
	}
	if f.Protocol == 0 {
		f.Protocol = ipv4.ProtocolUDP
	}
	b := make([]byte, f.HeaderLen()+len(payload))
	n := f.Put(b, len(payload))
	copy(b[n:], payload)
	return eth(unix.ETH_P_IP, b)
}

// datagram returns a UDP datagram with its header.
func datagram(src, dst ipv4.Addr, sport, dport uint16, data []byte) []byte {
	b := make([]byte, udp.HeaderLen+len(data))
	copy(b[udp.HeaderLen:], data)
	udp.Put(b, src, dst, sport, dport, len(data))
	return b
}

// udpFrom returns the frame of a datagram from 10.9.0.2:sport to 10.9.0.1:dport.
func udpFrom(sport, dport uint16, data string) []byte {
	return ip(ipv4.Fields{}, datagram(far4, near4, sport, dport, []byte(data)))
}

// fragment returns the frame of a part of a UDP datagram: the bytes from to to
// of its IP payload, which is whole.
func fragment(id uint16, whole []byte, from, to int) []byte {
	return ip(ipv4.Fields{ID: id, FragmentOffset: from, MoreFragments: to < len(whole)}, whole[from:to])
}

// icmpFrom returns the frame of an ICMP message from 10.9.0.2.
func icmpFrom(m []byte) []byte { return ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP}, m) }

// icmpError returns the frame of an ICMP error about an IP packet of the stack's.
func icmpError(typ, code uint8, rest uint32, quoted []byte) []byte {
	return icmpFrom(icmp.AppendError(nil, typ, code, rest, quoted))
}

// arpPacket returns the frame of an ARP packet.
func arpPacket(dst link.MAC, op uint16, sha link.MAC, spa ipv4.Addr, tha link.MAC, tpa ipv4.Addr) []byte {
	b := make([]byte, 0, arp.Len)
	b = binary.BigEndian.AppendUint16(b, arp.HardwareEthernet)
	b = binary.BigEndian.AppendUint16(b, arp.ProtocolIPv4)
	b = append(b, 6, 4)
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, sha[:]...), spa[:]...)
	b = append(append(b, tha[:]...), tpa[:]...)
	return ethTo(dst, sha, unix.ETH_P_ARP, b)
}

// arpReply returns far's answer to who has 10.9.0.2, with a MAC of its choice.
func arpReply(mac link.MAC) []byte {
	return arpPacket(nearMAC, arp.OpReply, mac, far4, nearMAC, near4)
}

// mustARP returns the ARP packet in a frame.
func mustARP(t testing.TB, frame []byte) arp.Message {
	t.Helper()
	m, c := arp.Parse(frame[link.HeaderLen:])
	if c != arp.CauseNone {
		t.Fatalf("bad ARP packet: %v", c)
	}
	return m
}

// unicast reports whether a frame is to one host.
func unicast(frame []byte) bool { return frame[0]&1 == 0 }

// about reports whether a time is at most a few milliseconds after the one wanted.
func about(got, want time.Duration) bool { return got >= want && got < want+5*time.Millisecond }

// defaultRoute makes 10.9.0.2 the stack's gateway.
func (w *wire) defaultRoute() {
	w.t.Helper()
	r := ipv4.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: far4}
	if err := w.s.AddRoute(r); err != nil {
		w.t.Fatal(err)
	}
}
