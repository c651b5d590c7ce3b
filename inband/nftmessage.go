package inband

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nf_tables' messages (linux/netfilter/nf_tables.h), as few of them as a claim needs.
// Numbers in them are big-endian.

// nftOwner is NFT_TABLE_F_OWNER, of Linux 5.12: the table belongs to the socket that
// made it, and goes with it.
const nftOwner = 2

// An nftBatch is a transaction: the kernel does all of it or nothing.
type nftBatch struct {
	b   []byte
	seq uint32
}

// add appends a message of a type, without the subsystem in it, with its attributes.
func (n *nftBatch) add(typ uint16, flags uint16, family uint8, res uint16, attrs ...*nl.RtAttr) {
	at := len(n.b)
	n.seq++
	n.b = append(n.b, make([]byte, unix.SizeofNlMsghdr)...)
	n.b = append(n.b, family, 0) // struct nfgenmsg: version NFNETLINK_V0
	n.b = binary.BigEndian.AppendUint16(n.b, res)
	for _, a := range attrs {
		n.b = append(n.b, a.Serialize()...)
	}
	h := n.b[at:]
	binary.NativeEndian.PutUint32(h[0:], uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], flags|unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(h[8:], n.seq)
}

// change appends a message of nf_tables for the family netdev.
func (n *nftBatch) change(typ uint16, flags uint16, attrs ...*nl.RtAttr) {
	n.add(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags|unix.NLM_F_ACK, unix.NFPROTO_NETDEV, 0, attrs...)
}

// send has the kernel do the transaction made by fill, and returns the first error.
func (f *nftSocket) send(fill func(*nftBatch)) error {
	n := &nftBatch{seq: f.seq}
	n.add(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	fill(n)
	n.add(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	f.seq = n.seq
	if err := unix.Sendto(f.fd, n.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return f.answers()
}

// answers reads what the kernel has left on the socket: it has done all that was
// asked by the time that a send returns.
func (f *nftSocket) answers() (first error) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(f.fd, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return first
		}
		if err != nil {
			return errors.Join(first, fmt.Errorf("nftables: %w", err))
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				continue
			}
			if e := int32(binary.NativeEndian.Uint32(m.Data)); e != 0 && first == nil {
				first = fmt.Errorf("nftables: %w", unix.Errno(-e))
			}
		}
	}
}

// An nftSocket speaks to nf_tables. What it made with nftOwner goes when it closes.
type nftSocket struct {
	fd  int
	seq uint32
}

// openNFT opens a socket in the calling thread's network namespace.
func openNFT() (*nftSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return &nftSocket{fd: fd}, nil
}

func (f *nftSocket) close() { unix.Close(f.fd) }

// Attributes.

func nftText(typ int, s string) *nl.RtAttr   { return nl.NewRtAttr(typ, nl.ZeroTerminated(s)) }
func nftNumber(typ int, v uint32) *nl.RtAttr { return nl.NewRtAttr(typ, nl.BEUint32Attr(v)) }
func nftValue(typ int, data ...byte) *nl.RtAttr {
	return nftNest(typ, nl.NewRtAttr(unix.NFTA_DATA_VALUE, data))
}

func nftNest(typ int, inner ...*nl.RtAttr) *nl.RtAttr {
	a := nl.NewRtAttr(typ|unix.NLA_F_NESTED, nil)
	for _, i := range inner {
		a.AddChild(i)
	}
	return a
}

// nftExpression is one step of a rule.
func nftExpression(name string, attrs ...*nl.RtAttr) *nl.RtAttr {
	return nftNest(unix.NFTA_LIST_ELEM, nftText(unix.NFTA_EXPR_NAME, name), nftNest(unix.NFTA_EXPR_DATA, attrs...))
}

// nftLoad loads bytes of the frame into register 1.
func nftLoad(offset, n uint32) *nl.RtAttr {
	return nftExpression("payload", nftNumber(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1),
		nftNumber(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_LL_HEADER), nftNumber(unix.NFTA_PAYLOAD_OFFSET, offset), nftNumber(unix.NFTA_PAYLOAD_LEN, n))
}

// nftMask leaves of register 1 what is in the mask.
func nftMask(mask ...byte) *nl.RtAttr {
	return nftExpression("bitwise", nftNumber(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1), nftNumber(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1),
		nftNumber(unix.NFTA_BITWISE_LEN, uint32(len(mask))), nftValue(unix.NFTA_BITWISE_MASK, mask...),
		nftValue(unix.NFTA_BITWISE_XOR, make([]byte, len(mask))...))
}

// Comparisons (NFT_CMP_EQ, NFT_CMP_NEQ) and verdicts (NF_DROP, NF_ACCEPT).
const (
	nftEqual, nftUnequal = 0, 1
	nftDrop, nftAccept   = 0, 1
)

// nftCompare ends the rule unless register 1 compares so with the given.
func nftCompare(how uint32, data ...byte) *nl.RtAttr {
	return nftExpression("cmp", nftNumber(unix.NFTA_CMP_SREG, unix.NFT_REG_1), nftNumber(unix.NFTA_CMP_OP, how),
		nftValue(unix.NFTA_CMP_DATA, data...))
}

// nftIn ends the rule unless register 1 is in a set.
func nftIn(set string) *nl.RtAttr { return nftLookup(set, 0) }

// nftNotIn ends the rule if register 1 is in a set.
func nftNotIn(set string) *nl.RtAttr { return nftLookup(set, unix.NFT_LOOKUP_F_INV) }

func nftLookup(set string, flags uint32) *nl.RtAttr {
	return nftExpression("lookup", nftText(unix.NFTA_LOOKUP_SET, set), nftNumber(unix.NFTA_LOOKUP_SREG, unix.NFT_REG_1),
		nftNumber(unix.NFTA_LOOKUP_FLAGS, flags))
}

// nftVerdict ends the chain with a verdict.
func nftVerdict(code uint32) *nl.RtAttr {
	return nftExpression("immediate", nftNumber(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nftNest(unix.NFTA_IMMEDIATE_DATA, nftNest(unix.NFTA_DATA_VERDICT, nftNumber(unix.NFTA_VERDICT_CODE, code))))
}
