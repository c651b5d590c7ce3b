package nftables

import (
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Table makes a table that goes with the socket.
func (n *Batch) Table(name string) {
	n.change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		text(unix.NFTA_TABLE_NAME, name), number(unix.NFTA_TABLE_FLAGS, owner))
}

// DropTable deletes a table.
func (n *Batch) DropTable(name string) {
	n.change(unix.NFT_MSG_DELTABLE, 0, text(unix.NFTA_TABLE_NAME, name))
}

// Ingress makes a chain at a device's ingress. Its rules are asked in the order in which
// they are made; what none of them decides goes on.
func (n *Batch) Ingress(table, chain, device string) {
	n.change(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, chain),
		nest(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, unix.NF_NETDEV_INGRESS),
			number(unix.NFTA_HOOK_PRIORITY, 0), text(unix.NFTA_HOOK_DEV, device)),
		text(unix.NFTA_CHAIN_TYPE, "filter"))
}

// Chain makes a chain to which rules jump.
func (n *Batch) Chain(table, chain string) {
	n.change(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, chain))
}

// DropChain deletes a chain with its rules.
func (n *Batch) DropChain(table, chain string) {
	n.change(unix.NFT_MSG_DELCHAIN, 0, text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, chain))
}

// Rule appends a rule to a chain: its steps are done until one of them ends it.
func (n *Batch) Rule(table, chain string, steps ...*nl.RtAttr) {
	n.change(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, text(unix.NFTA_RULE_TABLE, table),
		text(unix.NFTA_RULE_CHAIN, chain), nest(unix.NFTA_RULE_EXPRESSIONS, steps...))
}

// nft(8)'s numbers for the types by which it shows sets.
const (
	TypeAddress = 7  // ipv4_addr
	TypeEther   = 10 // ether_type
	TypePort    = 13 // inet_service
)

// Concatenation returns the number for keys of several fields, each of which begins at a
// multiple of 4 bytes.
func Concatenation(types ...uint32) (number uint32) {
	for _, t := range types {
		number = number<<6 | t
	}
	return number
}

// Set makes a set of keys of a length in bytes, of a type of nft(8)'s. The id is to be
// another one for each set of a batch.
func (n *Batch) Set(table, name string, id, keyType, keyLen uint32) {
	n.change(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, text(unix.NFTA_SET_TABLE, table), text(unix.NFTA_SET_NAME, name),
		number(unix.NFTA_SET_KEY_TYPE, keyType), number(unix.NFTA_SET_KEY_LEN, keyLen), number(unix.NFTA_SET_ID, id))
}

// Add adds elements to a set.
func (n *Batch) Add(table, set string, keys ...[]byte) {
	n.elements(unix.NFT_MSG_NEWSETELEM, table, set, keys)
}

// Remove takes elements out of a set. ENOENT: one is not there.
func (n *Batch) Remove(table, set string, keys ...[]byte) {
	n.elements(unix.NFT_MSG_DELSETELEM, table, set, keys)
}

func (n *Batch) elements(message uint16, table, set string, keys [][]byte) {
	const atOnce = 1000 // an attribute holds 64 KiB
	for some := range slices.Chunk(keys, atOnce) {
		list := make([]*nl.RtAttr, len(some))
		for i, key := range some {
			list[i] = nest(unix.NFTA_LIST_ELEM, value(unix.NFTA_SET_ELEM_KEY, key...))
		}
		n.change(message, unix.NLM_F_CREATE, text(unix.NFTA_SET_ELEM_LIST_TABLE, table),
			text(unix.NFTA_SET_ELEM_LIST_SET, set), nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list...))
	}
}
