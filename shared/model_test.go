package shared

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
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
// what must be true of it: who may bind what, and who gets each datagram.
type model struct {
	*world // the lab, and the first stack
	*rand.Rand
	owners  [3]owner
	sockets []*modelSocket
	wire    *lab.Packet
	config  Config
	seq     uint32
	lost    uint16 // identification of the next datagram that loses its tail
	history []string
}

// Owners: two stacks and the kernel.
const (
	stackA = iota
	stackB
	kernel
)

var ownerNames = [...]string{"A", "B", "in-band"}

// A modelSocket is one of an owner's, and what the model knows of it.
type modelSocket struct {
	owner     int
	number    int
	socket    endpoint
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

var (
	modelAddrs = []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.77")}
	modelPeers = []uint16{5000, 5001}
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
		w.ip("address", "add", "10.9.0.77/24", "dev", "near0")
		m := &model{world: w, Rand: rand.New(rand.NewPCG(seed, 1)), wire: w.Far().Packet(t), lost: 1000,
			config: Config{Devices: []string{"near0"}, Only: w.host.claims.Rung()}}
		m.owners = [3]owner{{m: m, world: w}, {m: m, world: worldOf(t, w.Lab, m.config)}, {m: m}}
		for i := range m.owners {
			m.owners[i].open(i)
		}
		t.Cleanup(func() {
			for _, k := range m.sockets {
				k.socket.close()
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

// beside reports whether a socket of another owner would have some of the same datagrams,
// were this one bound to an address. The model leaves that out: see README.
func (m *model) beside(k *modelSocket, addr netip.Addr) bool {
	return slices.ContainsFunc(m.sockets, func(o *modelSocket) bool {
		return o.owner != k.owner && o.port == k.port && overlap(o.addr, addr)
	})
}

// bind opens a socket.
func (m *model) bind() {
	k := &modelSocket{owner: m.IntN(3), number: len(m.history), bound: modelAddrs[m.IntN(3)], port: uint16(modelPort + m.IntN(modelPorts)),
		addrReuse: m.IntN(3) == 0, portReuse: m.IntN(3) == 0}
	k.addr = k.bound
	wants := m.bindErrors(k)
	if len(m.sockets) >= modelLimit || slices.Contains(wants, nil) && m.beside(k, k.addr) {
		return
	}
	k.socket = m.owners[k.owner].socket()
	err := k.socket.bind(netip.AddrPortFrom(k.bound, k.port), k.addrReuse, k.portReuse)
	m.note("%d: bind %s: %v", len(m.history), k, err)
	if !slices.Contains(wants, err) {
		m.t.Errorf("%s: %v, want one of %v", k, err, wants)
	}
	if err != nil {
		k.socket.close()
		return
	}
	m.sockets = append(m.sockets, k)
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
	err := k.socket.connect(peer)
	if k.addr.IsUnspecified() {
		k.addr = m.Near().Addr
	}
	k.peer = peer
	m.note("connect %s: %v", k, err)
	check(m.t, err)
}

func (m *model) disconnect(k *modelSocket) {
	if m.beside(k, k.bound) {
		return
	}
	err := k.socket.disconnect()
	k.addr, k.peer = k.bound, netip.AddrPort{}
	m.note("disconnect %s: %v", k, err)
	check(m.t, err)
}

func (m *model) close(k *modelSocket) {
	m.note("close %s", k)
	k.socket.close()
	m.sockets = slices.DeleteFunc(m.sockets, func(o *modelSocket) bool { return o == k })
}

// end ends a stack, with its sockets open, and makes another.
func (m *model) end(owner int) {
	m.note("end %s", ownerNames[owner])
	check(m.t, m.owners[owner].world.host.Close())
	m.sockets = slices.DeleteFunc(m.sockets, func(o *modelSocket) bool { return o.owner == owner })
	m.owners[owner].world = worldOf(m.t, m.Lab, m.config)
	m.owners[owner].open(owner)
}

// receivers returns of which sockets one gets a datagram. Among its own the kernel is right
// whatever it does.
func (m *model) receivers(d *datagram) []*modelSocket {
	best, all := 0, []*modelSocket(nil)
	for _, k := range m.sockets {
		score := 1
		if k.port != d.dst.Port() || k.peer.IsValid() && k.peer != d.src || !overlap(k.addr, d.dst.Addr()) {
			continue
		}
		if k.addr == d.dst.Addr() {
			score = 2
		}
		switch {
		case k.owner == kernel:
			score = 1
		case k.peer.IsValid():
			score = 3
		}
		if score > best {
			best, all = score, nil
		}
		if score == best {
			all = append(all, k)
		}
	}
	return all
}

// traffic sends some datagrams, whole and in fragments, mixed, and looks who has got them.
func (m *model) traffic() {
	var frames [][][]byte // of each datagram
	want := map[uint32][]*modelSocket{}
	for _, id := range m.Perm(4)[:1+m.IntN(4)] {
		m.seq++
		d := &datagram{src: netip.AddrPortFrom(m.Far().Addr, modelPeers[m.IntN(2)]), id: uint16(1 + id),
			dst:     netip.AddrPortFrom(modelAddrs[1+m.IntN(2)], uint16(modelPort+m.IntN(modelPorts))),
			payload: slices.Repeat(binary.BigEndian.AppendUint32(nil, m.seq), 10)}
		pieces, all := m.pieces(d)
		if all {
			want[m.seq] = m.receivers(d)
		}
		m.note("%d: id %d from %s to %s, %v, for %v", m.seq, d.id, d.src, d.dst, pieces, want[m.seq])
		var mine [][]byte
		for _, p := range pieces {
			mine = append(mine, d.frame(m.Lab, p))
		}
		frames = append(frames, mine)
	}
	for len(frames) > 0 { // mixed, each in its order
		i := m.IntN(len(frames))
		m.wire.Send(m.t, frames[i][0])
		if frames[i] = frames[i][1:]; len(frames[i]) == 0 {
			frames = slices.Delete(frames, i, i+1)
		}
	}
	m.settle(want)
}

// pieces returns in what pieces a datagram is sent, and whether that is all of it. What
// comes twice does so before the last new piece: later it would be part of another.
func (m *model) pieces(d *datagram) (pieces []piece, all bool) {
	if m.IntN(2) == 0 {
		return []piece{{0, 48}}, true
	}
	for _, i := range m.Perm(3) {
		pieces = append(pieces, thirds[i])
	}
	if m.IntN(4) == 0 {
		m.lost++
		d.id = m.lost
		return pieces[:1+m.IntN(2)], false
	}
	for range m.IntN(3) {
		twice := pieces[m.IntN(2)]
		pieces = slices.Insert(pieces, 1+m.IntN(len(pieces)-1), twice)
	}
	if pieces[len(pieces)-1] == pieces[0] {
		m.t.Fatal("the last piece is none")
	}
	return pieces, true
}

// settle waits until all owners have what has been sent, and compares.
func (m *model) settle(want map[uint32][]*modelSocket) {
	for i := range m.owners {
		m.seq++
		d := &datagram{src: addrPort(m.Far(), 5000), dst: addrPort(m.Near(), fencePort+uint16(i)), payload: binary.BigEndian.AppendUint32(nil, m.seq)}
		m.wire.Send(m.t, d.whole(m.Lab))
		if got := m.owners[i].fence.receive(true); len(got) != 4 || binary.BigEndian.Uint32(got) != m.seq {
			m.t.Fatalf("the end of it has not come to %s, but %x", ownerNames[i], got)
		}
	}
	got := map[uint32][]*modelSocket{}
	for _, k := range m.sockets {
		for b := k.socket.receive(false); b != nil; b = k.socket.receive(false) {
			seq := binary.BigEndian.Uint32(b)
			if len(b) != 40 || string(b) != string(slices.Repeat(b[:4], 10)) {
				m.t.Errorf("%s has received another datagram than was sent: %x", k, b)
			}
			got[seq] = append(got[seq], k)
		}
	}
	for seq, of := range want {
		if len(of) > 0 && len(got[seq]) == 0 {
			m.t.Errorf("datagram %d is lost; it was for %v", seq, of)
		}
	}
	for seq, by := range got {
		if len(by) > 1 || !slices.Contains(want[seq], by[0]) {
			m.t.Errorf("datagram %d was received by %v; it was for %v", seq, by, want[seq])
		}
	}
}
