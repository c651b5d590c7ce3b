// Package peers holds what the bench compares the stack with: a bare packet
// ring without any protocol, which is the floor, and in-band UDP by raw system
// calls and by package net. Each is as plain as its kind can be.
package peers

import (
	"fmt"
	"net"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ether"
)

// The bare ring's geometry. Its size does not matter for round trips: there is
// never more than one frame on the way.
const (
	RingSlot  = 2048 // bytes of a slot
	RingSlots = 1024
	RingBlock = RingSlot * 64 // bytes of a block, contiguous in memory
)

// Overhead is the bytes that an Ethernet, an IPv4 and a UDP header take. A bare
// frame carries as many before its payload, so that it is as long as a
// datagram's frame.
const Overhead = 14 + 20 + 8

// MaxRingPayload is the longest payload that a bare frame takes on a device
// with an MTU of 1500.
const MaxRingPayload = 1500 - 20 - 8

// etherType of the bare frames: IEEE 802, local experimental 1.
const etherType ether.Type = 0x88b5

// A Ring sends and receives frames over a TPACKET_V2 receive ring, spinning. It
// shows what AF_PACKET itself costs, and so the limit that a stack on top of it
// can approach. It is for one goroutine.
type Ring struct {
	memory []byte
	head   int // the slot that the kernel fills next
	rx, tx int
	frame  []byte
}

// OpenRing opens a ring on a device of the calling thread's namespace.
func OpenRing(device string) (*Ring, error) {
	ifi, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	r := &Ring{rx: -1, tx: -1, frame: make([]byte, RingSlot)}
	ether.Put(r.frame, ether.Broadcast, ether.Broadcast, etherType)
	if r.rx, err = packetSocket(); err == nil {
		err = r.mapRing(ifi.Index)
	}
	if err == nil {
		r.tx, err = packetSocket()
	}
	if err == nil {
		err = bind(r.tx, 0, ifi.Index) // protocol 0: it receives nothing
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("bare ring on %s: %w", device, err)
	}
	return r, nil
}

func packetSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
}

func (r *Ring) mapRing(index int) error {
	request := unix.TpacketReq{Block_size: RingBlock, Block_nr: RingSlot * RingSlots / RingBlock,
		Frame_size: RingSlot, Frame_nr: RingSlots}
	err := unix.SetsockoptInt(r.rx, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2)
	if err == nil {
		err = unix.SetsockoptInt(r.rx, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	if err == nil {
		err = unix.SetsockoptTpacketReq(r.rx, unix.SOL_PACKET, unix.PACKET_RX_RING, &request)
	}
	if err == nil {
		r.memory, err = unix.Mmap(r.rx, 0, RingSlot*RingSlots, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	}
	if err != nil {
		return err
	}
	// The first write to a page is dear on some virtual machines, and MAP_POPULATE does
	// not take that away.
	for i := 0; i < len(r.memory); i += unix.Getpagesize() {
		atomic.StoreUint32((*uint32)(unsafe.Pointer(&r.memory[i])), 0)
	}
	return bind(r.rx, unix.ETH_P_ALL, index)
}

func bind(fd, protocol, index int) error {
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(protocol)<<8 | uint16(protocol)>>8, Ifindex: index})
}

// Send sends a frame that carries p and is as long as a datagram's would be.
func (r *Ring) Send(p []byte) (int, error) {
	copy(r.frame[Overhead:], p)
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(r.tx), uintptr(unsafe.Pointer(unsafe.SliceData(r.frame))),
		uintptr(Overhead+len(p)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return len(p), nil
}

// Recv spins until a frame that Send sent at the other end is there, and copies
// its payload.
func (r *Ring) Recv(p []byte) (int, error) {
	for {
		h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.memory[r.head*RingSlot]))
		for atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
			pause()
		}
		frame := r.memory[r.head*RingSlot+int(h.Mac):][:h.Snaplen]
		n := -1
		if len(frame) >= Overhead && ether.Header(frame).Type() == etherType {
			n = copy(p, frame[Overhead:])
		}
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
		r.head = (r.head + 1) % RingSlots
		if n >= 0 {
			return n, nil
		}
	}
}

// Close frees the ring.
func (r *Ring) Close() error {
	if r.memory != nil {
		unix.Munmap(r.memory)
	}
	for _, fd := range []int{r.rx, r.tx} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	r.memory, r.rx, r.tx = nil, -1, -1
	return nil
}
