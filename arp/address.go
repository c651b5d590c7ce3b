package arp

// This host's own addresses on the link, after RFC 5227 ("IPv4 Address Conflict
// Detection").

import (
	"slices"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/internal/heap"
	"github.com/outband/outband/ipv4"
)

// A phase is how far an own address is.
type phase uint8

const (
	probing   phase = iota // being probed for: not answered for, not sent from
	usable                 // ours
	duplicate              // another host has it: not answered for
)

// An address is one own address.
type address struct {
	ip       ipv4.Addr
	timer    heap.Place // in Table.ownTimers
	phase    phase
	left     int   // probes or announcements still to send
	quiet    int64 // no defence before this time
	defended bool  // quiet holds
}

// AddAddress says that ip is an address of this host. From now on requests for it
// are answered, and it is announced at once and again after AnnounceInterval (RFC
// 5227 section 2.3). With Config.Probe that begins when probes have shown that
// nobody else has it; an AddressReady or a Conflict event says how that ended.
// For an address that is there already, all that begins again.
//
// A neighbour of that address is forgotten. The cause is [CauseBadAddress] if ip
// cannot be the address of one host, [CauseTableFull] if there are MaxAddresses.
func (t *Table) AddAddress(now int64, ip ipv4.Addr) Cause {
	now = t.clock(now)
	if !ip.IsHost() {
		return t.count(CauseBadAddress)
	}
	a := t.own[ip.Uint32()]
	if a == nil {
		if len(t.own) >= t.cfg.MaxAddresses {
			return t.count(CauseTableFull)
		}
		a = &address{ip: ip}
		t.own[ip.Uint32()] = a
		t.ownOrder = append(t.ownOrder, a)
		t.Delete(ip)
	}
	if t.cfg.Probe && t.answering != AnswerNone {
		t.startProbing(now, a)
	} else {
		a.phase = usable
		t.startAnnouncing(now, a)
	}
	return CauseNone
}

// RemoveAddress says that ip is no address of this host any more: requests for it
// are not answered from now on.
func (t *Table) RemoveAddress(ip ipv4.Addr) {
	a := t.own[ip.Uint32()]
	if a == nil {
		return
	}
	t.disarmAddress(a)
	delete(t.own, ip.Uint32())
	t.ownOrder = slices.DeleteFunc(t.ownOrder, func(o *address) bool { return o == a })
}

// Usable reports whether ip is an address of this host that may be used: added,
// and not still being probed for, nor found in use by another host then.
func (t *Table) Usable(ip ipv4.Addr) bool {
	a := t.own[ip.Uint32()]
	return a != nil && a.phase == usable
}

// announceAll announces the usable own addresses again, and starts the probing of
// others again.
func (t *Table) announceAll(now int64) {
	for _, a := range t.ownOrder {
		switch a.phase {
		case usable:
			t.startAnnouncing(now, a)
		case probing:
			t.startProbing(now, a)
		}
	}
}

// Answers says which of the host's addresses requests on the link are answered for, as
// Linux' conf/*/arp_ignore does.
type Answers uint8

const (
	AnswerAll  Answers = iota // all of the host's, on whatever interface (arp_ignore=0)
	AnswerOwn                 // the table's own only (arp_ignore=1)
	AnswerNone                // none (arp_ignore=8); own addresses are not probed for, announced or defended either
)

// SetAnswers changes which addresses requests are answered for: AnswerAll at first. Call
// it before AddAddress. A request that is not answered changes no entry, as on Linux.
func (t *Table) SetAnswers(a Answers) { t.answering = a }

// ignores reports whether requests for an address of the host are not answered.
func (t *Table) ignores(ip ipv4.Addr) bool {
	return t.answering == AnswerNone || t.answering == AnswerOwn && !t.Usable(ip)
}

// startProbing begins to ask if another host has the address (RFC 5227 section 2.1.1).
func (t *Table) startProbing(now int64, a *address) {
	a.phase, a.left = probing, t.cfg.ProbeNum
	start := now + t.random(int64(t.cfg.ProbeWait)+1)
	if t.conflicts > t.cfg.MaxConflicts {
		start = max(start, t.probeNext)
		t.probeNext = clock.After(start, int64(t.cfg.RateLimitInterval))
	}
	t.armAddress(a, start)
}

// startAnnouncing tells the link that the address is ours (RFC 5227 section 2.3).
func (t *Table) startAnnouncing(now int64, a *address) {
	t.disarmAddress(a)
	if a.left = t.cfg.AnnounceNum; a.left > 0 && t.answering != AnswerNone {
		t.announceNext(now, a)
	}
}

// announceNext sends one of the announcements, and plans the next.
func (t *Table) announceNext(now int64, a *address) {
	t.announce(a)
	if a.left--; a.left > 0 {
		t.armAddress(a, clock.After(now, int64(t.cfg.AnnounceInterval)))
	}
}

// announce sends an ARP announcement: a request that asks for what it tells.
func (t *Table) announce(a *address) {
	t.transmit(&t.stats.TxAnnounces, ether.Broadcast, OpRequest, a.ip, ether.MAC{}, a.ip)
}

// fireAddress does what is to be done when the own address's timer has ended.
func (t *Table) fireAddress(now int64, a *address) {
	switch {
	case a.phase == usable:
		t.announceNext(now, a)
	case a.left > 0:
		t.transmit(&t.stats.TxProbes, ether.Broadcast, OpRequest, ipv4.Addr{}, ether.MAC{}, a.ip)
		next := int64(t.cfg.AnnounceWait)
		if a.left--; a.left > 0 {
			next = int64(t.cfg.ProbeMin) + t.random(int64(t.cfg.ProbeMax-t.cfg.ProbeMin)+1)
		}
		t.armAddress(a, now+next)
	default:
		a.phase = usable
		t.conflicts = 0
		t.report(AddressReady, a.ip, t.mac)
		t.startAnnouncing(now, a)
	}
}

// conflict handles a packet whose sender claims our address a. An address in use
// is defended, but at most once per DefendInterval, so that two hosts that both
// defend it do not flood the link, and never given up by itself: a server's
// choice (RFC 5227 section 2.4 (c)).
func (t *Table) conflict(now int64, a *address, mac ether.MAC) {
	switch a.phase {
	case probing:
		t.collide(a, mac)
	case usable:
		if a.defended && now < a.quiet {
			return
		}
		a.defended, a.quiet = true, clock.After(now, int64(t.cfg.DefendInterval))
		t.report(Conflict, a.ip, mac)
		if t.answering != AnswerNone {
			t.announce(a)
		}
	}
}

// collide ends the probing for an address that another host has, or wants too
// (RFC 5227 section 2.1.1).
func (t *Table) collide(a *address, mac ether.MAC) {
	t.disarmAddress(a)
	a.phase = duplicate
	t.conflicts++
	t.report(Conflict, a.ip, mac)
}

// A Host is what a table asks of the host that it is part of, which has other
// interfaces too.
type Host interface {
	// Local reports whether ip is an address of the host in use on any of its
	// interfaces. It is not asked for loopback's.
	Local(ip ipv4.Addr) bool
	// Source returns the address that the host would send to target from by the
	// table's link, if nothing else says; zero if there is none.
	Source(target ipv4.Addr) ipv4.Addr
}

// SetHost tells the table its host. Without one the table's own addresses are all
// that the host has. The host is asked in later calls of the table's methods.
func (t *Table) SetHost(h Host) { t.host = h }

// isElsewhere reports whether ip is an address of another interface of this host.
func (t *Table) isElsewhere(ip ipv4.Addr) bool {
	return t.host != nil && t.own[ip.Uint32()] == nil && t.host.Local(ip)
}

// answersFor reports whether requests for ip are the host's to answer, if SetAnswers
// leaves them to it: those of all its interfaces. Addresses belong to a host, not to an
// interface (RFC 1122 section 3.3.4.2, "weak" model).
func (t *Table) answersFor(ip ipv4.Addr) bool { return t.Usable(ip) || t.isElsewhere(ip) }

// sourceFor returns the address that a request for target is sent from: src if it is
// one of the host's, otherwise what the host would take (Linux, arp_announce=0),
// otherwise the first of the usable own addresses, otherwise 0.0.0.0.
func (t *Table) sourceFor(src, target ipv4.Addr) ipv4.Addr {
	if !src.IsUnspecified() && t.answersFor(src) {
		return src
	}
	if t.host != nil {
		if ip := t.host.Source(target); !ip.IsUnspecified() {
			return ip
		}
	}
	for _, a := range t.ownOrder {
		if a.phase == usable {
			return a.ip
		}
	}
	return ipv4.Addr{}
}
