package inband

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An nftClaim is a claim by nf_tables, for where bpf(2) is not to be had: a chain at
// the device's ingress drops what is for an address in a set. Packet sockets have seen
// it by then. The table has its netlink socket for owner and goes with it: a crash
// leaves nothing behind.
type nftClaim struct {
	socket  *nftSocket
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
	socket, err := openNFT()
	if err != nil {
		return nil, err
	}
	// What is not permitted, or not there, is to be known before there is a device.
	name := nftTableName()
	if err := socket.send(func(n *nftBatch) { n.table(name); n.dropTable(name) }); err != nil {
		socket.close()
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
	err := c.socket.send(func(n *nftBatch) {
		if c.table != "" {
			n.dropTable(c.table)
		}
		n.table(name)
		n.chain(name, device)
		elements(n, unix.NFT_MSG_NEWSETELEM, name, nftSet, keys(c.claimed)...)
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
	err := c.socket.send(func(n *nftBatch) {
		elements(n, unix.NFT_MSG_DELSETELEM, c.table, nftSet, keys(gone)...)
		elements(n, unix.NFT_MSG_NEWSETELEM, c.table, nftSet, keys(add)...)
	})
	if err == nil {
		c.claimed = want
	}
	return err
}

// Close implements keeper.
func (c *nftClaim) Close() { c.socket.close() }

// table makes a table that goes with the socket.
func (n *nftBatch) table(name string) {
	n.change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nftText(unix.NFTA_TABLE_NAME, name), nftNumber(unix.NFTA_TABLE_FLAGS, nftOwner))
}

func (n *nftBatch) dropTable(name string) {
	n.change(unix.NFT_MSG_DELTABLE, 0, nftText(unix.NFTA_TABLE_NAME, name))
}

// chain makes the sets, the chain at a device's ingress, and its rules.
func (n *nftBatch) chain(table, device string) {
	n.set(table, nftSet, 1, nftTypeAddress, 4)
	n.set(table, nftTagTypes, 2, nftTypeEther, 2)
	elements(n, unix.NFT_MSG_NEWSETELEM, table, nftTagTypes,
		[]byte{unix.ETH_P_8021Q >> 8, unix.ETH_P_8021Q & 0xff}, []byte{unix.ETH_P_8021AD >> 8, unix.ETH_P_8021AD & 0xff})
	n.change(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, nftText(unix.NFTA_CHAIN_TABLE, table), nftText(unix.NFTA_CHAIN_NAME, nftChain),
		nftNest(unix.NFTA_CHAIN_HOOK, nftNumber(unix.NFTA_HOOK_HOOKNUM, unix.NF_NETDEV_INGRESS),
			nftNumber(unix.NFTA_HOOK_PRIORITY, 0), nftText(unix.NFTA_HOOK_DEV, device)),
		nftText(unix.NFTA_CHAIN_TYPE, "filter"))
	for tags := range uint32(nftTags + 1) {
		n.look(table, tags)
	}
	n.rule(table, nftVerdict(nftDrop)) // only tags
}

// look makes the rules for what is behind a number of priority tags: a datagram for a
// claimed address is dropped; what is no tag, or one of a VLAN and so another network's,
// goes its way; a priority tag goes on to the next rules. A tag that is in the metadata
// is loaded as if it were in the frame.
func (n *nftBatch) look(table string, tags uint32) {
	at := 12 + 4*tags
	etherType := nftLoad(at, 2)
	n.rule(table, etherType, nftCompare(nftEqual, unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff), nftLoad(at+2+16, 4), nftIn(nftSet), nftVerdict(nftDrop))
	n.rule(table, etherType, nftNotIn(nftTagTypes), nftVerdict(nftAccept))
	n.rule(table, nftLoad(at+2, 2), nftMask(0x0f, 0xff), nftCompare(nftUnequal, 0, 0), nftVerdict(nftAccept))
}

// set makes a set of keys of a length in bytes, of a type of nft(8)'s.
func (n *nftBatch) set(table, name string, id, keyType, keyLen uint32) {
	n.change(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, nftText(unix.NFTA_SET_TABLE, table), nftText(unix.NFTA_SET_NAME, name),
		nftNumber(unix.NFTA_SET_KEY_TYPE, keyType), nftNumber(unix.NFTA_SET_KEY_LEN, keyLen), nftNumber(unix.NFTA_SET_ID, id))
}

// nft(8)'s numbers for the types by which it shows sets.
const (
	nftTypeAddress = 7  // ipv4_addr
	nftTypeEther   = 10 // ether_type
)

func (n *nftBatch) rule(table string, steps ...*nl.RtAttr) {
	n.change(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, nftText(unix.NFTA_RULE_TABLE, table),
		nftText(unix.NFTA_RULE_CHAIN, nftChain), nftNest(unix.NFTA_RULE_EXPRESSIONS, steps...))
}

// elements adds elements to a set, or takes them out.
func elements(n *nftBatch, message uint16, table, set string, keys ...[]byte) {
	const atOnce = 1000 // an attribute holds 64 KiB
	for some := range slices.Chunk(keys, atOnce) {
		list := make([]*nl.RtAttr, len(some))
		for i, key := range some {
			list[i] = nftNest(unix.NFTA_LIST_ELEM, nftValue(unix.NFTA_SET_ELEM_KEY, key...))
		}
		n.change(message, unix.NLM_F_CREATE, nftText(unix.NFTA_SET_ELEM_LIST_TABLE, table),
			nftText(unix.NFTA_SET_ELEM_LIST_SET, set), nftNest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list...))
	}
}

// keys returns the addresses as keys of a set.
func keys(addresses map[[4]byte]bool) [][]byte {
	all := make([][]byte, 0, len(addresses))
	for a := range addresses {
		all = append(all, a[:])
	}
	return all
}
