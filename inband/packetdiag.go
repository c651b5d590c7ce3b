package inband

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The packet sockets of a network namespace, as sock_diag(7) shows them
// (linux/packet_diag.h). It takes no privilege, and a kernel with CONFIG_PACKET_DIAG.

const (
	packetShowInfo = 1     // PACKET_SHOW_INFO
	packetDiagInfo = 0     // PACKET_DIAG_INFO, with a struct packet_diag_info
	packetInfoLen  = 6 * 4 // of that: six numbers of 32 bits
	packetMsgLen   = 16    // of struct packet_diag_msg
	packetMsgInode = 4     // where that has pdiag_ino
	packetInfoDev  = 0 * 4 // where packet_diag_info has pdi_index
	packetInfoCopy = 3 * 4 // pdi_copy_thresh
	packetInfoTime = 4 * 4 // pdi_tstamp
)

// packetRequest is struct packet_diag_req.
type packetRequest struct{}

func (packetRequest) Len() int { return 20 }
func (packetRequest) Serialize() []byte {
	b := make([]byte, 20)
	b[0] = unix.AF_PACKET
	binary.NativeEndian.PutUint32(b[8:], packetShowInfo)
	return b
}

// holderNumber is an address as an option of a socket.
func holderNumber(addr [4]byte) uint32 { return binary.BigEndian.Uint32(addr[:]) }

// find looks for a holder of an address on a device, other than the socket with that
// inode number, and says whose it is.
func (h *holders) find(device int, addr [4]byte, except uint32) (owner string, there bool) {
	if h.diag == nil {
		return "", false
	}
	req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: h.diag}
	req.AddData(packetRequest{})
	// Where the kernel does not answer, no holder is known.
	answers, _ := req.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	inode, there := holderIn(answers, device, addr, except)
	if !there {
		return "", false
	}
	return socketOwner(inode), true
}

// holderIn returns the inode number of the holder among the kernel's answers.
func holderIn(answers [][]byte, device int, addr [4]byte, except uint32) (inode uint32, there bool) {
	for _, b := range answers {
		if len(b) < packetMsgLen {
			continue
		}
		if inode := binary.NativeEndian.Uint32(b[packetMsgInode:]); inode != except && isHolder(b[packetMsgLen:], device, addr) {
			return inode, true
		}
	}
	return 0, false
}

// isHolder reports whether a packet socket with these attributes holds an address.
func isHolder(attributes []byte, device int, addr [4]byte) bool {
	attrs, err := nl.ParseRouteAttr(attributes)
	if err != nil {
		return false
	}
	for _, a := range attrs {
		if a.Attr.Type != packetDiagInfo || len(a.Value) < packetInfoLen {
			continue
		}
		field := func(at int) uint32 { return binary.NativeEndian.Uint32(a.Value[at:]) }
		return field(packetInfoDev) == uint32(device) && field(packetInfoTime) == holderMark && field(packetInfoCopy) == holderNumber(addr)
	}
	return false
}

// socketOwner names the process that has a socket open, as far as proc(5) may be read.
func socketOwner(inode uint32) string {
	want := fmt.Sprintf("socket:[%d]", inode)
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		descriptors = nil
	}
	for _, d := range descriptors {
		if to, err := os.Readlink(d); err == nil && to == want {
			return "a stack of process " + strings.Split(d, "/")[2]
		}
	}
	return "a stack of another process"
}
