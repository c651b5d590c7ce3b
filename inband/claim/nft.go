package claim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/nftables"
)

// An nftTable has the claims in sets of nf_tables. Fragments pass: the holder's filter
// drops the datagram that the kernel makes of them. So do claims that are bound to a
// device, and those that others may have too, and tagged frames, even if the tag is only a
// priority.
type nftTable struct {
	socket  *nftables.Socket
	name    string
	chains  int // how many there have been
	sets    [nftSets]map[string]bool
	pending []nftChange
}

// Sets of an nftTable, and their keys.
const (
	setExact      = iota // destination, destination port, source, source port
	setLocal             // destination, destination port
	setWild              // destination port
	setOwn               // address of the host
	setBroadcasts        // broadcast address
	nftSets
)

var nftSetNames = [nftSets]string{"exact", "local", "wild", "own", "broadcasts"}

// nftClaims is the chain that knows claims, to which those at the devices jump.
const nftClaims = "claims"

// nftAtOnce is how many elements a transaction changes: the socket's buffer is finite.
const nftAtOnce = 1000

// An nftChange puts a key into a set, or takes it out.
type nftChange struct {
	set  int
	key  string
	want bool
}

// nftTables numbers the tables of this process.
var nftTables atomic.Uint32

// newNFT makes a table of no claims in the calling thread's network namespace.
func newNFT() (*nftTable, error) {
	socket, err := nftables.Open()
	if err != nil {
		return nil, err
	}
	t := &nftTable{socket: socket, name: fmt.Sprintf("outband-claims-%d-%d", os.Getpid(), nftTables.Add(1))}
	for i := range t.sets {
		t.sets[i] = map[string]bool{}
	}
	if err := socket.Send(t.make); err != nil {
		socket.Close()
		return nil, err
	}
	return t, nil
}

// make makes the table, its sets, and the rules that know claims.
func (t *nftTable) make(n *nftables.Batch) {
	const address, port = nftables.TypeAddress, nftables.TypePort
	types := [nftSets]struct{ typ, len uint32 }{
		{nftables.Concatenation(address, port, address, port), 16}, {nftables.Concatenation(address, port), 8},
		{port, 2}, {address, 4}, {address, 4},
	}
	n.Table(t.name)
	for i, s := range types {
		n.Set(t.name, nftSetNames[i], uint32(i+1), s.typ, s.len)
	}
	n.Chain(t.name, nftClaims)
	in := func(set int) *nl.RtAttr { return nftables.In(nftSetNames[set]) }
	rule := func(steps ...*nl.RtAttr) { n.Rule(t.name, nftClaims, append(steps, nftables.Drop())...) }
	field, destination := nftables.Base.LoadField, nftables.NetworkHeader.Load(16, 4)
	dport := nftables.TransportHeader.Load(2, 2)
	key := []*nl.RtAttr{field(nftables.NetworkHeader, 0, 16, 4), field(nftables.TransportHeader, 1, 2, 2)}
	rule(append(key, in(setLocal))...)
	rule(append(key, field(nftables.NetworkHeader, 2, 12, 4), field(nftables.TransportHeader, 3, 0, 2), in(setExact))...)
	rule(dport, in(setWild), destination, in(setOwn))
	rule(dport, in(setWild), destination, in(setBroadcasts))
	rule(dport, in(setWild), destination, nftables.Compare(nftables.Equal, 255, 255, 255, 255))
	rule(dport, in(setWild), destination, nftables.Mask(0xf0, 0, 0, 0), nftables.Compare(nftables.Equal, 0xe0, 0, 0, 0))
}

// attach makes the chain at a device, and returns its name. Its rule begins with the link
// header, which the looped copy of the host's own multicasts has not: no ring gets that.
func (t *nftTable) attach(device string) (chain string, err error) {
	t.chains++
	chain = fmt.Sprintf("ingress-%d", t.chains)
	return chain, t.socket.Send(func(n *nftables.Batch) {
		n.Ingress(t.name, chain, device)
		n.Rule(t.name, chain,
			nftables.LinkHeader.Load(12, 2), nftables.Compare(nftables.Equal, unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff),
			nftables.LoadMeta(unix.NFT_META_PKTTYPE), nftables.Compare(nftables.NotHigher, unix.PACKET_MULTICAST),
			nftables.LoadMeta(unix.NFT_META_L4PROTO), nftables.Compare(nftables.Equal, unix.IPPROTO_UDP),
			nftables.NetworkHeader.Load(6, 2), nftables.Mask((moreFragments|fragmentOffset)>>8, fragmentOffset&0xff), nftables.Compare(nftables.Equal, 0, 0),
			nftables.Jump(nftClaims))
	})
}

// detach deletes a chain, which is gone already if its device is.
func (t *nftTable) detach(chain string) error {
	err := t.socket.Send(func(n *nftables.Batch) { n.DropChain(t.name, chain) })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// want says what is to be in a set after the next commit.
func (t *nftTable) want(set int, key []byte, want bool) {
	t.pending = append(t.pending, nftChange{set, string(key), want})
}

// sync wants in the sets what the table says of a claim.
func (t *nftTable) sync(tab *table, k Claim) {
	port := binary.BigEndian.AppendUint16(nil, k.Port)
	v := tab.value(k)
	switch {
	case k.Device != 0:
	case k.wild():
		t.want(setWild, port, v&valueAlone != 0)
	default:
		// What may be for another socket, the kernel has too.
		want := v&valueAlone != 0
		key := append(append(slices.Clone(k.Local[:]), port...), 0, 0)
		if !k.exact() {
			t.want(setLocal, key, want)
			return
		}
		key = append(key, k.Peer[:]...)
		t.want(setExact, append(binary.BigEndian.AppendUint16(key, k.PeerPort), 0, 0), want)
	}
}

// syncAddress wants in the sets what the table says of an address.
func (t *nftTable) syncAddress(tab *table, a [4]byte) {
	t.want(setOwn, a[:], tab.hosts[a] == addressOwn)
	t.want(setBroadcasts, a[:], tab.hosts[a] == addressMany)
}

// syncAll wants in the sets all that the table says.
func (t *nftTable) syncAll(tab *table) {
	for a := range tab.hosts {
		t.syncAddress(tab, a)
	}
	for k := range tab.claims {
		t.sync(tab, k)
	}
}

// commit makes the sets what is wanted: in one transaction, if it is not too large.
func (t *nftTable) commit() error {
	final := make(map[nftChange]bool, len(t.pending)) // the last of several
	for _, p := range t.pending {
		final[nftChange{set: p.set, key: p.key}] = p.want
	}
	t.pending = t.pending[:0]
	var changes []nftChange
	for c, want := range final {
		if t.sets[c.set][c.key] != want {
			changes = append(changes, nftChange{c.set, c.key, want})
		}
	}
	slices.SortFunc(changes, func(a, b nftChange) int { return strings.Compare(a.key, b.key) })
	for some := range slices.Chunk(changes, nftAtOnce) {
		if err := t.change(some); err != nil {
			return err
		}
	}
	return nil
}

// change makes one transaction.
func (t *nftTable) change(changes []nftChange) error {
	var adds, removes [nftSets][][]byte
	for _, c := range changes {
		to := &removes
		if c.want {
			to = &adds
		}
		to[c.set] = append(to[c.set], []byte(c.key))
	}
	err := t.socket.Send(func(n *nftables.Batch) {
		for set, name := range nftSetNames {
			n.Add(t.name, name, adds[set]...)
			n.Remove(t.name, name, removes[set]...)
		}
	})
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.want {
			t.sets[c.set][c.key] = true
		} else {
			delete(t.sets[c.set], c.key)
		}
	}
	return nil
}

func (t *nftTable) close() { t.socket.Close() }
