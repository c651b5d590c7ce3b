package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// owner is NFT_TABLE_F_OWNER, of Linux 5.12: the table belongs to the socket that made
// it, and goes with it.
const owner = 2

// A Batch is a transaction: the kernel does all of it or nothing.
type Batch struct {
	b   []byte
	seq uint32
}

// add appends a message of a type, without the subsystem in it, with its attributes.
func (n *Batch) add(typ uint16, flags uint16, family uint8, res uint16, attrs ...*nl.RtAttr) {
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
func (n *Batch) change(typ uint16, flags uint16, attrs ...*nl.RtAttr) {
	n.add(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags|unix.NLM_F_ACK, unix.NFPROTO_NETDEV, 0, attrs...)
}

// Send has the kernel do the transaction made by fill, all of it or nothing, and returns
// the first error, which wraps an errno.
func (s *Socket) Send(fill func(*Batch)) error {
	n := &Batch{seq: s.seq}
	n.add(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	fill(n)
	n.add(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	s.seq = n.seq
	if err := unix.Sendto(s.fd, n.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return s.answers()
}

// answers reads what the kernel has left on the socket: it has done all that was
// asked by the time that a send returns.
func (s *Socket) answers() (first error) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT)
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

// A Socket speaks to nf_tables. What it made with owner goes when it closes.
type Socket struct {
	fd  int
	seq uint32
}

// Open opens a socket in the calling thread's network namespace.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return &Socket{fd: raise(fd)}, nil
}

// high is the lowest number of a socket's descriptor.
const high = 1000

// raise gives a descriptor a high number, if the process may have such (RLIMIT_NOFILE). When
// a process ends, the kernel lets go of its descriptors from the highest down, and of each
// packet socket only after some ten milliseconds: what a table drops until then, nobody has.
func raise(fd int) int {
	raised, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, high)
	if err != nil {
		return fd
	}
	unix.Close(fd)
	return raised
}

// Close closes the socket: what it made goes.
func (s *Socket) Close() { unix.Close(s.fd) }
