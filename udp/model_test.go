package udp

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A model is the table as Linux writes it: one list, and for every question a
// walk over all of it.
type model struct {
	socks []*modelSock // latest bound first: the primary hash chain
	clock int
}

type modelSock struct {
	id            int
	local, remote ipv4.Addr
	lport, rport  uint16
	dev           int32
	uid           uint32
	reuse, share  bool // SO_REUSEADDR, SO_REUSEPORT
	established   bool
	rank, conn    int // when put into the chain of its address, when connected
	group         *modelGroup
}

type modelGroup struct {
	socks    []*modelSock
	hadConns bool
}

func (g *modelGroup) remove(s *modelSock) {
	if g != nil {
		g.socks = slices.DeleteFunc(g.socks, func(o *modelSock) bool { return o == s })
		s.group = nil
	}
}

// rcvSaddrEqual is inet_rcv_saddr_equal.
func rcvSaddrEqual(a, b *modelSock, wildcard bool) bool {
	return a.local == b.local || wildcard && (a.local == anyAddr || b.local == anyAddr)
}

// inuse is udp_lib_lport_inuse without a bitmap.
func (m *model) inuse(sk *modelSock) bool {
	for _, sk2 := range m.socks {
		if sk2.lport == sk.lport && (!sk2.reuse || !sk.reuse) &&
			(sk2.dev == 0 || sk.dev == 0 || sk2.dev == sk.dev) && rcvSaddrEqual(sk, sk2, true) {
			return !(sk2.share && sk.share && sk.uid == sk2.uid)
		}
	}
	return false
}

func (m *model) bind(sk *modelSock) bool {
	if m.inuse(sk) {
		return false
	}
	m.clock++
	sk.rank = m.clock
	m.addToGroup(sk)
	m.socks = slices.Insert(m.socks, 0, sk)
	return true
}

// addToGroup is udp_reuseport_add_sock, for sockets that are not connected: those
// that it finds may be.
func (m *model) addToGroup(sk *modelSock) {
	if !sk.share || sk.established || sk.group != nil && len(sk.group.socks) > 1 {
		return
	}
	for _, sk2 := range m.socks {
		if sk2 != sk && sk2.lport == sk.lport && sk2.dev == sk.dev && sk2.share && sk2.uid == sk.uid &&
			rcvSaddrEqual(sk, sk2, false) {
			if sk2.group == nil {
				sk2.group = &modelGroup{socks: []*modelSock{sk2}}
			}
			if sk.group != sk2.group {
				sk.group.remove(sk)
				sk.group = sk2.group
				sk.group.socks = append(sk.group.socks, sk)
			}
			return
		}
	}
	if sk.group == nil {
		sk.group = &modelGroup{socks: []*modelSock{sk}}
	}
}

// hashed returns the members that a hash may choose.
func (g *modelGroup) hashed() (socks []*modelSock) {
	for _, s := range g.socks {
		if !s.established {
			socks = append(socks, s)
		}
	}
	return socks
}

func (m *model) unbind(sk *modelSock) {
	sk.group.remove(sk)
	m.socks = slices.DeleteFunc(m.socks, func(o *modelSock) bool { return o == sk })
}

func (m *model) setLocal(sk *modelSock, local ipv4.Addr) {
	if sk.local != local { // udp_lib_rehash
		m.clock++
		sk.local, sk.rank = local, m.clock
	}
}

func (m *model) connect(sk *modelSock, local, remote ipv4.Addr, rport uint16) {
	if sk.group != nil && sk.local == local {
		sk.group.hadConns = true
	}
	sk.group.remove(sk)
	m.setLocal(sk, local)
	m.clock++
	sk.remote, sk.rport, sk.established, sk.conn = remote, rport, true, m.clock
}

func (m *model) disconnect(sk *modelSock, local ipv4.Addr) {
	if sk.local != local {
		sk.group.remove(sk)
	}
	m.setLocal(sk, local)
	sk.remote, sk.rport, sk.established = anyAddr, 0, false
	m.addToGroup(sk)
}

type query struct {
	dst   ipv4.Addr
	dport uint16
	src   ipv4.Addr
	sport uint16
	dev   int32
}

// score is compute_score.
func score(sk *modelSock, q query, daddr ipv4.Addr) int {
	if sk.lport != q.dport || sk.local != daddr {
		return -1
	}
	score := 2
	if sk.remote != anyAddr {
		if sk.remote != q.src {
			return -1
		}
		score += 4
	}
	if sk.rport != 0 {
		if sk.rport != q.sport {
			return -1
		}
		score += 4
	}
	if sk.dev != 0 && sk.dev != q.dev {
		return -1
	}
	if sk.dev != 0 {
		score += 4
	}
	return score
}

// lookup2 is udp4_lib_lookup2 in one chain, behind udp4_lib_lookup4, which finds
// sockets with a whole peer before it. It returns all that may be chosen.
func (m *model) lookup2(q query, daddr ipv4.Addr) []*modelSock {
	byConn := slices.SortedFunc(slices.Values(m.socks), func(a, b *modelSock) int { return cmp.Compare(b.conn, a.conn) })
	byRank := slices.SortedFunc(slices.Values(m.socks), func(a, b *modelSock) int { return cmp.Compare(b.rank, a.rank) })
	var result []*modelSock
	badness := 0
	for _, sk := range byConn {
		if s := score(sk, q, daddr); s > badness && sk.rport != 0 {
			result, badness = []*modelSock{sk}, s
		}
	}
	if result != nil {
		return result
	}
	for _, sk := range byRank {
		if s := score(sk, q, daddr); s > badness && sk.rport == 0 {
			result, badness = []*modelSock{sk}, s
			if sk.group != nil && sk.share && !sk.established {
				result = sk.group.hashed()
				if !sk.group.hadConns {
					return result
				}
			}
		}
	}
	return result
}

// lookup is __udp4_lib_lookup.
func (m *model) lookup(q query) []*modelSock {
	if r := m.lookup2(q, q.dst); r != nil {
		return r
	}
	return m.lookup2(q, anyAddr)
}

// isMcastSock is __udp_is_mcast_sock without the membership.
func isMcastSock(sk *modelSock, q query) bool {
	return sk.lport == q.dport && (sk.remote == anyAddr || sk.remote == q.src) &&
		(sk.rport == 0 || sk.rport == q.sport) &&
		(sk.local == anyAddr || sk.local == q.dst) && (sk.dev == 0 || sk.dev == q.dev)
}

// Small worlds, so that random operations meet.
var (
	worldLocals  = []ipv4.Addr{{}, {127, 0, 0, 1}, {127, 0, 0, 2}}
	worldRemotes = []ipv4.Addr{{10, 0, 0, 1}, {10, 0, 0, 2}}
	worldPorts   = []uint16{7, 8}
	worldRports  = []uint16{0, 5, 6}
	worldDevices = []int32{0, 1, 2}
)

// A pair is the table and its model, driven together.
type pair struct {
	t     *testing.T
	table *Table[int]
	model model
	b     []*Binding[int]
	m     []*modelSock
}

func newPair(t *testing.T, seed uint64) *pair {
	return &pair{t: t, table: NewTable[int](rand.New(rand.NewPCG(seed, 1)).Uint64)}
}

func at[E any](s []E, i byte) E { return s[int(i)%len(s)] }

// step does one operation that four bytes choose.
func (p *pair) step(op, a, c, d byte) {
	p.t.Helper()
	if op%8 < 3 || len(p.b) == 0 {
		p.bind(&Binding[int]{Local: at(worldLocals, a), LocalPort: at(worldPorts, a>>4),
			Device: at(worldDevices, c), UID: uint32(c >> 7), ReuseAddr: d&1 != 0, ReusePort: d&2 != 0})
		return
	}
	i := int(a) % len(p.b)
	b, m := p.b[i], p.m[i]
	switch op % 8 {
	case 3:
		p.table.Unbind(b)
		p.model.unbind(m)
		p.b, p.m = slices.Delete(p.b, i, i+1), slices.Delete(p.m, i, i+1)
	case 4, 5:
		local := b.Local
		if local == anyAddr && d&8 == 0 {
			local = at(worldLocals[1:], d)
		}
		remote, rport := at(worldRemotes, c), at(worldRports, c>>4)
		if e := p.table.Connect(b, local, remote, rport); e != 0 {
			p.t.Fatalf("Connect: %v", e)
		}
		p.model.connect(m, local, remote, rport)
	case 6:
		local := at(worldLocals, c)
		if e := p.table.Disconnect(b, local); e != 0 {
			p.t.Fatalf("Disconnect: %v", e)
		}
		p.model.disconnect(m, local)
	case 7:
		if d&4 != 0 {
			p.table.SetReuse(b, c&1 != 0, c&2 != 0)
			m.reuse, m.share = c&1 != 0, c&2 != 0
			return
		}
		if e := p.table.Rebind(b, at(worldDevices, c)); e != 0 {
			p.t.Fatalf("Rebind: %v", e)
		}
		if m.dev != b.Device {
			m.group.remove(m)
		}
		m.dev = b.Device
		p.model.addToGroup(m)
	}
}

func (p *pair) bind(b *Binding[int]) {
	p.t.Helper()
	p.model.clock++
	b.Owner = p.model.clock
	m := &modelSock{id: b.Owner, local: b.Local, lport: b.LocalPort, dev: b.Device, uid: b.UID,
		reuse: b.ReuseAddr, share: b.ReusePort}
	e := p.table.Bind(b)
	ok := p.model.bind(m)
	if ok != (e == 0) || e != 0 && e != unix.EADDRINUSE {
		p.t.Fatalf("Bind(%+v) = %v; the model's verdict: %v", m, e, ok)
	}
	if ok {
		p.b, p.m = append(p.b, b), append(p.m, m)
	}
}

// check compares the answers to every question there is.
func (p *pair) check() {
	p.t.Helper()
	if p.table.Len() != len(p.b) {
		p.t.Fatalf("Len = %d, want %d", p.table.Len(), len(p.b))
	}
	for _, port := range worldPorts {
		for _, dst := range worldLocals[1:] {
			for _, src := range worldRemotes {
				for _, sport := range worldRports[1:] {
					for _, dev := range worldDevices[1:] {
						p.ask(query{dst, port, src, sport, dev})
					}
				}
			}
		}
	}
	var all []int
	strict := make(map[*chain[int]]int) // what conflicts goes by, to look through none in vain
	for b := range p.table.All() {
		all = append(all, b.Owner)
		if strict[b.chain] += 0; !b.ReuseAddr {
			strict[b.chain]++
		}
	}
	for c, n := range strict {
		if c.strict != n {
			p.t.Fatalf("%d bindings of a chain are without SO_REUSEADDR, counted %d", n, c.strict)
		}
	}
	want := slices.SortedStableFunc(slices.Values(p.model.socks), func(a, b *modelSock) int { return cmp.Compare(a.lport, b.lport) })
	if !slices.Equal(all, ids(want)) {
		p.t.Fatalf("All = %v, want %v", all, ids(want))
	}
}

func (p *pair) ask(q query) {
	p.t.Helper()
	want := ids(p.model.lookup(q))
	got, ok := p.table.Lookup(q.dst, q.dport, q.src, q.sport, q.dev)
	if ok != (len(want) > 0) || ok && !slices.Contains(want, got) {
		p.t.Fatalf("Lookup(%+v) = %d, %v; want one of %v", q, got, ok, want)
	}
	if again, _ := p.table.Lookup(q.dst, q.dport, q.src, q.sport, q.dev); again != got {
		p.t.Fatalf("Lookup(%+v) = %d, then %d", q, got, again)
	}
	var all []int
	for _, m := range p.model.socks {
		if isMcastSock(m, q) {
			all = append(all, m.id)
		}
	}
	slices.Sort(all)
	match := match(p.table, q.dst, q.dport, q.src, q.sport, q.dev, nil)
	slices.Sort(match)
	if !slices.Equal(match, all) {
		p.t.Fatalf("Match(%+v) = %v, want %v", q, match, all)
	}
}

func ids(s []*modelSock) []int {
	var r []int
	for _, m := range s {
		r = append(r, m.id)
	}
	return r
}

// empty unbinds everything and looks for leftovers.
func (p *pair) empty() {
	p.t.Helper()
	for _, b := range p.b {
		p.table.Unbind(b)
	}
	t := p.table
	if t.n != 0 || t.peers.n != 0 || t.locals.n != 0 || t.used != (portSet{}) || t.flags != [1 << 16]uint8{} {
		p.t.Fatalf("after the last Unbind: %d bindings, %d peers, %d addresses", t.n, t.peers.n, t.locals.n)
	}
	for _, e := range t.peers.entries {
		if e.v != nil {
			p.t.Fatal("an entry is left")
		}
	}
}

func TestTableAgainstModel(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 9))
		p := newPair(t, seed)
		for range 60 {
			v := r.Uint32()
			p.step(byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
			p.check()
		}
		p.empty()
	}
}

func FuzzTable(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	for n := 4; n <= 200; n *= 2 {
		f.Add(randomBytes(r, n))
	}
	f.Add([]byte{0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2, 4, 0, 0x10, 0, 0, 1, 0, 2, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		p := newPair(t, 1)
		for ; len(ops) >= 4 && len(p.b) < 40; ops = ops[4:] {
			p.step(ops[0], ops[1], ops[2], ops[3])
			p.check()
		}
		p.empty()
	})
}
