package stack

import (
	"sync"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// icmpInput processes an ICMP message.
func (l *lane) icmpInput(a *arrival, b []byte) {
	l.count[counter.ICMPInMsgs]++
	m, c := icmp.Parse(b)
	if c != icmp.CauseNone {
		if l.count[counter.ICMPInErrors]++; c == icmp.CauseChecksum {
			l.count[counter.ICMPInCsumErrors]++
		}
		return
	}
	l.count[typeCounters[min(int(m.Type()), len(typeCounters)-1)]]++
	if a.kind != route.Unicast && !icmp.MayBroadcast(m.Type()) {
		l.count[counter.ICMPInErrors]++
		return
	}
	switch m.Type() {
	case icmp.Echo:
		l.echo(a, m)
	case icmp.Timestamp:
		l.timestamp(a, m)
	case icmp.EchoReply, icmp.ExtendedEchoReply:
		l.pingDeliver(a, m)
	case icmp.DestinationUnreachable, icmp.SourceQuench, icmp.Redirect, icmp.TimeExceeded, icmp.ParameterProblem:
		l.errorInput(a, m) // routes are the user's: a redirect is told of at most
	default:
		if !icmp.Known(m.Type()) {
			l.count[counter.ICMPInErrors]++
		}
	}
}

// typeCounters are the counters of the messages of each type; the last one is that
// of all other types.
var typeCounters = func() (all [icmp.Timestamp + 2]counter.Kind) {
	for i := range all {
		all[i] = counter.ICMPInOther
	}
	all[icmp.Echo] = counter.ICMPInEchos
	all[icmp.Timestamp] = counter.ICMPInTimestamps
	all[icmp.EchoReply] = counter.ICMPInEchoReps
	all[icmp.DestinationUnreachable] = counter.ICMPInDestUnreachs
	all[icmp.TimeExceeded] = counter.ICMPInTimeExcds
	all[icmp.ParameterProblem] = counter.ICMPInParmProbs
	all[icmp.Redirect] = counter.ICMPInRedirects
	return all
}()

// echo answers an echo request to one of our addresses. Like Linux
// (icmp_echo_ignore_broadcasts) it does not answer broadcasts and multicasts.
func (l *lane) echo(a *arrival, m icmp.Message) {
	if a.kind != route.Unicast {
		l.count[counter.ICMPInErrors]++
		return
	}
	if a.ifc.policy.IgnoreEcho {
		l.count[counter.EchoIgnored]++
		return
	}
	options, ok := l.s.replyOptions(a)
	if !ok {
		return
	}
	b := icmp.AppendEchoReply(l.s.pool.Get(len(m))[:0], m)
	l.reply(a, b, a.h.TOS(), options, counter.ICMPOutEchoReps)
}

// timestamp answers a timestamp request.
func (l *lane) timestamp(a *arrival, m icmp.Message) {
	if a.kind != route.Unicast || len(m) < icmp.TimestampLen {
		l.count[counter.ICMPInErrors]++
		return
	}
	if a.ifc.policy.IgnoreTimestamp {
		l.count[counter.TimestampIgnored]++
		return
	}
	options, ok := l.s.replyOptions(a)
	if !ok {
		return
	}
	b := icmp.AppendTimestampReply(l.s.pool.Get(icmp.TimestampLen)[:0], m, l.s.clock.OfDay())
	l.reply(a, b, a.h.TOS(), options, counter.ICMPOutTimestampReps)
}

// replyOptions returns the IP options of an answer to a request that has some
// (RFC 1122, sections 3.2.2.6 and 3.2.2.8). We have entered ourselves as the host
// that received already, and do it again as the one that sends, as Linux does.
//
// ok is false if an option has room for a part of an entry only: no answer then.
func (s *Stack) replyOptions(a *arrival) (options []byte, ok bool) {
	if len(a.h) == ipv4.MinHeaderLen {
		return nil, true
	}
	set, _, c := ipv4.ParseOptions(a.h.Options())
	if c != ipv4.CauseNone {
		return nil, false
	}
	set.StampSent(a.h, a.dst, s.clock.OfDay())
	options, _ = ipv4.AppendReplyOptions(nil, a.h, set)
	return options, true
}

// reply leaves an ICMP message, in the pool's memory, to be sent to the source
// of a datagram, with IP options or nil. It is counted as c once there is a way.
func (l *lane) reply(a *arrival, b []byte, tos uint8, options []byte, c counter.Kind) {
	l.pending.out = append(l.pending.out, output.OutPacket{Src: a.dst, Dst: a.src, Counter: c,
		Packet: output.Packet{Proto: ipv4.ProtocolICMP, TOS: tos, TTL: output.DefaultTTL, Options: options, Payload: b}})
}

// pingDeliver gives an echo reply to the ping socket whose ident it has.
func (l *lane) pingDeliver(a *arrival, m icmp.Message) {
	in := Info{From: a.src, To: a.dst, Len: len(m), Interface: a.ifc.dev.Index, Home: a.ifc.dev.Index, // as Linux' ping sockets
		TTL: a.h.TTL(), TOS: a.h.TOS(), Clock: a.meta.Clock, Type: a.meta.Type,
		FragSize: uint16(a.frag), Time: a.meta.Time}
	k, ok := l.s.pings.Lookup(in.To, m.Ident(), in.From, 0, a.home)
	if !ok {
		return
	}
	l.deliver(a, &k.Endpoint, m, &in, counter.ICMPInDelivers, counter.ICMPRcvbufErrors)
}

// icmpKind is an error that the stack sends.
type icmpKind struct {
	typ, code uint8
	counter   counter.Kind
}

var (
	errPortUnreachable     = icmpKind{icmp.DestinationUnreachable, icmp.CodePort, counter.ICMPOutDestUnreachs}
	errProtocolUnreachable = icmpKind{icmp.DestinationUnreachable, icmp.CodeProtocol, counter.ICMPOutDestUnreachs}
	errReassemblyTime      = icmpKind{icmp.TimeExceeded, icmp.CodeReassembly, counter.ICMPOutTimeExcds}
	errParameterProblem    = icmpKind{icmp.ParameterProblem, icmp.CodePointer, counter.ICMPOutParmProbs}
)

// sendError answers a datagram with an ICMP error if the rules permit one.
func (l *lane) sendError(a *arrival, kind icmpKind, rest uint32) {
	l.sendErrorAbout(a, kind, rest, a.h.Datagram())
}

// sendErrorAbout is sendError with the datagram to quote.
func (l *lane) sendErrorAbout(a *arrival, kind icmpKind, rest uint32, datagram []byte) {
	t := icmp.Trigger{Src: a.src, Dst: a.dst, Protocol: a.h.Protocol(), FragmentOffset: a.h.FragmentOffset(),
		LinkBroadcast: a.meta.Type == link.Broadcast || a.meta.Type == link.Multicast,
		DstBroadcast:  a.kind == route.Broadcast}
	if _, quoted, ok := ipv4.ParseQuoted(datagram); ok && t.Protocol == ipv4.ProtocolICMP && len(quoted) > 0 {
		t.ICMPType = quoted[0]
	}
	if l.warming || icmp.MayAnswer(t) != icmp.CauseNone {
		return
	}
	if c, ignored := a.ifc.policy.ignores(kind); ignored {
		l.count[c]++
		return
	}
	if !a.ifc.dev.Loopback && !l.s.limiter.allow(l.s.clock.Now(), t.Src, kind.typ) {
		l.count[counter.ICMPOutRateLimited]++
		return
	}
	b := icmp.AppendError(l.s.pool.Get(icmp.HeaderLen + icmp.MaxQuote)[:0], kind.typ, kind.code, rest, datagram)
	l.reply(a, b, icmp.ErrorTOS(a.h.TOS()), nil, kind.counter)
}

// errorLimiter is the limiter of what all lanes answer with errors.
type errorLimiter struct {
	mu sync.Mutex // a leaf
	l  *icmp.Limiter
}

func (e *errorLimiter) allow(now int64, dst ipv4.Addr, typ uint8) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.l.Allow(now, dst, typ)
}

// errorInput gives an ICMP error to the socket that sent what it quotes, if that
// is one of ours. Quotes come altered: NAT leaves another address or checksum,
// routers the length of a GSO packet, or lengths and offsets in their own byte
// order. So only what finds the socket is believed of it, and that the socket has
// sent to that destination lately.
func (l *lane) errorInput(a *arrival, m icmp.Message) {
	if icmp.QuotesHeader(m) && !icmp.Reported(m.Type(), m.Code()) {
		return
	}
	q, ok := icmp.ParseQuote(m)
	if !ok {
		l.count[counter.ICMPInErrors]++
		l.count[counter.DropICMPUnvalidated]++
		return
	}
	k, ok := l.quotedSocket(a, &q)
	ok = ok && l.s.recent.Has(k.id, q.Dst)
	raw := l.s.raws != nil && l.rawErrors(a, m, &q, ok)
	if ok {
		if !k.passes(a) {
			l.socketError(a, m, &q, k)
		}
		return
	}
	if q.Protocol == ipv4.ProtocolUDP || q.Protocol == unix.IPPROTO_TCP {
		l.count[counter.ICMPInErrors]++ // as the transport protocols of Linux do
	}
	if !raw {
		l.count[counter.DropICMPUnvalidated]++
	}
}

// quotedSocket returns the socket that sent what is quoted, or so the quote says.
func (l *lane) quotedSocket(a *arrival, q *icmp.Quote) (k *IPSocket, ok bool) {
	switch q.Protocol {
	case ipv4.ProtocolUDP:
		if u, ok := l.udpSocket(a, q.Src, q.SrcPort(), q.Dst, q.DstPort(), a.ifc.dev.Index); ok {
			return &u.IPSocket, true
		}
	case ipv4.ProtocolICMP:
		if q.ICMPType() == icmp.Echo && q.ICMPCode() == 0 {
			if p, ok := l.s.pings.Lookup(a.dst, q.Ident(), q.Dst, 0, a.home); ok {
				return &p.IPSocket, true
			}
		}
	}
	return nil, false
}

// socketError tells a UDP or ping socket of an error (Linux' udp_err and ping_err).
func (l *lane) socketError(a *arrival, m icmp.Message, q *icmp.Quote, k *IPSocket) {
	errno, hard, ok := k.transport.errno(m.Type(), m.Code())
	if !ok {
		return
	}
	qe := quotedError(a, m, q, errno)
	if m.IsFragmentationNeeded() {
		l.s.learnPathMTU(q, m.MTU(), k)
		if hard = true; k.mtuDiscover.Load() == unix.IP_PMTUDISC_DONT {
			return
		}
	}
	k.icmpError(qe, hard)
}

// quotedError returns what the error queue is told of an ICMP error.
func quotedError(a *arrival, m icmp.Message, q *icmp.Quote, errno unix.Errno) QueuedError {
	e := QueuedError{Errno: errno, Type: m.Type(), Code: m.Code(), Info: m.Info(), Offender: a.src, Dst: q.Dst,
		Meta: Info{From: a.src, To: a.dst, Interface: a.ifc.dev.Index, Home: a.ifc.dev.Index, TTL: a.h.TTL(), TOS: a.h.TOS(),
			Time: a.meta.Time, Clock: a.meta.Clock}}
	headers := q.HeaderLen
	if q.Protocol == ipv4.ProtocolUDP {
		e.DstPort = q.DstPort()
		headers += udp.HeaderLen
	}
	e.WithQuoted(m, headers)
	return e
}

// learnPathMTU takes in that the path by which a socket has sent what is quoted has
// a smaller MTU (RFC 1191): of each way by which the socket sends there. Those who
// send without regard to path MTUs learn none (Linux' ip_sk_accept_pmtu).
func (s *Stack) learnPathMTU(q *icmp.Quote, mtu int, k *IPSocket) {
	switch k.mtuDiscover.Load() {
	case unix.IP_PMTUDISC_INTERFACE, unix.IP_PMTUDISC_OMIT:
		return
	}
	for _, device := range k.sendsBy.latest() {
		s.routes.LearnMTU(route.Flow{Src: q.Src, Dst: q.Dst, Device: device}, mtu)
	}
}
