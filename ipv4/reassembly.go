package ipv4

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/outband/outband/internal/list"
)

// ReassemblyConfig is the limits of a [Reassembler]. Fields that are 0 mean the
// defaults.
type ReassemblyConfig struct {
	// Timeout is how long a datagram may wait for its fragments, from the
	// first that came (whichever it was): 30 s, Linux' ipfrag_time. RFC 1122,
	// section 3.3.2 has 60 to 120 s, which memory is too dear for.
	Timeout time.Duration
	// HighThresh is the memory in bytes that incomplete datagrams may use,
	// all overhead counted: 4 MiB, Linux' ipfrag_high_thresh. If it is used
	// up, the oldest goes.
	HighThresh int
	// MaxDist is how many fragments of other datagrams from the same source
	// may come between two of one datagram: 64, Linux' ipfrag_max_dist. If
	// there were more, the identification has gone around in between, and
	// what came before belongs to another datagram: it is forgotten (RFC
	// 4963 tells what happens otherwise). Negative: any number.
	MaxDist int
}

// Linux' defaults for ReassemblyConfig (ip-sysctl.rst).
const (
	defaultReassemblyTimeout = 30 * time.Second
	defaultHighThresh        = 4 << 20
	defaultMaxDist           = 64
)

// ReassemblyStats counts what a [Reassembler] did, by the names of nstat(8)
// where it has one.
type ReassemblyStats struct {
	ReasmReqds    uint64 // fragments that came in
	ReasmOKs      uint64 // datagrams made whole
	ReasmFails    uint64 // datagrams given up for any reason, or begun anew
	ReasmTimeout  uint64 // datagrams given up because their time was over
	ReasmOverlaps uint64 // datagrams given up because fragments overlapped
	Duplicates    uint64 // fragments of which all was there already
	Evicted       uint64 // datagrams given up to make room for others
	Restarted     uint64 // datagrams begun anew because of MaxDist
	Datagrams     int    // incomplete ones
	Memory        int    // bytes in use now, at most HighThresh
}

// Expired is a datagram whose time is over. If First is not nil, the source is
// to be told by an ICMP time exceeded message, code 1 (RFC 792; RFC 1122,
// section 3.3.2).
type Expired struct {
	// First is the header and the first bytes of the payload of the fragment
	// at offset 0, as it came; at most 576 bytes. nil if it never came. It
	// is valid until the Reassembler is used again.
	First []byte
	// Iface is the interface over which the latest fragment came that was kept.
	Iface int
}

// maxQuote is how much of a first fragment is kept for an ICMP error: no more
// than a whole one may be (RFC 1812, section 4.3.2.3).
const maxQuote = 576

// A Reassembler makes datagrams out of fragments (RFC 791, section 3.2; RFC
// 815). Fragments belong together that have source, destination, protocol and
// identification in common, whatever interface they came over, as in Linux. Its
// rules are Linux' too:
//
//   - A fragment that lies within what came in one piece, or fragment by
//     fragment in order, is a duplicate, and ignored.
//   - Any other overlap drops the datagram (RFC 5722; RFC 1858 tells why), and
//     so do two ends, data past the end, a fragment without data, and more than
//     65535 bytes.
//   - A fragment that is not the last is cut to a multiple of 8 bytes.
//   - The datagram's header is the first fragment's, its options too. Its ECN
//     bits are CE if one fragment's are and the others are ECN-capable; mixed
//     otherwise the datagram is dropped (RFC 3168, section 5.3). DF is set if
//     the largest fragment has it.
//
// A datagram that was dropped is forgotten, as RFC 8200, section 4.5, has it: fragments
// that come later, the rest of it or all of it sent again, begin anew.
//
// Memory is bounded by HighThresh, and reused; what is kept for that goes when
// a time-out leaves nothing behind. It is not safe for concurrent
// use.
type Reassembler struct {
	timeout    int64
	highThresh int
	maxDist    int

	partials map[fragmentKey]*partial
	peers    map[Addr]*fragmentPeer
	live     list.List[partial] // from the oldest, which is the first to expire, to the newest
	expired  list.List[partial] // waits for Next
	memory   int                // bytes, by what partials cost

	// For use again.
	blocks     *block
	spare      list.List[partial]
	sparePeers *fragmentPeer

	out         []byte
	maxFragSize int
	stats       ReassemblyStats
}

// NewReassembler returns one without fragments.
func NewReassembler(cfg ReassemblyConfig) *Reassembler {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultReassemblyTimeout
	}
	if cfg.HighThresh == 0 {
		cfg.HighThresh = defaultHighThresh
	}
	if cfg.MaxDist == 0 {
		cfg.MaxDist = defaultMaxDist
	}
	return &Reassembler{
		timeout:    int64(cfg.Timeout),
		highThresh: max(cfg.HighThresh, partialCost),
		maxDist:    cfg.MaxDist,
		partials:   make(map[fragmentKey]*partial),
		peers:      make(map[Addr]*fragmentPeer),
	}
}

// Input takes a fragment, which is copied. If it was the last one missing, done
// is true and datagram is the whole, header (checksum right) and payload, valid
// until the Reassembler is used again. Otherwise the cause says why the
// fragment was not kept, CauseNone that it was. iface is the interface over
// which it came.
func (r *Reassembler) Input(now int64, h Header, payload []byte, iface int) (datagram []byte, done bool, c Cause) {
	r.Advance(now)
	r.stats.ReasmReqds++
	p, f := r.find(now, h), newFragment(h, payload)
	switch c := p.admit(&f); c {
	case CauseNone:
		p.iface = iface
	case CauseFragmentDuplicate:
		r.stats.Duplicates++
		return nil, false, c
	default:
		r.drop(p, c)
		return nil, false, c
	}
	if p.complete() {
		return r.assemble(p, &f)
	}
	if !r.store(p, &f) {
		r.drop(p, CauseFragmentNoMemory)
		return nil, false, CauseFragmentNoMemory
	}
	return nil, false, CauseNone
}

// MaxFragSize returns the length in bytes, header included, of the largest
// fragment of the datagram that Input returned last: what IP_RECVFRAGSIZE
// reports.
func (r *Reassembler) MaxFragSize() int { return r.maxFragSize }

// Advance gives up the datagrams whose time is over. Those come out of Next.
func (r *Reassembler) Advance(now int64) {
	for p := r.live.Oldest(); p != nil && p.deadline <= now; p = r.live.Oldest() {
		r.stats.ReasmFails++
		r.stats.ReasmTimeout++
		r.forget(p)
		r.expired.Append(&p.listed, p)
	}
}

// Deadline returns when Advance has something to do next, math.MaxInt64 if
// never.
func (r *Reassembler) Deadline() int64 {
	if r.live.Oldest() == nil {
		return math.MaxInt64
	}
	return r.live.Oldest().deadline
}

// Next returns a datagram that Advance or Input has found expired, the oldest
// first, until there are no more.
func (r *Reassembler) Next() (e Expired, ok bool) {
	p := r.expired.Oldest()
	if p == nil {
		return Expired{}, false
	}
	e.Iface = p.iface
	if p.haveFirst {
		n := copy(r.output(maxQuote), p.header[:p.headerLen])
		m := min(p.firstLen, maxQuote-n)
		p.firstAt.read(r.out[n : n+m])
		e.First = r.out[: n+m : n+m]
	}
	r.expired.Remove(&p.listed)
	r.recycle(p)
	r.trim()
	return e, true
}

// Stats returns the counters.
func (r *Reassembler) Stats() ReassemblyStats {
	s := r.stats
	s.Memory, s.Datagrams = r.memory, len(r.partials)
	return s
}

// A fragment is one that is being put in: its payload is [start, end) of the
// datagram's.
type fragment struct {
	header     Header
	payload    []byte
	start, end int
	last       bool
}

// newFragment returns a fragment, cut to a multiple of 8 bytes if it is not the last.
func newFragment(h Header, payload []byte) fragment {
	f := fragment{header: h, start: h.FragmentOffset(), last: !h.MoreFragments()}
	f.end = f.start + len(payload)
	if !f.last {
		f.end &^= 7
	}
	f.payload = payload[:f.end-f.start]
	return f
}

// admit finds the fragment's place, and notes all about it but its bytes. The
// order of what is looked at is that of Linux' ip_frag_queue.
func (p *partial) admit(f *fragment) Cause {
	if f.last && (f.end < p.end || p.haveLast && f.end != p.end) || p.haveLast && f.end > p.end {
		return CauseFragmentInconsistent
	}
	p.end = max(p.end, f.end)
	p.haveLast = p.haveLast || f.last
	if f.start == f.end {
		return CauseFragmentEmpty
	}
	if c := p.place(f.start, f.end); c != CauseNone {
		return c
	}
	p.have += f.end - f.start
	p.ecn |= 1 << f.header.ECN()
	size := len(f.header) + len(f.payload)
	p.maxSize = max(p.maxSize, size)
	if f.header.DontFragment() {
		p.maxDFSize = max(p.maxDFSize, size)
	}
	if f.start == 0 {
		p.haveFirst = true
		p.headerLen = copy(p.header[:], f.header)
	}
	return CauseNone
}

// complete reports whether nothing is missing. As nothing overlaps, that is a
// matter of counting.
func (p *partial) complete() bool { return p.haveFirst && p.haveLast && p.have == p.end }

// place enters [start, end) into the runs, as Linux' inet_frag_queue_insert
// does: a run grows at the far end of the datagram only.
func (p *partial) place(start, end int) Cause {
	i := len(p.runs)
	if i == 0 || int(p.runs[i-1].end) < end {
		switch {
		case i > 0 && start < int(p.runs[i-1].end):
			return CauseFragmentOverlap
		case i > 0 && start == int(p.runs[i-1].end):
			p.runs[i-1].end = uint32(end)
			return CauseNone
		}
	} else {
		i = p.search(start)
		at := p.runs[i]
		switch {
		case end <= int(at.start):
		case start >= int(at.start) && end <= int(at.end):
			return CauseFragmentDuplicate
		default:
			return CauseFragmentOverlap
		}
	}
	p.insertRun(i, run{uint32(start), uint32(end)})
	return CauseNone
}

// ecnResult says, for each set of ECN values seen (bit 1<<value), whether
// congestion was experienced, or whether no path could have made the set
// (Linux' ip_frag_ecn_table; RFC 3168, section 5.3).
func ecnResult(seen uint8) (ce uint8, ok bool) {
	const notECT, ect1, ect0, ce3 = 1 << 0, 1 << 1, 1 << 2, 1 << 3
	switch {
	case seen&notECT != 0:
		return 0, seen == notECT
	case seen&ce3 != 0:
		return 3, true
	}
	return 0, seen&(ect0|ect1) != 0
}

// assemble returns the whole datagram, whose last missing fragment is f, and
// lets go of p.
func (r *Reassembler) assemble(p *partial, f *fragment) ([]byte, bool, Cause) {
	ce, ok := ecnResult(p.ecn)
	n := p.headerLen
	switch {
	case !ok:
		r.drop(p, CauseFragmentECN)
		return nil, false, CauseFragmentECN
	case n+p.end > MaxLen:
		r.drop(p, CauseFragmentTooLong)
		return nil, false, CauseFragmentTooLong
	}
	d := r.output(n + p.end)
	p.copyTo(d[n:])
	copy(d[n+f.start:], f.payload)
	copy(d, p.header[:n])
	d[1] |= ce
	var field uint16
	if p.maxDFSize == p.maxSize {
		field = flagDF
	}
	binary.BigEndian.PutUint16(d[2:4], uint16(len(d)))
	binary.BigEndian.PutUint16(d[6:8], field)
	binary.BigEndian.PutUint16(d[10:12], Checksum(d[:n]))
	r.maxFragSize = p.maxSize
	r.stats.ReasmOKs++
	r.free(p)
	return d, true, CauseNone
}

// output returns the output buffer with a length of n bytes.
func (r *Reassembler) output(n int) []byte {
	if cap(r.out) < n {
		size := 2048
		for size < n {
			size *= 2
		}
		r.out = make([]byte, size)
	}
	r.out = r.out[:n]
	return r.out[:n:n]
}

// drop gives a datagram up.
func (r *Reassembler) drop(p *partial, c Cause) {
	r.stats.ReasmFails++
	if c == CauseFragmentOverlap {
		r.stats.ReasmOverlaps++
	}
	r.free(p)
}
