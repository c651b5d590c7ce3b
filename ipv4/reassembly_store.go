package ipv4

import (
	"encoding/binary"
	"slices"

	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/internal/list"
)

// A fragmentKey is what fragments of one datagram have in common (RFC 791,
// section 3.2).
type fragmentKey struct {
	src, dst Addr
	id       uint16
	protocol uint8
}

// A partial is a datagram of which something is missing. Its fragments' bytes stand in a chain of blocks in
// the order in which they came; where they belong is sorted out at the end, so
// that no order of arrival costs more than another.
type partial struct {
	key      fragmentKey
	listed   list.Node[partial] // in one list at most
	peer     *fragmentPeer
	seen     uint32 // the peer's count when the latest fragment came
	deadline int64
	iface    int
	cost     int // bytes counted in Reassembler.memory

	end     int   // of the payload, as far as anything was said about it
	have    int   // bytes of it that are here
	runs    []run // which they are, sorted, none overlapping
	fewRuns [16]run
	// runsCharged is the capacity of runs that cost counts.
	runsCharged int
	maxSize     int // length of the largest fragment, header included
	maxDFSize   int // of the largest with DF
	ecn         uint8
	haveFirst   bool
	haveLast    bool

	header    [MaxHeaderLen]byte // the first fragment's
	headerLen int
	firstAt   cursor // where its payload is
	firstLen  int

	chain  *block
	tail   *block
	filled int // bytes in the tail
}

// partialCost is what a partial is counted for, in bytes: itself, its place in
// the map, and its peer.
const partialCost = 512

// A run is a stretch of the payload, [start, end), that came in order.
type run struct{ start, end uint32 }

const runCost = 8

// A block holds pieces of fragments, each behind 4 bytes that say where in the
// payload it belongs and how long it is. A piece may go over several blocks.
type block struct {
	next *block
	data [blockRoom]byte
}

const (
	blockCost      = 512 // a block's size in bytes, one of the allocator's
	blockRoom      = blockCost - 8
	pieceHeaderLen = 4
)

// A fragmentPeer counts the fragments of a source that has datagrams here.
type fragmentPeer struct {
	count uint32 // fragments that came
	refs  int    // partials
	spare *fragmentPeer
}

// find returns the partial for a fragment's datagram, a new one if need be.
func (r *Reassembler) find(now int64, h Header) *partial {
	key := fragmentKey{h.Src(), h.Dst(), h.ID(), h.Protocol()}
	p := r.partials[key]
	if p == nil {
		return r.start(now, key)
	}
	p.peer.count++
	distance := p.peer.count - p.seen
	p.seen = p.peer.count
	if r.maxDist >= 0 && distance > uint32(r.maxDist) {
		r.stats.ReasmFails++
		r.stats.Restarted++
		size, sizeDF := p.maxSize, p.maxDFSize
		r.empty(p)
		p.maxSize, p.maxDFSize = size, sizeDF // Linux' ip_frag_reinit leaves them
		p.deadline = clock.After(now, r.timeout)
		r.live.Renew(&p.listed)
	}
	return p
}

// start enters a new partial.
func (r *Reassembler) start(now int64, key fragmentKey) *partial {
	p := r.spare.Oldest()
	if p != nil {
		r.spare.Remove(&p.listed)
	} else {
		p = new(partial)
	}
	r.makeRoom(partialCost, nil)
	r.memory += partialCost
	p.key, p.deadline = key, clock.After(now, r.timeout)
	p.cost, p.runs, p.runsCharged = partialCost, p.fewRuns[:0], len(p.fewRuns)
	p.peer = r.peerOf(key.src)
	p.peer.refs++
	p.peer.count++
	p.seen = p.peer.count
	r.partials[key] = p
	r.live.Append(&p.listed, p)
	return p
}

// peerOf returns the peer of an address, a new one if need be.
func (r *Reassembler) peerOf(src Addr) *fragmentPeer {
	peer := r.peers[src]
	if peer != nil {
		return peer
	}
	if peer = r.sparePeers; peer != nil {
		r.sparePeers, peer.spare = peer.spare, nil
	} else {
		peer = new(fragmentPeer)
	}
	r.peers[src] = peer
	return peer
}

// charge counts n bytes more for p, and makes room for them. It returns false
// if there is none.
func (r *Reassembler) charge(p *partial, n int) bool {
	if !r.makeRoom(n, p) {
		return false
	}
	p.cost += n
	r.memory += n
	return true
}

// makeRoom evicts the oldest partials until n bytes more are within the
// threshold. It spares one, and returns false if that is not enough.
func (r *Reassembler) makeRoom(n int, spared *partial) bool {
	for r.memory+n > r.highThresh {
		if p := r.expired.Oldest(); p != nil {
			r.expired.Remove(&p.listed)
			r.recycle(p)
			continue
		}
		p := r.live.Oldest()
		if p != nil && p == spared {
			p = p.listed.Newer()
		}
		if p == nil {
			return false
		}
		r.stats.ReasmFails++
		r.stats.Evicted++
		r.free(p)
	}
	return true
}

// store copies the fragment's bytes. It returns false if there is no memory.
func (r *Reassembler) store(p *partial, f *fragment) bool {
	need := pieceHeaderLen + len(f.payload)
	if p.tail != nil {
		need -= len(p.tail.data) - p.filled
	}
	cost := (max(need, 0) + blockRoom - 1) / blockRoom * blockCost
	if extra := cap(p.runs) - p.runsCharged; extra > 0 {
		p.runsCharged += extra
		cost += extra * runCost
	}
	if !r.charge(p, cost) {
		return false
	}
	var piece [pieceHeaderLen]byte
	binary.BigEndian.PutUint16(piece[0:2], uint16(f.start))
	binary.BigEndian.PutUint16(piece[2:4], uint16(len(f.payload)))
	r.write(p, piece[:])
	if f.start == 0 {
		p.firstAt, p.firstLen = cursor{p.tail, p.filled}, len(f.payload)
	}
	r.write(p, f.payload)
	return true
}

// write appends b to the chain.
func (r *Reassembler) write(p *partial, b []byte) {
	for len(b) > 0 {
		if p.tail == nil || p.filled == blockRoom {
			r.extend(p)
		}
		n := copy(p.tail.data[p.filled:], b)
		p.filled += n
		b = b[n:]
	}
}

// extend adds a block to the chain.
func (r *Reassembler) extend(p *partial) {
	b := r.blocks
	if b != nil {
		r.blocks, b.next = b.next, nil
	} else {
		b = new(block)
	}
	if p.tail == nil {
		p.chain = b
	} else {
		p.tail.next = b
	}
	p.tail, p.filled = b, 0
}

// copyTo copies all pieces to where they belong in the payload d.
func (p *partial) copyTo(d []byte) {
	c := cursor{p.chain, 0}
	for c != (cursor{p.tail, p.filled}) {
		var piece [pieceHeaderLen]byte
		c.read(piece[:])
		start := int(binary.BigEndian.Uint16(piece[0:2]))
		n := int(binary.BigEndian.Uint16(piece[2:4]))
		c.read(d[start : start+n])
	}
}

// A cursor is a place in a chain of blocks.
type cursor struct {
	b  *block
	at int
}

// read fills b from the chain.
func (c *cursor) read(b []byte) {
	for len(b) > 0 {
		if c.at == blockRoom {
			*c = cursor{c.b.next, 0}
		}
		n := copy(b, c.b.data[c.at:])
		c.at += n
		b = b[n:]
	}
}

// search returns the first run that ends behind start.
func (p *partial) search(start int) int {
	lo, hi := 0, len(p.runs)
	for lo < hi {
		mid := (lo + hi) / 2
		if int(p.runs[mid].end) > start {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

func (p *partial) insertRun(i int, v run) { p.runs = slices.Insert(p.runs, i, v) }

// empty forgets all fragments of p, and gives their memory back.
func (r *Reassembler) empty(p *partial) {
	if p.tail != nil {
		p.tail.next = r.blocks
		r.blocks = p.chain
	}
	r.memory -= p.cost - partialCost
	*p = partial{
		key: p.key, listed: p.listed, peer: p.peer,
		seen: p.seen, deadline: p.deadline, iface: p.iface, cost: partialCost,
	}
	p.runs, p.runsCharged = p.fewRuns[:0], len(p.fewRuns)
}

// free lets go of a live partial.
func (r *Reassembler) free(p *partial) {
	r.forget(p)
	r.recycle(p)
}

// forget takes a live partial out of all tables.
func (r *Reassembler) forget(p *partial) {
	delete(r.partials, p.key)
	r.live.Remove(&p.listed)
	if p.peer.refs--; p.peer.refs == 0 {
		delete(r.peers, p.key.src)
		p.peer.spare, r.sparePeers = r.sparePeers, p.peer
	}
	p.peer = nil
}

// recycle takes back the memory of a partial that is in no table.
func (r *Reassembler) recycle(p *partial) {
	r.empty(p)
	r.memory -= partialCost
	r.spare.Append(&p.listed, p)
}

// trim gives memory that is kept for use again to the garbage collector, if
// there is nothing left to use it for.
func (r *Reassembler) trim() {
	if r.memory == 0 {
		r.blocks, r.spare, r.sparePeers, r.out = nil, list.List[partial]{}, nil, nil
	}
}
