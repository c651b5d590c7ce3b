package stack

import (
	"sync"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
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
