package arp

import (
	"github.com/outband/outband/ether"
	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/ipv4"
)

// Input takes a received ARP packet: what follows the Ethernet header, which came
// from ethSrc. Replies, datagrams that waited and events come out of Next. It
// keeps nothing of packet. The cause says what became of it; CauseNone if it was
// answered or told something that was believed.
//
// Linux trusts a reply more if its frame was sent to this host alone. Input is not
// told, and takes a reply for such if its target hardware address is ours;
// [Table.InputTo] knows.
func (t *Table) Input(now int64, packet []byte, ethSrc ether.MAC) Cause {
	m, c := Parse(packet)
	if c != CauseNone {
		return t.count(c)
	}
	return t.count(t.input(t.clock(now), m, ethSrc, m.TargetMAC() == t.mac))
}

// InputTo is Input where the frame's destination, ethDst, is known too.
func (t *Table) InputTo(now int64, packet []byte, ethSrc, ethDst ether.MAC) Cause {
	if ethDst != t.mac && !ethDst.IsGroup() {
		return t.count(CauseOtherHost)
	}
	m, c := Parse(packet)
	if c != CauseNone {
		return t.count(c)
	}
	return t.count(t.input(t.clock(now), m, ethSrc, ethDst == t.mac))
}

// input does the work of Input; direct says that the frame was sent to this host
// alone.
func (t *Table) input(now int64, m Message, ethSrc ether.MAC, direct bool) Cause {
	mac, sender, target := m.SenderMAC(), m.SenderIP(), m.TargetIP()
	if c := t.check(m, mac, ethSrc); c != CauseNone {
		return c
	}
	switch {
	case m.IsProbe():
		t.stats.RxProbes++
		return t.probed(m, mac)
	case m.Op() == OpRequest:
		t.stats.RxRequests++
	default:
		t.stats.RxReplies++
	}
	if a := t.own[sender.Uint32()]; a != nil {
		if mac == t.mac {
			return CauseReflected
		}
		t.conflict(now, a, mac)
		return CauseConflict
	}
	elsewhere := t.isElsewhere(sender)
	if elsewhere && t.Lookup(sender) == nil {
		return CauseOwnAddress
	}
	// With an entry the host itself has asked this link for that address, by a socket
	// that is bound to the device, and takes what it is told, as Linux does.
	if m.Op() == OpRequest && t.answersFor(target) && !elsewhere {
		if t.ignores(target) {
			return CauseIgnored
		}
		// Linux makes an entry of the asker here, since it will want to talk. An
		// attacker could then fill the table; the entry waits until it is needed.
		if e := t.Lookup(sender); e != nil {
			t.count(t.learn(now, e, mac, false, true))
		}
		t.transmit(&t.stats.TxReplies, mac, OpReply, target, mac, sender)
		return CauseNone
	}
	e := t.Lookup(sender)
	if e == nil {
		if m.Op() == OpRequest {
			return CauseNotForUs
		}
		return CauseUnsolicited
	}
	override := now > clock.After(e.updated, int64(t.cfg.LockTime)) || m.IsGratuitous()
	return t.learn(now, e, mac, direct && m.Op() == OpReply, override)
}

// check looks at what the addresses say.
func (t *Table) check(m Message, mac, ethSrc ether.MAC) Cause {
	if mac != ethSrc {
		t.stats.SourceMismatch++
		if t.cfg.StrictSource {
			return CauseSourceMismatch
		}
	}
	if sender := m.SenderIP(); !sender.IsHost() && !m.IsProbe() {
		return CauseSenderIP
	}
	if target := m.TargetIP(); target.IsLoopback() || target.IsMulticast() {
		return CauseTargetIP
	}
	return CauseNone
}

// probed handles an ARP probe (RFC 5227 section 1.1): somebody wants to know if the
// target address is free. It says nothing about anybody's address.
func (t *Table) probed(m Message, mac ether.MAC) Cause {
	target := m.TargetIP()
	if a := t.own[target.Uint32()]; a != nil && a.phase == probing {
		if mac == t.mac {
			return CauseReflected
		}
		// Two hosts want the same address at once: neither takes it.
		t.collide(a, mac)
		return CauseConflict
	}
	if !t.answersFor(target) {
		return CauseNotForUs
	}
	if t.ignores(target) {
		return CauseIgnored
	}
	t.transmit(&t.stats.TxReplies, mac, OpReply, target, mac, ipv4.Addr{})
	return CauseNone
}
