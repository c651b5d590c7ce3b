package stack

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

// packet is one IP datagram to send along a path, with all that the path's
// prebuilt headers do not say.
type packet struct {
	proto, tos, ttl uint8
	df              bool
	options         []byte
	payload         []byte
	owner           *sender   // who hears if the neighbour does not answer; may be nil
	message         int       // as for txbuf.add
	begun           bool      // part of its message was built before
	stamp           sentStamp // of a socket's, until its first frame has taken it

	// queued is set by the send: the datagram waits for its neighbour or its time.
	queued bool
}

// outPacket is a packet that the receive side has to send, once its lock is
// released.
type outPacket struct {
	dev      *device      // for frame
	frame    []byte       // a whole frame, the pool's; or
	src, dst ipv4.Addr    // an ICMP message, whose bytes are the pool's,
	counter  counter.Kind // and what it counts as
	packet
}

// isError reports whether an ICMP message is an error, and no answer.
func (o *outPacket) isError() bool {
	return o.counter != counter.ICMPOutEchoReps && o.counter != counter.ICMPOutTimestampReps
}

// giveBack gives the packet's memory back.
func (o *outPacket) giveBack(pool *queue.Pool) {
	if o.frame != nil {
		pool.Put(o.frame)
	} else {
		pool.Put(o.payload)
	}
}

// sendPacket builds the frames of pkt in tx, cut into fragments if it is longer
// than the path's MTU. If the neighbour is not known yet, they wait for it in
// its table. A path that does not hold has its neighbour resolved on the way.
func (t *transmitter) sendPacket(tx *txbuf, p *path, pkt *packet) unix.Errno {
	f := ipv4.Fields{TOS: pkt.tos, TTL: pkt.ttl, Protocol: pkt.proto, DontFragment: pkt.df,
		Src: p.hop.Src, Dst: p.dst, Options: pkt.options}
	if !pkt.df {
		f.ID = t.ident.Next(t.clock.Now(), f.Src, f.Dst, pkt.proto, 1)
	}
	return t.sendFields(tx, p, &f, pkt)
}

// sendFields is sendPacket for a header that is complete.
func (t *transmitter) sendFields(tx *txbuf, p *path, f *ipv4.Fields, pkt *packet) unix.Errno {
	payload, message := pkt.payload, pkt.message
	if p.staysInside(f.TTL) {
		if p.heard {
			t.hearOwn(p, f, payload)
		}
		tx.sent = message + 1
		return 0
	}
	p, entry, ok, e := p.ready(tx)
	if e != 0 {
		return e
	}
	var g ipv4.Fragmenter
	if g.Reset(f, payload, p.mtu()) != ipv4.CauseNone {
		tx.count[counter.IPFragFails].Add(1)
		return unix.EMSGSIZE
	}
	pkt.queued = !ok
	if !ok {
		// What was sent before stays before.
		if e := tx.flush(); e != 0 && !pkt.begun {
			return e
		}
	}
	fragments := 0
	for more := true; more; fragments++ {
		b, e := tx.room(p.queue, link.HeaderLen+p.mtu())
		if e != 0 {
			return e
		}
		copy(b, p.header[:link.HeaderLen])
		var n int
		n, more = g.Next(b[link.HeaderLen:])
		frame := b[:link.HeaderLen+n]
		if ok {
			pkt.stamp.keep(frame)
		}
		switch {
		case !ok:
			t.await(tx, p, entry, frame, pkt)
		case more:
			e = tx.addAlong(p, frame, pkt, -1)
		default:
			e = tx.addAlong(p, frame, pkt, message)
		}
		if e != 0 {
			return e
		}
	}
	if !ok {
		tx.sent = message + 1
	}
	if fragments > 1 {
		tx.count[counter.IPFragOKs].Add(1)
		tx.count[counter.IPFragCreates].Add(uint64(fragments))
	}
	if p.heard {
		if e := tx.finish(); e != 0 {
			return e
		}
		t.hearOwn(p, f, payload)
	}
	return 0
}

// await queues a copy of frame for an unresolved neighbour, and sends the ARP
// requests that this brings about.
func (t *transmitter) await(tx *txbuf, p *path, entry *arp.Entry, frame []byte, pkt *packet) {
	copied := t.pool.Get(len(frame))
	copy(copied, frame)
	pending := arp.Pending{Frame: copied, Dst: p.dst, Answer: pkt.owner == nil}
	if owner := pkt.owner; owner != nil {
		pending.Owner = pkt.ownerFor(p)
		owner.chargeSend(len(frame))
	}
	p.dev.neighbours.enqueue(tx, entry, pending)
}

// hearOwn gives a broadcast or multicast that we sent to our own sockets too, as the
// device would: Linux loops its own back.
func (t *transmitter) hearOwn(p *path, f *ipv4.Fields, payload []byte) {
	b := t.pool.Get(ipv4.MinHeaderLen + len(payload))
	f.Put(b, len(payload))
	copy(b[ipv4.MinHeaderLen:], payload)
	p.hearDatagram(b)
	t.pool.Put(b)
}

// hearDatagram is hearOwn for a datagram that is complete.
func (p *path) hearDatagram(b []byte) {
	kind := link.Broadcast
	if p.hop.Kind == route.Multicast {
		kind = link.Multicast
	}
	p.dev.host.hear(b, kind)
}

// sendAll sends what the receive side left. No lock is held.
func (t *transmitter) sendAll(out []outPacket) {
	tx := t.beginOwned()
	tx.own = true
	for n := 0; n < len(out); {
		n = t.sendFrom(tx, out, n)
	}
	tx.flush()
	local := tx.local
	tx.local, tx.own = false, false
	t.releaseTx(tx, 0)
	if local {
		t.host.pumpLocal()
	}
}

// sendFrom sends packets from the n-th on, and returns how many are done. It may return
// before the last.
func (t *transmitter) sendFrom(tx *txbuf, out []outPacket, n int) (done int) {
	defer tx.contain()
	for done = n; done < len(out); {
		o := &out[done]
		done++
		if tx.failed != 0 {
			tx.flushOwned(nil)
		}
		if o.frame != nil {
			o.dev.addOwned(tx, nil, o.frame, metadata{})
		} else if e := t.sendReply(tx, o); e != 0 {
			tx.count[counter.IPOutDiscards].Add(1)
			if e == unix.ENETUNREACH {
				tx.count[counter.IPOutNoRoutes].Add(1)
			}
		}
		o.giveBack(t.pool)
	}
	return done
}

// sendReply sends an ICMP message of the stack's own.
func (t *transmitter) sendReply(tx *txbuf, o *outPacket) unix.Errno {
	spec := pathSpec{Flow: route.Flow{Src: o.src, Dst: o.dst}, proto: o.proto, tos: o.tos, ttl: int32(o.ttl),
		mtuRule: unix.IP_PMTUDISC_DONT}
	slot := &tx.paths[pathSlot(replyID, o.dst, uint16(o.tos))]
	p := &slot.path
	if slot.socket != replyID || !p.holds() || p.dst != o.dst || p.hop.Src != o.src || p.header[ipOffset+1] != o.tos {
		slot.socket = replyID
		if e := t.makePath(p, &spec); e != 0 {
			p.resolved = false
			return e
		}
	}
	if n := max(p.mtu()-ipv4.MinHeaderLen, icmp.HeaderLen); o.isError() && len(o.payload) > n {
		o.payload = icmp.Shorten(o.payload, n) // an error is one packet
	}
	o.message = -1
	tx.count[counter.IPOutRequests].Add(1)
	tx.count[counter.ICMPOutMsgs].Add(1)
	tx.count[o.counter].Add(1)
	return t.sendPacket(tx, p, &o.packet)
}

// replyID stands for the stack itself among the sockets in txbuf.paths.
const replyID = ^uint64(0)
