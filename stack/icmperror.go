package stack

import (
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

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
		l.socketError(a, m, &q, k)
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
		if u, ok := l.s.udp.Lookup(q.Src, q.SrcPort(), q.Dst, q.DstPort(), a.ifc.dev.Index); ok {
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
