package inband

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/nftables"
)

// An nftClaim is a claim by nf_tables, for where bpf(2) is not to be had: a chain at
// the device's ingress drops what is for an address in a set. Packet sockets have seen
// it by then. The table has its netlink socket for owner and goes with it: a crash
// leaves nothing behind.
type nftClaim struct {
	socket  *nftables.Socket
	table   string // "": not attached
	claimed map[[4]byte]bool
}

// What an nftClaim has in its table.
const (
	nftChain    = "ingress"
	nftSet      = "claimed" // addresses
	nftTagTypes = "tags"    // EtherTypes
)

// nftTags is how many tags an nftClaim looks through: expressions have fixed offsets, so
// each takes rules of its own.
const nftTags = 16

// nftTables numbers the tables of this process.
var nftTables atomic.Uint32

func nftTableName() string { return fmt.Sprintf("outband-%d-%d", os.Getpid(), nftTables.Add(1)) }

// newNFTClaim makes a claim of no addresses in the calling thread's network namespace.
// The error is EPERM if CAP_NET_ADMIN is missing in the user namespace that owns it.
func newNFTClaim() (*nftClaim, error) {
	socket, err := nftables.Open()
	if err != nil {
		return nil, err
	}
	// What is not permitted, or not there, is to be known before there is a device.
	name := nftTableName()
	if err := socket.Send(func(n *nftables.Batch) { n.Table(name); n.DropTable(name) }); err != nil {
		socket.Close()
		return nil, err
	}
	return &nftClaim{socket: socket, claimed: map[[4]byte]bool{}}, nil
}

// Kind implements keeper.
func (c *nftClaim) Kind() string { return "nft" }

// Attach implements keeper. The table is made anew: what becomes of a chain whose device
// goes differs from kernel to kernel.
func (c *nftClaim) Attach(index int, device string) error {
	name := nftTableName()
	err := c.socket.Send(func(n *nftables.Batch) {
		if c.table != "" {
			n.DropTable(c.table)
		}
		n.Table(name)
		nftRules(n, name, device)
		n.Add(name, nftSet, keys(c.claimed)...)
	})
	if err == nil {
		c.table = name
	}
	return err
}

// Set implements keeper.
func (c *nftClaim) Set(addresses [][4]byte) error {
	add, gone := map[[4]byte]bool{}, map[[4]byte]bool{}
	for a := range c.claimed {
		gone[a] = true
	}
	want := map[[4]byte]bool{}
	for _, a := range addresses {
		want[a] = true
		delete(gone, a)
		if !c.claimed[a] {
			add[a] = true
		}
	}
	if c.table == "" || len(add)+len(gone) == 0 {
		c.claimed = want
		return nil
	}
	err := c.socket.Send(func(n *nftables.Batch) {
		n.Remove(c.table, nftSet, keys(gone)...)
		n.Add(c.table, nftSet, keys(add)...)
	})
	if err == nil {
		c.claimed = want
	}
	return err
}

// Close implements keeper.
func (c *nftClaim) Close() { c.socket.Close() }

// nftRules makes the sets, the chain at a device's ingress, and its rules.
func nftRules(n *nftables.Batch, table, device string) {
	n.Set(table, nftSet, 1, nftables.TypeAddress, 4)
	n.Set(table, nftTagTypes, 2, nftables.TypeEther, 2)
	n.Add(table, nftTagTypes,
		[]byte{unix.ETH_P_8021Q >> 8, unix.ETH_P_8021Q & 0xff}, []byte{unix.ETH_P_8021AD >> 8, unix.ETH_P_8021AD & 0xff})
	n.Ingress(table, nftChain, device)
	for tags := range uint32(nftTags + 1) {
		nftLook(n, table, tags)
	}
	n.Rule(table, nftChain, nftables.Drop()) // only tags
}

// nftLook makes the rules for what is behind a number of priority tags: a datagram for a
// claimed address is dropped; what is no tag, or one of a VLAN and so another network's,
// goes its way; a priority tag goes on to the next rules. A tag that is in the metadata
// is loaded as if it were in the frame.
func nftLook(n *nftables.Batch, table string, tags uint32) {
	at := 12 + 4*tags
	etherType := nftables.LinkHeader.Load(at, 2)
	n.Rule(table, nftChain, etherType, nftables.Compare(nftables.Equal, unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff),
		nftables.LinkHeader.Load(at+2+16, 4), nftables.In(nftSet), nftables.Drop())
	n.Rule(table, nftChain, etherType, nftables.NotIn(nftTagTypes), nftables.Accept())
	n.Rule(table, nftChain, nftables.LinkHeader.Load(at+2, 2), nftables.Mask(0x0f, 0xff), nftables.Compare(nftables.Unequal, 0, 0), nftables.Accept())
}

// keys returns the addresses as keys of a set.
func keys(addresses map[[4]byte]bool) [][]byte {
	all := make([][]byte, 0, len(addresses))
	for a := range addresses {
		all = append(all, a[:])
	}
	return all
}
