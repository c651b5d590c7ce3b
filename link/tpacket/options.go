package tpacket

import (
	"fmt"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Defaults and limits of [Options].
const (
	// DefaultSlots is how many received frames wait at most: at a million
	// frames per second, one millisecond.
	DefaultSlots = 1024
	// DefaultLongBuffer is how many bytes of frames longer than a slot wait at
	// most, by the kernel's own reckoning: some thirty GSO packets of 64 KiB.
	DefaultLongBuffer = 4 << 20

	// MinSlotSize leaves room for the kernel's headers and the protocol
	// headers of a frame.
	MinSlotSize = 256
	// MaxSlotSize holds the longest frame that there is.
	MaxSlotSize = 128 << 10
	// MaxSlots bounds a ring.
	MaxSlots = 1 << 20

	maxDefaultSlotSize = 16 << 10 // fits a 9000-byte MTU; longer frames are copied
	defaultBlockSize   = 64 << 10
	maxBlockSize       = 4 << 20 // the kernel's page allocator gives no more in one piece
	maxRingBytes       = 1 << 30
)

// A TxMode says by which calls frames are handed to the kernel.
type TxMode uint8

const (
	// TxSendmmsg sends one frame by sendto(2) and a batch by sendmmsg(2): on
	// veth the fastest (PACKET_TX_RING and io_uring(7) take half a microsecond
	// more, and are not offered).
	TxSendmmsg TxMode = iota
	// TxSendto sends each frame by a sendto(2) of its own, in batches too. It
	// is there to compare with, and for sandboxes that forbid sendmmsg(2).
	TxSendto
)

// Options say how a device is opened. The zero value is a good choice for most.
// [Open] returns EINVAL for what it cannot do; it ignores nothing.
type Options struct {
	// NetNS is the path of the network namespace that the device is in, such
	// as "/run/netns/name", "/proc/PID/ns/net" or, for an open descriptor,
	// "/proc/self/fd/N". All sockets are opened there. Empty is the calling
	// thread's. Another namespace needs CAP_SYS_ADMIN.
	NetNS string

	// Slots is how many frames the receive ring holds, [DefaultSlots] if 0. It is
	// rounded up to full blocks. If the kernel has no memory for the ring, half
	// as many are tried, and so on: see [Link.Slots].
	Slots int
	// SlotSize is the bytes of a slot: a multiple of 16 from [MinSlotSize] to
	// [MaxSlotSize], of which the kernel's headers take 82. The default, 0, is
	// the power of two from 2048 to 16384 that fits the device's MTU as it is
	// now. Longer frames arrive whole too, at the price of a system call each.
	SlotSize int
	// BlockSize is the bytes of a piece of contiguous ring memory: a multiple of
	// SlotSize and of the page size. The default, 0, is about 64 KiB. Larger
	// blocks gain nothing, and are harder to get.
	BlockSize int
	// LongBuffer is how many bytes of frames longer than a slot may wait
	// (SO_RCVBUF), [DefaultLongBuffer] if 0. Beyond it they arrive truncated. It
	// takes memory only while such frames wait. Without CAP_NET_ADMIN the kernel
	// caps it at the sysctl net.core.rmem_max.
	LongBuffer int

	// EtherTypes lists EtherTypes to receive beside ARP and IPv4.
	EtherTypes []uint16
	// AllEtherTypes receives every EtherType.
	AllEtherTypes bool
	// Filter replaces the default filter. EtherTypes and AllEtherTypes must not
	// be set then. What it returns is the number of bytes to keep of a frame.
	Filter []bpf.RawInstruction
	// Promiscuous puts the device into promiscuous mode while the link is open,
	// and lets frames to other hosts pass the default filter.
	Promiscuous bool
	// HardwareTime prefers the device's own receive time where there is one
	// (PACKET_TIMESTAMP). To make the device take it is the administrator's.
	HardwareTime bool

	// TxMode is how frames are handed to the kernel.
	TxMode TxMode
	// Qdisc sends through the device's queueing discipline. By default it is
	// passed by (PACKET_QDISC_BYPASS): that is the shorter way, at a price. A
	// busy driver then means ENOBUFS instead of a queue, tc egress programs do
	// not see the frames, and neither does tcpdump on this device.
	Qdisc bool
	// NoGSO sends each datagram as a frame of its own. By default equal ones
	// of one call, and what UDP_SEGMENT cuts, go to a device that cuts UDP
	// GSO packets (ethtool(8), -k: generic-segmentation-offload and
	// tx-udp-segmentation, as they are at the time) as one frame of up to 64 KiB. A
	// device that is no hardware, such as veth, hands it on as it is: packet sockets
	// at the other end without PACKET_VNET_HDR see a frame beyond the MTU.
	NoGSO bool
	// NoClaim lets the kernel's IP layer have datagrams to the stack's addresses
	// too. By default it does not, where that is permitted: see [Link.Claim].
	NoClaim bool
	// HostMayAnswer puts up with a host that forwards (net.ipv4.conf.*.forwarding) where
	// no claim can be had: it sends the stack's datagrams on, and answers them with
	// redirects and unreachables. By default the stack has no address then.
	HostMayAnswer bool
	// Share says that the stack uses the host's own addresses, and who has seen to it that
	// each of the two gets what is its own: it has the ring's filter, in place of Filter,
	// EtherTypes, AllEtherTypes and Promiscuous, which must not be set then, and keeps the
	// host off what is the stack's. The link is no [link.Claimer] then: nobody reserves or
	// claims an address.
	Share Sharer
	// SendBuffer is how many bytes of sent frames may wait in the device, by the
	// kernel's own reckoning, until Send returns EAGAIN (SO_SNDBUF). 0 is the
	// sysctl net.core.wmem_default.
	SendBuffer int
}

// A Sharer divides what comes by a device between the host and a stack that has the same
// addresses. Its methods are called with locks of the link held.
type Sharer interface {
	// AttachFilter has a packet socket, which is not bound yet, accept what the stack has
	// use for, from now until RemoveFilter. The descriptor stays the link's.
	AttachFilter(fd int) error
	RemoveFilter(fd int)
	// Attach takes in which device the link is over from now on: it has been made anew, or
	// renamed, if it is called again.
	Attach(index int, name string) error
}

// invalid is EINVAL in words.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, unix.EINVAL)...)
}

// check refuses what cannot be done, on whatever device.
func (o *Options) check() error {
	page := os.Getpagesize()
	switch {
	case o.Slots < 0 || o.Slots > MaxSlots:
		return invalid("Slots is %d, not in 1 to %d", o.Slots, MaxSlots)
	case o.SlotSize != 0 && (o.SlotSize < MinSlotSize || o.SlotSize > MaxSlotSize):
		return invalid("SlotSize is %d, not in %d to %d", o.SlotSize, MinSlotSize, MaxSlotSize)
	case o.SlotSize%unix.TPACKET_ALIGNMENT != 0:
		return invalid("SlotSize is %d, not a multiple of %d", o.SlotSize, unix.TPACKET_ALIGNMENT)
	case o.BlockSize < 0 || o.BlockSize > maxBlockSize:
		return invalid("BlockSize is %d, not in 1 to %d", o.BlockSize, maxBlockSize)
	case o.BlockSize%page != 0:
		return invalid("BlockSize is %d, not a multiple of the page size %d", o.BlockSize, page)
	case o.LongBuffer < 0:
		return invalid("LongBuffer is %d", o.LongBuffer)
	case o.SendBuffer < 0:
		return invalid("SendBuffer is %d", o.SendBuffer)
	case o.TxMode > TxSendto:
		return invalid("TxMode is %d", o.TxMode)
	case o.Filter != nil && (len(o.EtherTypes) > 0 || o.AllEtherTypes):
		return invalid("Filter is set, and EtherTypes too")
	case o.Share != nil && (o.Filter != nil || len(o.EtherTypes) > 0 || o.AllEtherTypes || o.Promiscuous):
		return invalid("Share is set, which has the filter, and Filter, EtherTypes, AllEtherTypes or Promiscuous too")
	case o.AllEtherTypes && len(o.EtherTypes) > 0:
		return invalid("AllEtherTypes is set, and EtherTypes too")
	case o.Filter != nil && (len(o.Filter) == 0 || len(o.Filter) > maxFilter):
		return invalid("Filter has %d instructions, not 1 to %d", len(o.Filter), maxFilter)
	case len(o.EtherTypes) > maxEtherTypes:
		return invalid("EtherTypes lists %d, more than %d", len(o.EtherTypes), maxEtherTypes)
	}
	return nil
}

// or returns v, or def if v is 0.
func or(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

// A geometry is how ring memory is divided: slots lie one behind the other
// without a gap, since a block holds a whole number of them.
type geometry struct {
	slotSize, blockSize, slots int
}

// geometryFor returns the ring for frames of mtu bytes behind the Ethernet
// header, with 0 replaced by defaults and slots rounded up to full blocks.
func geometryFor(mtu, slots, slotSize, blockSize int) (geometry, error) {
	g := geometry{slotSize: slotSize, blockSize: blockSize, slots: slots}
	if g.slotSize == 0 {
		g.slotSize = 2048
		for g.slotSize < maxDefaultSlotSize && g.slotSize < dataOffset+maxHeader+mtu {
			g.slotSize *= 2
		}
	}
	if g.blockSize == 0 {
		unit := lcm(g.slotSize, os.Getpagesize())
		g.blockSize = unit
		for g.blockSize+unit <= defaultBlockSize && g.blockSize < slots*g.slotSize {
			g.blockSize += unit
		}
		if g.blockSize > maxBlockSize {
			return g, invalid("SlotSize %d does not fit pages: choose a multiple of 256", slotSize)
		}
	}
	if g.blockSize%g.slotSize != 0 {
		return g, invalid("BlockSize %d is not a multiple of the slot size %d", g.blockSize, g.slotSize)
	}
	perBlock := g.blockSize / g.slotSize
	g.slots = (slots + perBlock - 1) / perBlock * perBlock
	if g.bytes() > maxRingBytes {
		return g, invalid("%d slots of %d bytes are more than %d bytes", slots, g.slotSize, maxRingBytes)
	}
	return g, nil
}

// bytes returns the size of the ring's memory.
func (g geometry) bytes() int { return g.slots * g.slotSize }

// halved returns a ring of about half the slots, and false if it has but one block.
func (g geometry) halved() (geometry, bool) {
	perBlock := g.blockSize / g.slotSize
	blocks := g.slots / perBlock
	if blocks == 1 {
		return g, false
	}
	g.slots = blocks / 2 * perBlock
	return g, true
}

// request returns the argument of PACKET_RX_RING.
func (g geometry) request() *unix.TpacketReq {
	return &unix.TpacketReq{
		Block_size: uint32(g.blockSize), Block_nr: uint32(g.bytes() / g.blockSize),
		Frame_size: uint32(g.slotSize), Frame_nr: uint32(g.slots),
	}
}

// allocate calls set with g, and with half the slots again while the kernel has
// no memory. It returns what set accepted.
func (g geometry) allocate(set func(*unix.TpacketReq) error) (geometry, error) {
	for {
		err := set(g.request())
		if err != unix.ENOMEM {
			return g, err
		}
		smaller, ok := g.halved()
		if !ok {
			return g, err
		}
		g = smaller
	}
}

// lcm returns the least common multiple of two positive numbers.
func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
