package stack

import (
	"net/netip"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// An OutMessage is one datagram to send.
type OutMessage struct {
	Buffers [][]byte       // gathered in order
	To      netip.AddrPort // the zero AddrPort: to the peer
	Options *SendOptions   // nil: as the socket is set
	Link    *LinkAddr      // where a packet socket's frame goes, instead of To; nil: as it is bound
}

// maxDatagram is the longest payload behind an IPv4 header without options, in bytes.
const maxDatagram = ipv4.MaxLen - ipv4.MinHeaderLen

// outgoing is one datagram on its way through send.
type outgoing struct {
	one      []byte   // the payload,
	bufs     [][]byte // or its pieces, if one is nil
	n        int      // its length
	dst      ipv4.Addr
	port     uint16
	explicit bool // dst and port are given
	segment  bool // of a payload that UDP_SEGMENT cuts, and not the first
	opts     *SendOptions
	link     *LinkAddr // of a packet socket
	message  int       // its index in the batch
	began    int64     // when the call began, of CLOCK_MONOTONIC, if that is recorded
}

// Send sends p to the peer as one datagram: EDESTADDRREQ if there is none. It
// does not wait for the network, and does not keep p. A neighbour that is not
// resolved yet has the datagram queued. Errors: a pending error of the
// socket's; EMSGSIZE: longer than UDP or the path's MTU (with IP_PMTUDISC_DO)
// allows; EPIPE after Shutdown; ENETUNREACH: no route, or the device is down; ENODEV:
// the device that the socket is bound to is gone; EAGAIN: the device is busy, and
// MSG_DONTWAIT was given or the deadline has passed.
func (k *Endpoint) Send(p []byte, flags int, deadline int64) error {
	o := outgoing{one: p, n: len(p)}
	return k.sendOne(&o, flags, deadline)
}

// SendTo is Send to an address of the caller's choice.
func (k *Endpoint) SendTo(p []byte, flags int, deadline int64, to netip.AddrPort) error {
	if k.Closed() {
		return unix.EBADF
	}
	dst, ok := as4(to.Addr())
	if !ok {
		return unix.EAFNOSUPPORT
	}
	o := outgoing{one: p, n: len(p), dst: dst, port: to.Port(), explicit: true}
	return k.sendOne(&o, flags, deadline)
}

func (k *Endpoint) sendOne(o *outgoing, flags int, deadline int64) error {
	tx := k.s.out.Acquire(k.id)
	tx.Deadline = deadline
	e := k.send(tx, o, flags)
	if e == 0 {
		e = tx.Flush()
	}
	if e != 0 || tx.Local {
		e = k.sentSlow(tx, o, e, flags, deadline)
	}
	k.s.out.Release(tx, k.id)
	if e != 0 {
		return k.orClosed(e)
	}
	k.sent()
	return nil
}

// sentSlow does what a sent datagram rarely needs: loopback's delivery, and
// waiting for room in a device that is busy.
func (k *Endpoint) sentSlow(tx *output.Buffer, o *outgoing, e unix.Errno, flags int, deadline int64) unix.Errno {
	for {
		if tx.Failed != 0 { // it was built
			e = k.out.Finish(tx, flags, deadline)
			break
		}
		if e != unix.EAGAIN || !k.out.Pause(flags, deadline) {
			break
		}
		if e = k.send(tx, o, flags); e == 0 {
			e = tx.Flush()
		}
	}
	return k.endSend(tx, e)
}

// endSend leaves tx as it found it, and returns what the call does.
func (k *Endpoint) endSend(tx *output.Buffer, e unix.Errno) unix.Errno {
	if len(tx.Batch) > 0 {
		k.out.TakeBack(tx) // part of a message that could not be built
	}
	tx.Midway, tx.Owner = false, nil
	if tx.Local {
		tx.Local = false
		k.s.pumpLocal()
	}
	switch {
	case e == unix.EAGAIN:
		return k.whyNot()
	case e == unix.ENETDOWN:
		return k.kind.linkDown()
	}
	return e
}

// SendMessages sends datagrams in order with as few system calls as the link
// can, and returns how many were sent. The error, one of Send's, is what stopped
// it before the first; nil if any was sent.
func (k *Endpoint) SendMessages(msgs []OutMessage, flags int, deadline int64) (int, error) {
	if k.Closed() {
		return 0, unix.EBADF
	}
	tx := k.s.out.Acquire(k.id)
	tx.Sent, tx.Deadline = 0, deadline
	e := k.sendMessages(tx, msgs, flags, deadline)
	if e != 0 || tx.Local {
		e = k.endSend(tx, e)
	}
	sent := tx.Sent
	k.s.out.Release(tx, k.id)
	if sent > 0 || e == 0 {
		k.sent()
		return sent, nil
	}
	return 0, k.orClosed(e)
}

// sent tells those who watch the socket that a datagram has left: as on Linux, where
// its memory is free then, that is an edge for EPOLLOUT. Hot.
func (k *Endpoint) sent() {
	if k.watches.Watched() {
		k.out.TellSent()
	}
}

// whyNot returns what a send says that ended without having sent anything, and
// without waiting or while it did.
func (k *Endpoint) whyNot() unix.Errno {
	switch st := k.state.Load(); {
	case st&output.StateClosed != 0:
		return unix.EBADF
	case st&output.StateError != 0:
		if e := k.errors.Take(); e != 0 {
			return e
		}
	case st&output.StateShutWrite != 0:
		return unix.EPIPE
	}
	return unix.EAGAIN
}

// orClosed returns EBADF if the socket was closed meanwhile, whatever else that has
// brought about, and else e.
func (k *Endpoint) orClosed(e unix.Errno) unix.Errno {
	if k.Closed() {
		return unix.EBADF
	}
	return e
}

// sendMessages is SendMessages with tx.
func (k *Endpoint) sendMessages(tx *output.Buffer, msgs []OutMessage, flags int, deadline int64) unix.Errno {
	for i := 0; i < len(msgs); {
		n, e := k.build(tx, msgs[i:], i, flags)
		switch {
		case tx.Failed != 0:
			if e := k.out.Finish(tx, flags, deadline); e != 0 {
				return e
			}
			if e != 0 {
				continue // another way out was stuck: it was not begun
			}
		case e != 0:
			if e := k.out.Finish(tx, flags, deadline); e != 0 {
				return e
			}
			if e != unix.EAGAIN || !k.out.Pause(flags, deadline) {
				return e
			}
			continue
		}
		i += n
	}
	return k.out.Finish(tx, flags, deadline)
}

// build builds the frames of the first of msgs, or of as many as go in one
// GSO packet, and returns of how many. base is the index of the first.
func (k *Endpoint) build(tx *output.Buffer, msgs []OutMessage, base, flags int) (int, unix.Errno) {
	if run, p := k.gsoRun(tx, msgs); run > 0 && flags&sendAsideFlags == 0 {
		return run, k.sendGSO(tx, p, msgs[:run], base)
	}
	o := outgoing{message: base}
	if e := o.fill(&msgs[0]); e != 0 {
		return 0, e
	}
	return 1, k.send(tx, &o, flags)
}

// fill takes a message's payload, destination and options.
func (o *outgoing) fill(m *OutMessage) unix.Errno {
	o.bufs, o.opts, o.link, o.n = m.Buffers, m.Options, m.Link, m.len()
	if len(o.bufs) == 1 {
		o.one = o.bufs[0]
	}
	if m.To.IsValid() {
		dst, ok := as4(m.To.Addr())
		if !ok {
			return unix.EAFNOSUPPORT
		}
		o.dst, o.port, o.explicit = dst, m.To.Port(), true
	}
	return 0
}

// sendAsideFlags are the flags with which a datagram does not go the fast way.
const sendAsideFlags = unix.MSG_OOB | unix.MSG_MORE | unix.MSG_DONTROUTE | unix.MSG_CONFIRM

// send builds the frames of one datagram in tx. Hot: a connected socket's
// datagram takes no lock and allocates nothing.
func (k *Endpoint) send(tx *output.Buffer, o *outgoing, flags int) unix.Errno {
	if flags&sendAsideFlags != 0 || o.opts != nil || o.n > maxDatagram {
		return k.sendSlow(tx, o, flags)
	}
	p := k.cachedPath(tx, o)
	if p == nil || !p.Holds() || k.state.Load()&output.StateSend != 0 ||
		o.n > p.MaxFast {
		return k.sendSlow(tx, o, flags)
	}
	if p.Beside {
		return k.sendBeside(tx, p, o, flags)
	}
	return k.sendFast(tx, p, o)
}

// cachedPath returns the path that the socket took to a destination before, nil
// if there is none. It may not hold any more.
func (k *Endpoint) cachedPath(tx *output.Buffer, o *outgoing) *output.Path {
	if !o.explicit {
		return k.path.Load()
	}
	key := k.pathKey.Load()
	c := &tx.Paths[output.PathSlot(key, o.dst, o.port)]
	if c.Socket == key && c.Path.Dst == o.dst && c.Path.DstPort == o.port {
		return &c.Path
	}
	return nil
}

// sendFast builds the frame of a datagram that goes in one piece along a path
// that holds.
func (k *Endpoint) sendFast(tx *output.Buffer, p *output.Path, o *outgoing) unix.Errno {
	b, e := tx.Room(p.Queue, output.HeadersLen+o.n)
	if e != 0 {
		return e
	}
	var id uint16
	if !p.DF {
		id = k.s.out.Ident.Next(k.s.clock.Now(), p.Hop.Src, p.Dst, ipv4.ProtocolUDP, 1)
	}
	p.PutUDP(b, o.n, id, o.copySum(b[output.HeadersLen:]))
	tx.Add(b, o.message)
	tx.Ends[len(tx.Ends)-1].Datagrams = 1
	tx.Count[counter.UDPOutDatagrams].Add(1)
	return 0
}

// copySum copies the payload to dst and returns its sum.
func (o *outgoing) copySum(dst []byte) uint16 {
	if o.one != nil || o.bufs == nil {
		return checksum.CopySum(dst, o.one)
	}
	var sum uint16
	at := 0
	for _, b := range o.bufs {
		sum = checksum.Combine(sum, checksum.CopySum(dst[at:], b), at)
		at += len(b)
	}
	return sum
}

// copyTo copies the payload to dst.
func (o *outgoing) copyTo(dst []byte) {
	if o.one != nil {
		copy(dst, o.one)
		return
	}
	at := 0
	for _, b := range o.bufs {
		at += copy(dst[at:], b)
	}
}

// sendBeside is sendFast for paths that are not like most.
func (k *Endpoint) sendBeside(tx *output.Buffer, p *output.Path, o *outgoing, flags int) unix.Errno {
	if p.Slow {
		return k.sendSlow(tx, o, flags)
	}
	if e := k.sendFast(tx, p, o); e != 0 {
		return e
	}
	tx.DescribeLast(p.Metadata)
	return 0
}

// sendSlow sends what the fast way cannot: the first datagram to a destination,
// fragments, broadcasts, pings, what has options of its own, and all errors.
func (k *Endpoint) sendSlow(tx *output.Buffer, o *outgoing, flags int) unix.Errno {
	if k.state.Load()&output.StateClosed != 0 {
		return unix.EBADF
	}
	tx.Owner, tx.Flags = &k.out, flags
	if !k.out.CaughtUp() {
		return k.out.NoSpace()
	}
	return k.buildSlow(tx, o, flags)
}

// MakePath fills in p for the spec, all but the neighbour, with the socket's way out.
func (k *IPSocket) makePath(p *output.Path, spec *output.Spec) unix.Errno {
	e := k.s.out.MakePath(p, spec)
	if e == 0 {
		p.Queue = k.out.WayOutOf(p.Dev)
	}
	return e
}

// sendToPeer sends along the socket's own path, which is made anew if it does
// not hold. key is the socket's before spec was made.
func (k *IPSocket) sendToPeer(tx *output.Buffer, o *outgoing, spec *output.Spec, key uint64) unix.Errno {
	p := k.path.Load()
	if p != nil && p.Holds() {
		return k.sendAlong(tx, p, spec, o)
	}
	p = new(output.Path)
	if e := k.makePath(p, spec); e != 0 {
		return e
	}
	if e := k.sendAlong(tx, p, spec, o); e != 0 {
		return e
	}
	p.Shared = true
	k.path.Store(p)
	if k.pathKey.Load() != key {
		k.path.Store(nil) // the socket was set otherwise meanwhile
	}
	return 0
}

// sendTo sends along a path that is kept in tx.
func (k *IPSocket) sendTo(tx *output.Buffer, o *outgoing, spec *output.Spec, key uint64) unix.Errno {
	c := &tx.Paths[output.PathSlot(key, spec.Dst, spec.DstPort)]
	p := &c.Path
	if c.Socket != key || p.Dst != spec.Dst || p.DstPort != spec.DstPort || !p.Holds() {
		c.Socket = key
		if e := k.makePath(p, spec); e != 0 {
			p.Resolved = false
			return e
		}
	}
	return k.sendAlong(tx, p, spec, o)
}

// sendAside sends along a path for this one datagram.
func (k *IPSocket) sendAside(tx *output.Buffer, o *outgoing, spec *output.Spec, flags int) unix.Errno {
	var p output.Path
	if e := k.makePath(&p, spec); e != 0 {
		return e
	}
	if o.opts != nil && o.opts.Direct && p.Next != p.Dst {
		return unix.EMULTIHOP
	}
	if flags&unix.MSG_CONFIRM != 0 && !p.Dev.Loopback {
		p.Dev.Neighbours.Confirm(p.Next)
	}
	return k.sendAlong(tx, &p, spec, o)
}

// spec returns what a datagram's path depends on.
func (k *IPSocket) spec(o *outgoing, flags int) (spec output.Spec, connected bool, e unix.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	spec = output.Spec{
		SrcPort: k.port, DstPort: o.port,
		TOS: uint8(k.tos.Load()), TTL: k.ttl.Load(), MTURule: k.mtuDiscover.Load(),
	}
	dst, unicastIf := o.dst, k.unicastIf.Load()
	if !o.explicit {
		if !k.connected {
			return spec, false, unix.EDESTADDRREQ
		}
		dst, spec.DstPort, unicastIf = k.peer, k.peerPort, k.peerIf
	}
	spec.Flow = k.flowLocked(dst, unicastIf)
	spec.OnLink = flags&unix.MSG_DONTROUTE != 0 || k.sending.DontRoute()
	if e := k.address(&spec, o); e != 0 {
		return spec, false, e
	}
	spec.Options, spec.Metadata, spec.Later = k.options.Load(), o.metadata(&k.sending), k.times.later(o)
	if spec.Dst.IsMulticast() {
		spec.TTL, spec.Quiet = k.multicast.ttl, k.multicast.quiet
	}
	if o.opts != nil {
		o.opts.apply(&spec)
		spec.OnLink = spec.OnLink || o.opts.DontRoute
	}
	if e := spec.RouteBySource(); e != 0 {
		return spec, false, e
	}
	k.multicast.apply(&spec.Flow)
	spec.Flow.TOS, spec.Mark = spec.TOS, spec.Metadata.Mark // control messages may have set them
	k.s.routes.Net().ThisHost(&spec.Flow)
	k.s.recent.Add(k.id, spec.Dst)
	k.sendsBy.add(spec.Device)
	return spec, !o.explicit, 0
}

// checkLength returns EMSGSIZE, and tells the error queue, if a datagram is longer
// than it may be.
func (k *IPSocket) checkLength(p *output.Path, spec *output.Spec, o *outgoing) unix.Errno {
	options := spec.OptionsLen()
	limit := maxDatagram - options - k.transport.headerLen()
	if o.n <= limit && (o.n+options <= p.MaxData || p.MayFragment()) {
		return 0
	}
	port := spec.DstPort
	if !k.hasPeer.Load() {
		port = 0 // Linux tells the peer's
	}
	k.localError(unix.EMSGSIZE, spec.Dst, port, p.MTU())
	return unix.EMSGSIZE
}

// sendDatagram sends one datagram along a path.
func (k *IPSocket) sendDatagram(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing) unix.Errno {
	if e := k.checkLength(p, spec, o); e != 0 {
		return e
	}
	if k.out.SendFull() && !o.segment { // a message that was begun goes on
		return k.out.NoSpace()
	}
	payload, e := k.payload(p, spec, o)
	if e != 0 {
		return e
	}
	defer k.s.pool.Put(payload)
	options := spec.PutOptions(&tx.Options, p)
	pkt := output.Packet{Proto: k.proto, TOS: spec.TOS, TTL: p.Header[output.IPOffset+8], DF: p.DF && o.n+len(options) <= p.MaxData,
		Options: options, Payload: payload, Owner: &k.out, Message: o.message, Begun: o.segment}
	pkt.Stamp = k.times.beginStamp(o)
	if e := k.s.out.SendPacket(tx, p, &pkt); e != 0 {
		k.times.dropStamp(&pkt.Stamp, o)
		return e
	}
	k.out.Count(tx, pkt.Queued)
	return k.times.stampSent(tx, o, &pkt)
}

// segment returns the size of the datagrams that a payload is cut into, 0 if it
// is not.
func (k *UDPSocket) segment(o *outgoing) int {
	if o.opts != nil && o.opts.Segment != 0 {
		return max(o.opts.Segment, 0)
	}
	return k.Segment()
}

// maxSegments is how many datagrams one call may be cut into (UDP_MAX_SEGMENTS).
const maxSegments = 128

// sendSegments sends a payload as datagrams of size bytes each (UDP_SEGMENT).
func (k *UDPSocket) sendSegments(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing, size int) unix.Errno {
	switch {
	case size > p.MaxData:
		return unix.EMSGSIZE
	case o.n > size*maxSegments, k.sending.NoCheck():
		return unix.EINVAL
	case o.n > maxDatagram-udp.HeaderLen:
		return unix.EMSGSIZE
	}
	if done, e := k.sendSegmentsWhole(tx, p, spec, o, size); done || e != 0 {
		return e
	}
	whole := o.one
	if whole == nil {
		whole = k.s.pool.Get(o.n)
		defer k.s.pool.Put(whole)
		o.copyTo(whole)
	}
	for at := 0; at < o.n; at += size {
		piece := outgoing{one: whole[at:min(at+size, o.n)], message: -1, opts: o.opts, began: o.began, segment: at > 0}
		if piece.n = len(piece.one); at+size >= o.n {
			piece.message = o.message
		}
		if e := k.sendDatagram(tx, p, spec, &piece); e != 0 {
			return e
		}
	}
	return 0
}

// SetSendBuffer sets how much may wait to be sent, in the bytes that Linux would
// charge: about twice the payload's (SO_SNDBUF).
func (k *Endpoint) SetSendBuffer(n int) { k.out.SetSendBuffer(n) }

// SendBuffer returns what SetSendBuffer set.
func (k *Endpoint) SendBuffer() int { return k.out.SendBuffer() }

// SendQueued returns how much is charged for what waits to be sent, in the stack and in
// the device (SIOCOUTQ in udp(7)). Of what the socket has sent by a way out that others
// use too it knows no more than what all have there, and nothing once it has its own:
// that it gets with the first call.
func (k *Endpoint) SendQueued() int { return k.out.SendQueued() }

// TakeMissed reports whether somebody has wanted to send, or asked if it is
// possible, and could not, since it was last called: who is told of space by a
// signal is told then only (SOCKWQ_ASYNC_NOSPACE in Linux).
func (k *Endpoint) TakeMissed() bool { return k.out.TakeMissed() }

// metadata returns the metadata of a datagram: what the socket has, unless control
// messages say otherwise.
func (o *outgoing) metadata(of *option.Sending) output.Metadata {
	t := output.Metadata{Priority: of.Priority(), Mark: of.Mark()}
	if o.opts != nil {
		o.opts.metadata(&t)
	}
	return t
}
