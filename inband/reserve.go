package inband

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/internal/namespace"
)

// What others see of a reservation is a packet socket on the device that receives nothing
// and bears a mark and the address, in two options that mean nothing to such a socket and
// that sock_diag(7) shows to everybody. It is of the device's network namespace, goes with
// its process, and takes CAP_NET_RAW there: a process without that cannot keep an address
// from a stack, as it could by a name or a lock file.

// holderMark is the value of PACKET_TIMESTAMP that makes a packet socket a holder: "outb".
// The address is in PACKET_COPY_THRESH.
const holderMark = 0x6f757462

const (
	// spareHolders is how many sockets a guest opens beforehand, for programs that give up
	// their privileges before they have addresses.
	spareHolders = 4
	// holdTries is how often two that want an address at the same moment try, and
	// holdPause how long they wait at most between.
	holdTries = 5
	holdPause = 20 * time.Millisecond
)

// A holders is a guest's sockets for reservations.
type holders struct {
	space *namespace.Namespace
	diag  *nl.SocketHandle
	spare []int
}

// open makes what reserving takes, in the calling thread's network namespace. What cannot
// be had is done without: then no process is kept from an address.
func (h *holders) open(s *namespace.Namespace) {
	h.space = s
	if diag, err := nl.Subscribe(unix.NETLINK_INET_DIAG); err == nil {
		h.diag = &nl.SocketHandle{Socket: diag}
	}
	for range spareHolders {
		if fd, err := openHolder(); err == nil {
			h.spare = append(h.spare, fd)
		}
	}
}

// openHolder opens a packet socket that receives nothing.
func openHolder() (int, error) {
	return descriptor.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
}

// get returns a socket, -1 if none can be had. Spares are for when there are no others.
func (h *holders) get() int {
	fd := -1
	if err := h.space.Do(func() (err error) { fd, err = openHolder(); return err }); err == nil {
		return fd
	}
	last := len(h.spare) - 1
	if last < 0 {
		return -1
	}
	fd = h.spare[last]
	h.spare = h.spare[:last]
	return fd
}

// put takes a socket back.
func (h *holders) put(fd int) {
	if fd < 0 {
		return
	}
	if len(h.spare) < spareHolders && unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, 0) == nil {
		h.spare = append(h.spare, fd)
		return
	}
	unix.Close(fd)
}

func (h *holders) close() {
	for _, fd := range h.spare {
		unix.Close(fd)
	}
	h.spare = nil
	if h.diag != nil {
		h.diag.Close()
	}
}

// hold returns a socket that holds an address on a device, -1 without an error if none can
// be had. The error wraps EADDRINUSE, and names the process that has the address.
func (h *holders) hold(device int, name string, addr [4]byte) (fd int, err error) {
	fd = h.get()
	for range holdTries {
		holder, there := h.find(device, addr, inodeOf(fd))
		if there {
			h.put(fd)
			return -1, fmt.Errorf("%s has %s on %s: %w", holder, netip.AddrFrom4(addr), name, unix.EADDRINUSE)
		}
		if fd < 0 || markHolder(fd, device, addr) != nil {
			h.put(fd)
			return -1, nil
		}
		if _, there = h.find(device, addr, inodeOf(fd)); !there {
			return fd, nil
		}
		// Another process has marked its own at the same moment: both let go.
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, 0)
		time.Sleep(rand.N(holdPause))
	}
	h.put(fd)
	return -1, fmt.Errorf("several processes want %s on %s: %w", netip.AddrFrom4(addr), name, unix.EADDRINUSE)
}

// markHolder makes a socket a holder: the mark comes last.
func markHolder(fd, device int, addr [4]byte) error {
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: device}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_COPY_THRESH, int(holderNumber(addr))); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, holderMark)
}

// inodeOf returns the inode number by which sock_diag(7) knows a socket, 0 for none.
func inodeOf(fd int) uint32 {
	var st unix.Stat_t
	if fd < 0 || unix.Fstat(fd, &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}

// holdLocked opens the holder of an address on the guest's device; see [holders.hold].
func (g *Guest) holdLocked(addr [4]byte) (fd int, err error) {
	return g.holders.hold(g.index, g.name, addr)
}

// releaseLocked gives up what shows a reservation to others.
func (g *Guest) releaseLocked(r *reservation) {
	g.holders.put(r.holder)
	r.holder = -1
}
