// Package nftables makes nf_tables' tables of the family netdev, which see what comes in
// at a device before the kernel's IP layer does, by hand-made netlink messages
// (linux/netfilter/nf_tables.h), as few of them as this module needs. A table belongs to
// the socket that made it (NFT_TABLE_F_OWNER, Linux 5.12) and goes with it: a crash leaves
// nothing behind. Numbers in messages are big-endian.
//
// It takes CAP_NET_ADMIN in the user namespace that owns the network namespace, at each
// transaction.
package nftables
