package igmp

import (
	"encoding/binary"
	"slices"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/internal/index"
	"github.com/outband/outband/internal/list"
	"github.com/outband/outband/ipv4"
)

// A packer fills version 3 reports with group records, as many as the MTU allows.
// Between its first record and flush nothing else may be queued.
type packer struct {
	h       *Host
	start   int // where the report begins in the outbox
	records int
}

// free returns how many bytes are left in the report.
func (p *packer) free() int {
	if p.records == 0 {
		return p.h.room - reportLen
	}
	return p.h.room - (len(p.h.out.buf) - p.start)
}

// add adds a record. One that is too long is split over several reports, but for
// IS_EX and TO_EX, whose first sources only are reported (RFC 3376 section 4.2.16):
// those left out are not kept from coming.
func (p *packer) add(t RecordType, group uint32, sources []uint32) {
	if t == IsExclude || t == ToExclude {
		sources = sources[:min(len(sources), (p.h.room-reportLen-recordLen)/4)]
		if recordLen+4*len(sources) > p.free() {
			p.flush()
		}
	}
	for first := true; first || len(sources) > 0; first = false {
		if p.free() < recordLen+4*min(len(sources), 1) {
			p.flush()
		}
		n := min(len(sources), (p.free()-recordLen)/4)
		p.put(t, group, sources[:n])
		sources = sources[n:]
	}
}

// put appends a record that fits.
func (p *packer) put(t RecordType, group uint32, sources []uint32) {
	o := &p.h.out
	if p.records == 0 {
		p.start = len(o.buf)
		o.buf = append(o.buf, byte(ReportV3), 0, 0, 0, 0, 0, 0, 0)
	}
	o.buf = append(o.buf, byte(t), 0)
	o.buf = binary.BigEndian.AppendUint16(o.buf, uint16(len(sources)))
	o.buf = binary.BigEndian.AppendUint32(o.buf, group)
	for _, s := range sources {
		o.buf = binary.BigEndian.AppendUint32(o.buf, s)
	}
	p.records++
	p.h.stats.TxRecords[t]++
}

// flush queues the report, if there is one.
func (p *packer) flush() {
	if p.records == 0 {
		return
	}
	b := p.h.out.buf[p.start:]
	binary.BigEndian.PutUint16(b[6:], uint16(p.records))
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
	p.records = 0
	if p.h.queue(AllReports, p.start) {
		p.h.stats.TxReportsV3++
	}
}

// reportChanges sends a state-change report of the groups in the list, and has it
// repeated where that is due (RFC 3376 section 5.1).
func (h *Host) reportChanges(now int64, l *list.List[Group]) {
	p := packer{h: h}
	for n := l.Len(); n > 0; n-- {
		g := l.Oldest()
		g.unlink()
		h.packChange(&p, g)
		h.reported(g)
		switch {
		case g.changed():
			g.push(&h.repeat)
		case g.users == 0:
			h.leaving.Remove(g.addr, h.seed)
		}
	}
	p.flush()
	if h.repeat.Len() > 0 && h.repeatAt == never {
		h.repeatAt = now + h.random(h.cfg.UnsolicitedV3)
	}
}

// packChange adds the records of a group's change: its whole list as long as a
// change of mode is to be reported, otherwise the sources marked, by what they are
// now (RFC 3376 section 5.1).
func (h *Host) packChange(p *packer, g *Group) {
	if g.modeLeft > 0 {
		h.keys = g.appendList(h.keys[:0])
		t := ToInclude
		if g.excludes > 0 {
			t = ToExclude
		}
		p.add(t, g.addr, h.keys)
		return
	}
	h.packMarked(p, g, AllowNewSources, true)
	h.packMarked(p, g, BlockOldSources, false)
}

// packMarked adds a record of the sources marked that are wanted, or are not.
func (h *Host) packMarked(p *packer, g *Group, t RecordType, wanted bool) {
	h.keys = h.keys[:0]
	for _, s := range g.pending {
		if g.wants(s) == wanted {
			h.keys = append(h.keys, s.addr)
		}
	}
	if len(h.keys) > 0 {
		slices.Sort(h.keys)
		p.add(t, g.addr, h.keys)
	}
}

// reported notes that a group's change has been sent once more.
func (h *Host) reported(g *Group) {
	if g.modeLeft > 0 {
		g.modeLeft--
	}
	g.pending = slices.DeleteFunc(g.pending, func(s *source) bool {
		if s.left--; s.left > 0 {
			return false
		}
		h.settle(g, s)
		return true
	})
	if len(g.pending) == 0 {
		g.pending = nil
	}
}

// reportAll responds to a general query: the state of all groups (RFC 3376 section
// 5.2, first rule of the timers).
func (h *Host) reportAll() {
	p := packer{h: h}
	for _, g := range h.sorted(&h.groups) {
		if !g.silent {
			h.packState(&p, g)
		}
	}
	p.flush()
}

// packState adds the record of a group's state.
func (h *Host) packState(p *packer, g *Group) {
	h.keys = g.appendList(h.keys[:0])
	t := IsInclude
	if g.excludes > 0 {
		t = IsExclude
	}
	p.add(t, g.addr, h.keys)
}

// respond does what the groups' timers have come for.
func (h *Host) respond(now int64) {
	p := packer{h: h}
	for h.timers.Next() <= now {
		g := h.timers.Pop()
		if h.version == 3 {
			h.packAsked(&p, g)
			h.groupSent = now
			continue
		}
		h.sendReport(g)
		g.reporter = true
		if g.unsolicited > 0 {
			if g.unsolicited--; g.unsolicited > 0 {
				h.timers.Set(&g.timer, now+h.random(h.cfg.UnsolicitedV2), g)
			}
		}
	}
	p.flush()
}

// packAsked adds the response to the queries of one group: its state, or which of
// the sources asked for are wanted; nothing if none is (RFC 3376 section 5.2, second
// and third rule of the timers).
func (h *Host) packAsked(p *packer, g *Group) {
	if len(g.asked) == 0 {
		h.packState(p, g)
		return
	}
	h.keys = h.keys[:0]
	for _, k := range g.asked {
		s := g.sources.Get(k, h.seed)
		if s != nil && g.wants(s) || s == nil && g.excludes > 0 {
			h.keys = append(h.keys, k)
		}
	}
	h.forgetAsked(g)
	if len(h.keys) > 0 {
		p.add(IsInclude, g.addr, h.keys)
	}
}

// reportLeaves sends what leaves every group.
func (h *Host) reportLeaves() {
	if h.version == 3 {
		p := packer{h: h}
		for _, x := range []*index.Index[Group]{&h.groups, &h.leaving} {
			for _, g := range h.sorted(x) {
				h.packLeave(&p, g)
			}
		}
		p.flush()
		return
	}
	for _, g := range h.sorted(&h.groups) {
		if h.version == 2 && g.reporter {
			h.sendLeave(g)
		}
		g.reporter = false
	}
}

// packLeave adds the record that leaves a group: TO_IN of nothing if a router may
// have it in mode EXCLUDE, otherwise BLOCK of all sources.
func (h *Host) packLeave(p *packer, g *Group) {
	if g.silent {
		return
	}
	if g.excludes > 0 || g.modeLeft > 0 {
		p.add(ToInclude, g.addr, nil)
		return
	}
	h.keys = h.keys[:0]
	for s := range g.sources.All() {
		h.keys = append(h.keys, s.addr)
	}
	slices.Sort(h.keys)
	p.add(BlockOldSources, g.addr, h.keys)
}

// sendReport sends a report of version 1 or 2, to the group itself.
func (h *Host) sendReport(g *Group) {
	t, n := ReportV2, &h.stats.TxReportsV2
	if h.version == 1 {
		t, n = ReportV1, &h.stats.TxReportsV1
	}
	if h.sendShort(t, g, ipv4.AddrFrom(g.addr)) {
		*n++
	}
}

// sendLeave sends a version 2 leave.
func (h *Host) sendLeave(g *Group) {
	if h.sendShort(Leave, g, AllRouters) {
		h.stats.TxLeaves++
	}
}

// sendShort queues a message of version 1 or 2.
func (h *Host) sendShort(t Type, g *Group, dst ipv4.Addr) bool {
	start := len(h.out.buf)
	h.out.buf = append(h.out.buf, byte(t), 0, 0, 0)
	h.out.buf = binary.BigEndian.AppendUint32(h.out.buf, g.addr)
	b := h.out.buf[start:]
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
	return h.queue(dst, start)
}
