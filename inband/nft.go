package inband

import (
	"fmt"
	"os"
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
	nftChain = "ingress"
	nftSet   = "claimed"
)

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
		elements(n, unix.NFT_MSG_NEWSETELEM, name, c.claimed)
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
		elements(n, unix.NFT_MSG_DELSETELEM, c.table, gone)
		elements(n, unix.NFT_MSG_NEWSETELEM, c.table, add)
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

// chain makes the set, the chain at a device's ingress, and its rules: one for frames
// without a tag, one for each kind of priority tag. Other tags are other networks'.
func (n *nftBatch) chain(table, device string) {
	const create = unix.NLM_F_CREATE
	n.change(unix.NFT_MSG_NEWSET, create, nftText(unix.NFTA_SET_TABLE, table), nftText(unix.NFTA_SET_NAME, nftSet),
		nftNumber(unix.NFTA_SET_KEY_TYPE, nftTypeAddress), nftNumber(unix.NFTA_SET_KEY_LEN, 4), nftNumber(unix.NFTA_SET_ID, 1))
	n.change(unix.NFT_MSG_NEWCHAIN, create, nftText(unix.NFTA_CHAIN_TABLE, table), nftText(unix.NFTA_CHAIN_NAME, nftChain),
		nftNest(unix.NFTA_CHAIN_HOOK, nftNumber(unix.NFTA_HOOK_HOOKNUM, unix.NF_NETDEV_INGRESS),
			nftNumber(unix.NFTA_HOOK_PRIORITY, 0), nftText(unix.NFTA_HOOK_DEV, device)),
		nftText(unix.NFTA_CHAIN_TYPE, "filter"))
	claimed := []*nl.RtAttr{nftLoad(unix.NFT_PAYLOAD_NETWORK_HEADER, 16, 4), nftIn(nftSet), nftDrop()}
	n.rule(table, append([]*nl.RtAttr{nftLoad(unix.NFT_PAYLOAD_LL_HEADER, 12, 2), nftEqual(unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff)}, claimed...))
	for _, tpid := range []uint16{unix.ETH_P_8021Q, unix.ETH_P_8021AD} {
		n.rule(table, append([]*nl.RtAttr{
			nftLoad(unix.NFT_PAYLOAD_LL_HEADER, 12, 2), nftEqual(byte(tpid>>8), byte(tpid)),
			nftLoad(unix.NFT_PAYLOAD_LL_HEADER, 14, 2), nftMask(0x0f, 0xff), nftEqual(0, 0),
			nftLoad(unix.NFT_PAYLOAD_LL_HEADER, 16, 2), nftEqual(unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff),
		}, claimed...))
	}
}

// nftTypeAddress is nft(8)'s number for the type ipv4_addr, by which it shows the set.
const nftTypeAddress = 7

func (n *nftBatch) rule(table string, steps []*nl.RtAttr) {
	n.change(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, nftText(unix.NFTA_RULE_TABLE, table),
		nftText(unix.NFTA_RULE_CHAIN, nftChain), nftNest(unix.NFTA_RULE_EXPRESSIONS, steps...))
}

// elements adds addresses to the set, or takes them out.
func elements(n *nftBatch, message uint16, table string, addresses map[[4]byte]bool) {
	const atOnce = 1000 // an attribute holds 64 KiB
	list := []*nl.RtAttr{}
	flush := func() {
		if len(list) > 0 {
			n.change(message, unix.NLM_F_CREATE, nftText(unix.NFTA_SET_ELEM_LIST_TABLE, table),
				nftText(unix.NFTA_SET_ELEM_LIST_SET, nftSet), nftNest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list...))
		}
		list = nil
	}
	for a := range addresses {
		list = append(list, nftNest(unix.NFTA_LIST_ELEM, nftValue(unix.NFTA_SET_ELEM_KEY, a[:]...)))
		if len(list) == atOnce {
			flush()
		}
	}
	flush()
}
