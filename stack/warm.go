package stack

import (
	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
)

// A system call leaves the processor's caches and branch predictors full of the
// kernel's code, and the next datagram pays for it: a few hundred nanoseconds,
// several times what its processing costs otherwise. A spinner that has just
// found nothing has time until its datagram comes. It spends some of it on a
// datagram of its own making, which takes the same way through the same code to
// the same socket, and leaves no trace: its counters are not the stack's, nobody
// but the sink gets it, and nothing is sent because of it.

// warmup is a socket's frame for that purpose, and where its payload goes.
type warmup struct {
	gen   uint32     // the configuration's generation that it was made in
	ifc   *Interface // nil: there is no way to warm
	frame []byte
	sink  [warmPayload]byte
}

// warmPayload is the payload in bytes.
const warmPayload = 64

// prepareWarmup makes the socket's frame if it has none that fits.
func (k *Endpoint) prepareWarmup() {
	gen := k.s.routes.Generations.Config()
	if w := k.warmup.Load(); w != nil && w.gen == gen {
		return
	}
	k.warmup.Store(k.kind.makeWarmup(gen))
}

func (k *UDPSocket) makeWarmup(gen uint32) *warmup {
	k.mu.Lock()
	local, port, peer, peerPort := k.addr, k.port, k.peer, k.peerPort
	k.mu.Unlock()
	w := &warmup{gen: gen, ifc: interfaceOf(k.s.routes.Net().Toward(local))}
	if w.ifc != nil && port != 0 {
		if local.IsUnspecified() {
			local = k.s.routes.Net().Primary(&w.ifc.dev.Device)
		}
		if peer.IsUnspecified() {
			peer, peerPort = local, discardPort
			peer[3] ^= 1
		}
		w.frame = warmFrame(w.ifc, local, peer, port, peerPort)
	} else {
		w.ifc = nil
	}
	return w
}

// discardPort is the source port of a datagram from nobody (RFC 863).
const discardPort = 9

// warmFrame returns the frame of a datagram from peer to local.
func warmFrame(ifc *Interface, local, peer ipv4.Addr, port, peerPort uint16) []byte {
	b := make([]byte, output.HeadersLen+warmPayload)
	ether.Put(b, ifc.dev.Info().HardwareAddr, link.MAC{}, ether.TypeIPv4)
	f := ipv4.Fields{TTL: output.DefaultTTL, Protocol: ipv4.ProtocolUDP, Src: peer, Dst: local, DontFragment: true}
	f.Put(b[output.IPOffset:], udp.HeaderLen+warmPayload)
	udp.Put(b[output.UDPOffset:], peer, local, peerPort, port, warmPayload)
	return b
}

// warm takes k's frame through the receive path. The caller leads for k, and its sink is
// empty. It reports false if the frame is another lane's.
func (l *lane) warm(k *Endpoint) (done bool) {
	w := k.warmup.Load()
	if w != nil && w.ifc != nil && w.ifc.lane != l {
		return false
	}
	if w == nil || w.ifc == nil || k.state.Load()&(output.StateRecvExtras|output.StateReceive) != 0 || k.queue.N.Load() != 0 {
		return true
	}
	if l.s.raws != nil {
		return true // they would get it too
	}
	defer l.cool(l.sink.One, l.sink.Msgs)
	defer l.containFrame(w.ifc, w.frame)
	l.sink.One, l.sink.Msgs = w.sink[:], nil
	l.count, l.warming = &l.warmCounters, true
	f := &l.batch[0]
	f.Data, f.Meta = w.frame, link.Meta{WireLen: len(w.frame)}
	l.ipv4Input(w.ifc, f.Data[output.IPOffset:], &f.Meta, false)
	return true
}

// cool ends warm: what comes is counted, and goes to where it is wanted.
func (l *lane) cool(one []byte, msgs []Message) {
	l.count, l.warming = &l.counters, false
	l.sink.One, l.sink.Msgs, l.sink.Count = one, msgs, 0
}
