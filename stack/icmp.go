package stack

import (
	"time"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// All in this file that takes an arrival runs with the receive lock held.

// icmpInput processes an ICMP message.
func (s *Stack) icmpInput(a *arrival, b []byte) {
	r := &s.rx
	r.count[icmpInMsgs]++
	m, c := icmp.Parse(b)
	if c != icmp.CauseNone {
		if r.count[icmpInErrors]++; c == icmp.CauseChecksum {
			r.count[icmpInCsumErrors]++
		}
		return
	}
	switch m.Type() {
	case icmp.Echo:
		r.count[icmpInEchos]++
		s.echo(a, m)
	case icmp.Timestamp:
		r.count[icmpInTimestamps]++
		s.timestamp(a, m)
	case icmp.EchoReply:
		r.count[icmpInEchoReps]++
		s.pingDeliver(a, m)
	case icmp.DestinationUnreachable:
		r.count[icmpInDestUnreachs]++
		s.errorInput(a, m)
	case icmp.TimeExceeded:
		r.count[icmpInTimeExcds]++
		s.errorInput(a, m)
	case icmp.ParameterProblem:
		r.count[icmpInParmProbs]++
		s.errorInput(a, m)
	case icmp.Redirect:
		r.count[icmpInRedirects]++ // ignored: routes are the user's
	default:
		r.count[icmpInOther]++
	}
}

// echo answers an echo request to one of our addresses. Like Linux
// (icmp_echo_ignore_broadcasts) it does not answer broadcasts and multicasts.
func (s *Stack) echo(a *arrival, m icmp.Message) {
	if a.kind != toUnicast {
		return
	}
	options, ok := replyOptions(a)
	if !ok {
		return
	}
	b := icmp.AppendEchoReply(s.pool.get(len(m))[:0], m)
	s.reply(a, b, a.h.TOS(), options)
	s.rx.count[icmpOutEchoReps]++
}

// timestamp answers a timestamp request.
func (s *Stack) timestamp(a *arrival, m icmp.Message) {
	if a.kind != toUnicast || len(m) < icmp.TimestampLen {
		return
	}
	options, ok := replyOptions(a)
	if !ok {
		return
	}
	b := icmp.AppendTimestampReply(s.pool.get(icmp.TimestampLen)[:0], m, timeOfDay())
	s.reply(a, b, a.h.TOS(), options)
	s.rx.count[icmpOutTimestampReps]++
}

// timeOfDay returns milliseconds since midnight UT (RFC 792, "Timestamp").
func timeOfDay() uint32 {
	now := time.Now().UTC()
	return uint32(now.Sub(now.Truncate(24 * time.Hour)).Milliseconds())
}

// replyOptions returns the IP options of an answer to a request that has some
// (RFC 1122, sections 3.2.2.6 and 3.2.2.8). We have entered ourselves as the host
// that received already, and do it again as the one that sends, as Linux does.
//
// ok is false if an option has room for a part of an entry only: no answer then.
func replyOptions(a *arrival) (options []byte, ok bool) {
	if len(a.h) == ipv4.MinHeaderLen {
		return nil, true
	}
	set, _, c := ipv4.ParseOptions(a.h.Options())
	if c != ipv4.CauseNone {
		return nil, false
	}
	set.StampSent(a.h, a.dst, timeOfDay())
	options, _ = ipv4.AppendReplyOptions(nil, a.h, set)
	return options, true
}

// reply leaves an ICMP message, in the pool's memory, to be sent to the source
// of a datagram, with IP options or nil.
func (s *Stack) reply(a *arrival, b []byte, tos uint8, options []byte) {
	r := &s.rx
	r.count[icmpOutMsgs]++
	r.pending.out = append(r.pending.out, outPacket{src: a.dst, dst: a.src,
		packet: packet{proto: ipv4.ProtocolICMP, tos: tos, ttl: defaultTTL, options: options, payload: b}})
}

// pingDeliver gives an echo reply to the ping socket whose ident it has.
func (s *Stack) pingDeliver(a *arrival, m icmp.Message) {
	in := Info{From: a.src, To: a.dst, Len: len(m), Interface: a.ifc.index,
		TTL: a.h.TTL(), TOS: a.h.TOS(), Clock: a.meta.Clock, Type: a.meta.Type,
		FragSize: uint16(a.frag), Time: a.meta.Time}
	k, ok := s.pings.Lookup(in.To, m.Ident(), in.From, 0, a.home)
	if !ok {
		return
	}
	s.deliver(k, m, &in, icmpInDelivers, icmpRcvbufErrors)
}

// icmpKind is an error that the stack sends.
type icmpKind struct {
	typ, code uint8
	counter   counter
}

var (
	errPortUnreachable     = icmpKind{icmp.DestinationUnreachable, icmp.CodePort, icmpOutDestUnreachs}
	errProtocolUnreachable = icmpKind{icmp.DestinationUnreachable, icmp.CodeProtocol, icmpOutDestUnreachs}
	errReassemblyTime      = icmpKind{icmp.TimeExceeded, icmp.CodeReassembly, icmpOutTimeExcds}
	errParameterProblem    = icmpKind{icmp.ParameterProblem, icmp.CodePointer, icmpOutParmProbs}
)

// sendError answers a datagram with an ICMP error if the rules permit one.
func (s *Stack) sendError(a *arrival, kind icmpKind, rest uint32) {
	s.sendErrorAbout(a, kind, rest, a.h.Datagram())
}

// sendErrorAbout is sendError with the datagram to quote.
func (s *Stack) sendErrorAbout(a *arrival, kind icmpKind, rest uint32, datagram []byte) {
	r := &s.rx
	t := icmp.Trigger{Src: a.src, Dst: a.dst, Protocol: a.h.Protocol(), FragmentOffset: a.h.FragmentOffset(),
		LinkBroadcast: a.meta.Type == link.Broadcast || a.meta.Type == link.Multicast,
		DstBroadcast:  a.kind == toBroadcast}
	if _, quoted, ok := ipv4.ParseQuoted(datagram); ok && t.Protocol == ipv4.ProtocolICMP && len(quoted) > 0 {
		t.ICMPType = quoted[0]
	}
	if r.warming || icmp.MayAnswer(t) != icmp.CauseNone {
		return
	}
	if !a.ifc.loopback && !s.limiter.Allow(s.clock.Now(), t.Src, kind.typ) {
		r.count[icmpOutRateLimited]++
		return
	}
	b := icmp.AppendError(s.pool.get(icmp.HeaderLen + icmp.MaxQuote)[:0], kind.typ, kind.code, rest, datagram)
	r.count[kind.counter]++
	s.reply(a, b, icmp.ErrorTOS(a.h.TOS()), nil)
}

// errorInput gives an ICMP error to the socket that sent what it quotes, if
// that is one of ours.
func (s *Stack) errorInput(a *arrival, m icmp.Message) {
	r := &s.rx
	q, ok := icmp.ParseQuote(m)
	if !ok || !s.net.Load().isLocal(q.Src) {
		r.count[dropICMPUnvalidated]++
		return
	}
	var k *Socket
	switch q.Protocol {
	case ipv4.ProtocolUDP:
		k, ok = s.udp.Lookup(q.Src, q.SrcPort(), q.Dst, q.DstPort(), a.ifc.index)
	case ipv4.ProtocolICMP:
		k, ok = s.pings.Lookup(q.Src, q.Ident(), q.Dst, 0, a.home)
	default:
		ok = false
	}
	ok = ok && q.FragmentOffset == 0 && s.recent.has(k.id, q.Dst)
	raw := r.raws != nil && s.rawErrors(a, m, &q, ok)
	if !ok {
		if !raw {
			r.count[dropICMPUnvalidated]++
		}
		return
	}
	errno, hard, ok := icmp.Errno(m.Type(), m.Code())
	if !ok {
		return
	}
	qe := quotedError(a, m, &q, errno)
	if m.Type() == icmp.DestinationUnreachable && m.Code() == icmp.CodeFragmentation {
		s.fragmentationNeeded(&q, m, k, qe)
		return
	}
	k.icmpError(qe, hard)
}

// quotedError returns what the error queue is told of an ICMP error.
func quotedError(a *arrival, m icmp.Message, q *icmp.Quote, errno unix.Errno) QueuedError {
	e := QueuedError{Errno: errno, Type: m.Type(), Code: m.Code(), Offender: a.src, Dst: q.Dst,
		Meta: Info{From: a.src, To: a.dst, Interface: a.ifc.index, TTL: a.h.TTL(), TOS: a.h.TOS(),
			Time: a.meta.Time, Clock: a.meta.Clock}}
	headers := q.HeaderLen
	if q.Protocol == ipv4.ProtocolUDP {
		e.DstPort = q.DstPort()
		headers += udp.HeaderLen
	}
	e.withQuoted(m, headers)
	return e
}

// withQuoted makes the payload all that an ICMP error has behind the quoted
// headers, its extensions among it.
func (e *QueuedError) withQuoted(m icmp.Message, headers int) {
	e.Payload = m.Data()[headers:]
	e.Extension, _ = icmp.ParseExtension(m, headers)
}

// learnPathMTU takes in that a path has a smaller MTU (RFC 1191). ok is false for
// what cannot be.
func (s *Stack) learnPathMTU(q *icmp.Quote, m icmp.Message) (mtu int, ok bool) {
	h, e := s.route(flow{src: q.Src, dst: q.Dst})
	if e != 0 || q.TotalLen > h.mtu {
		s.rx.count[dropICMPUnvalidated]++
		return 0, false
	}
	mtu = m.MTU()
	if mtu >= q.TotalLen {
		s.rx.count[dropICMPUnvalidated]++ // what it quotes would have fitted
		return 0, false
	}
	s.pmtuMu.Lock()
	changed := s.pmtu.Update(s.clock.Now(), q.Dst, mtu, min(h.mtu, q.TotalLen))
	s.pmtuMu.Unlock()
	if changed {
		s.gen.changedTo(q.Dst)
	}
	return mtu, true
}

// fragmentationNeeded tells a socket that its path has a smaller MTU.
func (s *Stack) fragmentationNeeded(q *icmp.Quote, m icmp.Message, k *Socket, qe QueuedError) {
	mtu, ok := s.learnPathMTU(q, m)
	if ok && k.mtuDiscover.Load() != unix.IP_PMTUDISC_DONT {
		qe.Info = uint32(mtu)
		k.icmpError(qe, true)
	}
}
