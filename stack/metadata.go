package stack

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
)

// metadata returns the metadata of a datagram: what the socket has, unless control
// messages say otherwise.
func (o *outgoing) metadata(of *option.Sending) output.Metadata {
	t := output.Metadata{Priority: of.Priority(), Mark: of.Mark()}
	if o.opts != nil {
		o.opts.metadata(&t)
	}
	return t
}

// metadata changes metadata as control messages ask for.
func (o *SendOptions) metadata(t *output.Metadata) {
	if o.HasPriority {
		t.Priority = o.Priority
	}
	if o.HasMark {
		t.Mark = o.Mark
	}
}

// Priorities of linux/pkt_sched.h, TC_PRIO_*.
const (
	prioBestEffort      = 0
	prioBulk            = 2
	prioInteractiveBulk = 4
	prioInteractive     = 6
)

// tosMask is IPTOS_TOS_MASK: the bits of RFC 1349.
const tosMask = 0x1e

// tosPriorities are the priorities for the four bits of IPTOS_TOS_MASK but the
// lowest two (ip_tos2prio in Linux).
var tosPriorities = [4]uint32{prioBestEffort, prioBulk, prioInteractive, prioInteractiveBulk}

// TOSPriority returns the priority that Linux gives to datagrams with a
// type-of-service octet (rt_tos2priority).
func TOSPriority(tos uint8) uint32 { return tosPriorities[tos&tosMask>>3] }

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

// metadata returns what a datagram of this stack's own was sent with, if it came over
// loopback.
func (a *arrival) metadata() output.Metadata {
	if !a.ifc.dev.Loopback {
		return output.Metadata{}
	}
	return output.Metadata{Priority: a.meta.Priority, Mark: a.meta.Mark}
}
