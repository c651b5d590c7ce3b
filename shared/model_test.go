package shared

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "the model's random choices; 0: others each time")
	modelSteps = flag.Int("model.steps", 400, "how many steps the model makes on each rung")
)

// A model is a host with two stacks and in-band sockets on the same addresses and ports, and
// what must be true of it: who may bind what, and who gets each datagram. The judge of that is
// another host, where all of the same sockets are in-band.
type model struct {
	*world // the lab, and the first stack
	*rand.Rand
	owners  [3]owner
	sockets []*modelSocket
	judge   owner
	wires   [2]*lab.Packet // its own is the second
	config  Config
	seq     uint32
	lost    uint16 // identification of the next datagram that loses its tail
	history []string
}

// Owners: two stacks and the kernel.
var ownerNames = [...]string{"A", "B", "in-band"}

// A modelSocket is one of an owner's, and what the model knows of it.
type modelSocket struct {
	owner     int
	number    int
	socket    endpoint
	judge     endpoint   // the same socket on the judge's host
	bound     netip.Addr // as asked for
	addr      netip.Addr // of which datagrams it gets
	port      uint16
	addrReuse bool
	portReuse bool
	peer      netip.AddrPort
}

func (k *modelSocket) String() string {
	return fmt.Sprintf("%s's %d (%s:%d reuse %t %t peer %s)", ownerNames[k.owner], k.number, k.addr, k.port, k.addrReuse, k.portReuse, k.peer)
}

// sameGroup reports whether two sockets are in one SO_REUSEPORT group, of which any member may
// have a datagram: which one a hash says that differs from host to host.
func (k *modelSocket) sameGroup(o *modelSocket) bool {
	return k.portReuse && o.portReuse && k.port == o.port && k.addr == o.addr && !k.peer.IsValid() && !o.peer.IsValid()
}

var (
	modelAddrs = []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.77")}
	modelPeers = []uint16{5000, 5001}
	// The last is for all sockets.
	modelDestinations = []netip.Addr{modelAddrs[1], modelAddrs[2], modelAddrs[1], modelAddrs[2], netip.MustParseAddr("10.9.0.255")}
)

const (
	modelPort  = 2000 // and three more
	modelPorts = 4
	fencePort  = 2100 // and one for each owner
	modelLimit = 12   // sockets
)

// On each rung random calls and datagrams: all get what they would get if all were in-band.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again with -model.seed %d", seed)
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		onOneProcessor(t)
		other := lab.New(t, lab.Config{Kernel: lab.All})
		for _, l := range []*lab.Lab{w.Lab, other} {
			runIn(t, l.Near().Namespace, "ip", "address", "add", "10.9.0.77/24", "dev", "near0")
		}
		m := &model{world: w, Rand: rand.New(rand.NewPCG(seed, 1)), wires: [2]*lab.Packet{w.Far().Packet(t), other.Far().Packet(t)}, lost: 1000,
			config: Config{Devices: []string{"near0"}, Only: w.host.claims.Rung()}}
		m.owners = [3]owner{{m: m, world: w}, {m: m, world: worldOf(t, w.Lab, m.config), end: w.Near()}, {m: m, end: w.Near()}}
		m.owners[0].end = w.Near()
		m.judge = owner{m: m, end: other.Near()}
		m.judge.open(len(m.owners))
		for i := range m.owners {
			m.owners[i].open(i)
		}
		t.Cleanup(func() {
			for _, k := range m.sockets {
				k.close()
			}
			if t.Failed() {
				t.Logf("seed %d, steps:\n%v", seed, m.history[max(0, len(m.history)-30):])
			}
		})
		w.eventually("the second address", func() bool { return m.bindable() })
		for range *modelSteps {
			m.step()
			if t.Failed() {
				return
			}
		}
		m.settle()
	})
}

// bindable reports whether all owners have the second address.
func (m *model) bindable() bool {
	for i := range m.owners {
		k := m.owners[i].socket()
		err := k.bind(netip.AddrPortFrom(modelAddrs[2], 2200), false, false)
		k.close()
		if err != nil {
			return false
		}
	}
	return true
}

// note keeps what is done, for when it fails.
func (m *model) note(format string, args ...any) {
	m.history = append(m.history, fmt.Sprintf(format, args...)+"\n")
}

// step does one thing, or sends datagrams and looks who has got them.
func (m *model) step() {
	switch n := m.IntN(20); {
	case n < 5:
		m.bind()
	case n < 7 && len(m.sockets) > 0:
		m.connect(m.any())
	case n < 8 && len(m.sockets) > 0:
		m.disconnect(m.any())
	case n < 9 && m.IntN(4) == 0 && len(m.sockets) > 0:
		m.reuse(m.any())
	case n < 10 && len(m.sockets) > 0:
		m.close(m.any())
	case n < 11 && m.IntN(10) == 0:
		m.end(m.IntN(2))
	default:
		m.traffic()
	}
}

func (m *model) any() *modelSocket { return m.sockets[m.IntN(len(m.sockets))] }

// overlap reports whether two sockets would have the same datagrams.
func overlap(a, b netip.Addr) bool { return a == b || a.IsUnspecified() || b.IsUnspecified() }

// bind opens a socket.
func (m *model) bind() {
	k := &modelSocket{owner: m.IntN(3), number: len(m.history), bound: modelAddrs[m.IntN(3)], port: uint16(modelPort + m.IntN(modelPorts)),
		addrReuse: m.IntN(3) == 0, portReuse: m.IntN(3) == 0}
	k.addr = k.bound
	wants := m.bindErrors(k)
	if len(m.sockets) >= modelLimit {
		return
	}
	k.socket, k.judge = m.owners[k.owner].socket(), m.judge.socket()
	local := netip.AddrPortFrom(k.bound, k.port)
	err, judged := k.socket.bind(local, k.addrReuse, k.portReuse), k.judge.bind(local, k.addrReuse, k.portReuse)
	m.note("%d: bind %s: %v", len(m.history), k, err)
	if !slices.Contains(wants, err) || !slices.Contains(wants, judged) {
		m.t.Errorf("%s: %v, in-band %v, want one of %v", k, err, judged, wants)
	}
	if err != nil || judged != nil {
		k.close()
		return
	}
	m.sockets = append(m.sockets, k)
}

func (k *modelSocket) close() {
	k.socket.close()
	k.judge.close()
}

// bindErrors returns what a bind may say. Linux looks no further than the first socket that
// has the port by SO_REUSEPORT as well, and which that is nobody knows.
func (m *model) bindErrors(k *modelSocket) []error {
	refused, shared := false, false
	for _, o := range m.sockets {
		switch {
		case o.port != k.port || !overlap(o.addr, k.addr) || o.addrReuse && k.addrReuse:
		case o.portReuse && k.portReuse:
			shared = true
		default:
			refused = true
		}
	}
	switch {
	case refused && shared:
		return []error{nil, unix.EADDRINUSE}
	case refused:
		return []error{unix.EADDRINUSE}
	}
	return []error{nil}
}

func (m *model) connect(k *modelSocket) {
	peer := netip.AddrPortFrom(m.Far().Addr, modelPeers[m.IntN(2)])
	if k.addr.IsUnspecified() {
		k.addr = m.Near().Addr
	}
	k.peer = peer
	m.same("connect", k, func(e endpoint) error { return e.connect(peer) })
}

func (m *model) disconnect(k *modelSocket) {
	k.addr, k.peer = k.bound, netip.AddrPort{}
	m.same("disconnect", k, func(e endpoint) error { return e.disconnect() })
}

// reuse changes SO_REUSEADDR of a socket that is bound.
func (m *model) reuse(k *modelSocket) {
	k.addrReuse = !k.addrReuse
	m.same("reuse", k, func(e endpoint) error { return e.reuse(k.addrReuse, k.portReuse) })
}

// same does to a socket what is done to the judge's, and nothing may go wrong.
func (m *model) same(what string, k *modelSocket, do func(endpoint) error) {
	err := do(k.socket)
	m.note("%s %s: %v", what, k, err)
	check(m.t, err)
	check(m.t, do(k.judge))
}

func (m *model) close(k *modelSocket) {
	m.note("close %s", k)
	k.close()
	m.sockets = slices.DeleteFunc(m.sockets, func(o *modelSocket) bool { return o == k })
}

// end ends a stack, with its sockets open, and makes another.
func (m *model) end(owner int) {
	m.note("end %s", ownerNames[owner])
	check(m.t, m.owners[owner].world.host.Close())
	m.sockets = slices.DeleteFunc(m.sockets, func(o *modelSocket) bool {
		if o.owner == owner {
			o.judge.close()
		}
		return o.owner == owner
	})
	m.owners[owner].world = worldOf(m.t, m.Lab, m.config)
	m.owners[owner].open(owner)
}

// traffic sends some datagrams, whole and in fragments, mixed, and looks who has got them.
func (m *model) traffic() {
	var frames [][][]byte // of each datagram
	for _, id := range m.Perm(4)[:1+m.IntN(4)] {
		m.seq++
		d := &datagram{src: netip.AddrPortFrom(m.Far().Addr, modelPeers[m.IntN(2)]), id: uint16(1 + id),
			dst:     netip.AddrPortFrom(modelDestinations[m.IntN(len(modelDestinations))], uint16(modelPort+m.IntN(modelPorts))),
			payload: slices.Repeat(binary.BigEndian.AppendUint32(nil, m.seq), 10)}
		pieces := m.pieces(d)
		m.note("%d: id %d from %s to %s, %v", m.seq, d.id, d.src, d.dst, pieces)
		var mine [][]byte
		for _, p := range pieces {
			mine = append(mine, d.frame(m.Lab, p))
		}
		frames = append(frames, mine)
	}
	for len(frames) > 0 { // mixed, each in its order
		i := m.IntN(len(frames))
		for _, wire := range m.wires {
			wire.Send(m.t, frames[i][0])
		}
		if frames[i] = frames[i][1:]; len(frames[i]) == 0 {
			frames = slices.Delete(frames, i, i+1)
		}
	}
	m.settle()
}

// pieces returns in what pieces a datagram is sent, which may not be all of it. What
// comes twice does so before the last new piece: later it would be part of another.
func (m *model) pieces(d *datagram) (pieces []piece) {
	if m.IntN(2) == 0 {
		return []piece{{0, 48}}
	}
	for _, i := range m.Perm(3) {
		pieces = append(pieces, thirds[i])
	}
	if m.IntN(4) == 0 {
		m.lost++
		d.id = m.lost
		return pieces[:1+m.IntN(2)]
	}
	for range m.IntN(3) {
		twice := pieces[m.IntN(2)]
		pieces = slices.Insert(pieces, 1+m.IntN(len(pieces)-1), twice)
	}
	if pieces[len(pieces)-1] == pieces[0] {
		m.t.Fatal("the last piece is none")
	}
	return pieces
}

// settle waits until all owners have what has been sent, and compares.
func (m *model) settle() {
	for i := range m.owners {
		m.await(m.wires[0], m.owners[i].fence, i)
	}
	m.await(m.wires[1], m.judge.fence, len(m.owners))
	got, want := map[uint32][]*modelSocket{}, map[uint32][]*modelSocket{}
	for _, k := range m.sockets {
		m.collect(k, k.judge, want)
	}
	// What comes by the holders has not come because what comes by a ring has. What comes too
	// often comes before the next ends, at the latest.
	for end := time.Now().Add(soon); ; runtime.Gosched() {
		for _, k := range m.sockets {
			m.collect(k, k.socket, got)
		}
		if m.complete(got, want) || time.Now().After(end) {
			break
		}
	}
	for seq, of := range want {
		by := got[seq]
		delete(got, seq)
		slices.SortFunc(by, func(a, b *modelSocket) int { return slices.Index(m.sockets, a) - slices.Index(m.sockets, b) })
		if !slices.Equal(by, of) && !(len(by) == 1 && len(of) == 1 && by[0].sameGroup(of[0])) {
			m.t.Errorf("datagram %d was received by %v; it was for %v", seq, by, of)
		}
	}
	for seq, by := range got {
		m.t.Errorf("datagram %d was received by %v; it was for nobody", seq, by)
	}
}

// complete reports whether as many have each datagram as are to.
func (m *model) complete(got, want map[uint32][]*modelSocket) bool {
	for seq, of := range want {
		if len(got[seq]) < len(of) {
			return false
		}
	}
	return true
}

// await sends a datagram to a fence, and waits for it.
func (m *model) await(wire *lab.Packet, fence endpoint, number int) {
	m.seq++
	d := &datagram{src: addrPort(m.Far(), 5000), dst: addrPort(m.Near(), fencePort+uint16(number)), payload: binary.BigEndian.AppendUint32(nil, m.seq)}
	wire.Send(m.t, d.whole(m.Lab))
	if got := fence.receive(true); len(got) != 4 || binary.BigEndian.Uint32(got) != m.seq {
		m.t.Fatalf("the end of it has not come to fence %d, but %x", number, got)
	}
}

// collect takes all that a socket has received.
func (m *model) collect(k *modelSocket, from endpoint, by map[uint32][]*modelSocket) {
	for b := from.receive(false); b != nil; b = from.receive(false) {
		seq := binary.BigEndian.Uint32(b)
		if len(b) != 40 || string(b) != string(slices.Repeat(b[:4], 10)) {
			m.t.Errorf("%s has received another datagram than was sent: %x", k, b)
		}
		by[seq] = append(by[seq], k)
	}
}
