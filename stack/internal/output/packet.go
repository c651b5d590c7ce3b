package output

import (
	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/queue"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// Packet is one IP datagram to send along a path, with all that the path's
// prebuilt headers do not say.
type Packet struct {
	Proto, TOS, TTL uint8
	DF              bool
	Options         []byte
	Payload         []byte
	Owner           *Sender // who hears if the neighbour does not answer; may be nil
	Message         int     // as for Buffer.add
	Begun           bool    // part of its message was built before
	Stamp           Stamp   // of a socket's, until its first frame has taken it

	// Queued is set by the send: the datagram waits for its neighbour or its time.
	Queued bool
}

// OutPacket is a packet that the receive side has to send, once its lock is
// released.
type OutPacket struct {
	Dev      *Device      // for frame
	Frame    []byte       // a whole frame, the pool's; or
	Src, Dst ipv4.Addr    // an ICMP message, whose bytes are the pool's,
	Counter  counter.Kind // and what it counts as
	Packet
}

// isError reports whether an ICMP message is an error, and no answer.
func (o *OutPacket) isError() bool {
	return o.Counter != counter.ICMPOutEchoReps && o.Counter != counter.ICMPOutTimestampReps
}

// giveBack gives the packet's memory back.
func (o *OutPacket) giveBack(pool *queue.Pool) {
	if o.Frame != nil {
		pool.Put(o.Frame)
	} else {
		pool.Put(o.Payload)
	}
}

// SendPacket builds the frames of pkt in tx, cut into fragments if it is longer
// than the path's MTU. If the neighbour is not known yet, they wait for it in
// its table. A path that does not hold has its neighbour resolved on the way.
func (t *Transmitter) SendPacket(tx *Buffer, p *Path, pkt *Packet) unix.Errno {
	f := ipv4.Fields{TOS: pkt.TOS, TTL: pkt.TTL, Protocol: pkt.Proto, DontFragment: pkt.DF,
		Src: p.Hop.Src, Dst: p.Dst, Options: pkt.Options}
	if !pkt.DF {
		f.ID = t.Ident.Next(t.Clock.Now(), f.Src, f.Dst, pkt.Proto, 1)
	}
	return t.SendFields(tx, p, &f, pkt)
}

// SendFields is SendPacket for a header that is complete.
func (t *Transmitter) SendFields(tx *Buffer, p *Path, f *ipv4.Fields, pkt *Packet) unix.Errno {
	payload, message := pkt.Payload, pkt.Message
	if p.StaysInside(f.TTL) {
		if p.Heard {
			t.hearOwn(p, f, payload)
		}
		tx.Sent = message + 1
		return 0
	}
	p, entry, ok, e := p.Ready(tx)
	if e != 0 {
		return e
	}
	var g ipv4.Fragmenter
	if g.Reset(f, payload, p.MTU()) != ipv4.CauseNone {
		tx.Count[counter.IPFragFails].Add(1)
		return unix.EMSGSIZE
	}
	pkt.Queued = !ok
	if !ok {
		// What was sent before stays before.
		if e := tx.Flush(); e != 0 && !pkt.Begun {
			return e
		}
	}
	fragments := 0
	for more := true; more; fragments++ {
		b, e := tx.Room(p.Queue, link.HeaderLen+p.MTU())
		if e != 0 {
			return e
		}
		copy(b, p.Header[:link.HeaderLen])
		var n int
		n, more = g.Next(b[link.HeaderLen:])
		frame := b[:link.HeaderLen+n]
		if ok {
			pkt.Stamp.Keep(frame)
		}
		switch {
		case !ok:
			t.Await(tx, p, entry, frame, pkt)
		case more:
			e = tx.AddAlong(p, frame, pkt, -1)
		default:
			e = tx.AddAlong(p, frame, pkt, message)
		}
		if e != 0 {
			return e
		}
	}
	if !ok {
		tx.Sent = message + 1
	}
	if fragments > 1 {
		tx.Count[counter.IPFragOKs].Add(1)
		tx.Count[counter.IPFragCreates].Add(uint64(fragments))
	}
	if p.Heard {
		if e := tx.Finish(); e != 0 {
			return e
		}
		t.hearOwn(p, f, payload)
	}
	return 0
}

// Await queues a copy of frame for an unresolved neighbour, and sends the ARP
// requests that this brings about.
func (t *Transmitter) Await(tx *Buffer, p *Path, entry *arp.Entry, frame []byte, pkt *Packet) {
	copied := t.Pool.Get(len(frame))
	copy(copied, frame)
	pending := arp.Pending{Frame: copied, Dst: p.Dst, Answer: pkt.Owner == nil}
	if owner := pkt.Owner; owner != nil {
		pending.Owner = pkt.ownerFor(p)
		owner.chargeSend(len(frame))
	}
	p.Dev.Neighbours.enqueue(tx, entry, pending)
}

// hearOwn gives a broadcast or multicast that we sent to our own sockets too, as the
// device would: Linux loops its own back.
func (t *Transmitter) hearOwn(p *Path, f *ipv4.Fields, payload []byte) {
	b := t.Pool.Get(ipv4.MinHeaderLen + len(payload))
	f.Put(b, len(payload))
	copy(b[ipv4.MinHeaderLen:], payload)
	p.HearDatagram(b)
	t.Pool.Put(b)
}

// HearDatagram is hearOwn for a datagram that is complete.
func (p *Path) HearDatagram(b []byte) {
	kind := link.Broadcast
	if p.Hop.Kind == route.Multicast {
		kind = link.Multicast
	}
	p.Dev.Host.Loop(b, kind)
}

// sendAll sends what the receive side left. No lock is held.
func (t *Transmitter) sendAll(out []OutPacket) {
	tx := t.beginOwned()
	tx.own = true
	for n := 0; n < len(out); {
		n = t.sendFrom(tx, out, n)
	}
	tx.Flush()
	local := tx.Local
	tx.Local, tx.own = false, false
	t.Release(tx, 0)
	if local {
		t.Host.PumpLoopback()
	}
}

// sendFrom sends packets from the n-th on, and returns how many are done. It may return
// before the last.
func (t *Transmitter) sendFrom(tx *Buffer, out []OutPacket, n int) (done int) {
	defer tx.contain()
	for done = n; done < len(out); {
		o := &out[done]
		done++
		if tx.Failed != 0 {
			tx.flushOwned(nil)
		}
		if o.Frame != nil {
			o.Dev.addOwned(tx, nil, o.Frame, Metadata{})
		} else if e := t.sendReply(tx, o); e != 0 {
			tx.Count[counter.IPOutDiscards].Add(1)
			if e == unix.ENETUNREACH {
				tx.Count[counter.IPOutNoRoutes].Add(1)
			}
		}
		o.giveBack(t.Pool)
	}
	return done
}

// sendReply sends an ICMP message of the stack's own.
func (t *Transmitter) sendReply(tx *Buffer, o *OutPacket) unix.Errno {
	spec := Spec{Flow: route.Flow{Src: o.Src, Dst: o.Dst}, Proto: o.Proto, TOS: o.TOS, TTL: int32(o.TTL),
		MTURule: unix.IP_PMTUDISC_DONT}
	slot := &tx.Paths[PathSlot(replyID, o.Dst, uint16(o.TOS))]
	p := &slot.Path
	if slot.Socket != replyID || !p.Holds() || p.Dst != o.Dst || p.Hop.Src != o.Src || p.Header[IPOffset+1] != o.TOS {
		slot.Socket = replyID
		if e := t.MakePath(p, &spec); e != 0 {
			p.Resolved = false
			return e
		}
	}
	if n := max(p.MTU()-ipv4.MinHeaderLen, icmp.HeaderLen); o.isError() && len(o.Payload) > n {
		o.Payload = icmp.Shorten(o.Payload, n) // an error is one packet
	}
	o.Message = -1
	tx.Count[counter.IPOutRequests].Add(1)
	tx.Count[counter.ICMPOutMsgs].Add(1)
	tx.Count[o.Counter].Add(1)
	return t.SendPacket(tx, p, &o.Packet)
}

// replyID stands for the stack itself among the sockets in Buffer.paths.
const replyID = ^uint64(0)
