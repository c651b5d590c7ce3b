package tpacket

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// Where things are in a slot of the receive ring:
//
//	 0  struct tpacket2_hdr
//	32  struct sockaddr_ll
//	72  virtio_net_hdr, right before the frame
//	82  the frame; its IPv4 header at 96, a multiple of 16
const (
	sockaddrOffset = unix.SizeofTpacket2Hdr // aligned to TPACKET_ALIGNMENT already
	pktTypeOffset  = sockaddrOffset + 10    // sll_pkttype
	hdrLen         = sockaddrOffset + unix.SizeofSockaddrLinklayer

	// reserve (PACKET_RESERVE) moves the frame so that, with the
	// virtio_net_hdr before it, the IPv4 header is aligned again.
	reserve    = unix.TPACKET_ALIGNMENT - vnetHeaderLen
	dataOffset = (hdrLen+16+15)/16*16 + reserve + vnetHeaderLen - link.HeaderLen

	maxHeader = link.HeaderLen + 4 // with one VLAN tag
)

// hardwareStamp is set in the status word if the device made the time stamp.
const hardwareStamp = unix.TP_STATUS_TS_RAW_HARDWARE | unix.TP_STATUS_TS_SYS_HARDWARE

// A ring is a receive ring. Only the goroutine that is in Receive or Release
// touches it, but for the counters, which others may read.
type ring struct {
	base     unsafe.Pointer // the first slot
	slotSize uintptr
	slots    int
	next     int // the slot that is filled next
	out      int // slots handed out and not released, those before next
	long     longFrames
	// losing says that the frame before was marked TP_STATUS_LOSING: the kernel marks
	// all from a loss on until the statistics are read.
	losing bool

	frames, bytes, truncated atomic.Uint64
	lost                     atomic.Uint64 // added up from PACKET_STATISTICS, which clears on read

	fd  int
	mem []byte
}

// slot returns the header of slot i.
func (r *ring) slot(i int) *unix.Tpacket2Hdr {
	return (*unix.Tpacket2Hdr)(unsafe.Add(r.base, uintptr(i)*r.slotSize))
}

// receive fills frames with those that are ready, in order.
func (r *ring) receive(frames []link.Frame) int {
	if free := r.slots - r.out; len(frames) > free {
		frames = frames[:free] // or a slot that is out would be handed out twice
	}
	n, bytes := 0, 0
	for n < len(frames) {
		h := r.slot(r.next)
		status := atomic.LoadUint32(&h.Status)
		if status&unix.TP_STATUS_USER == 0 {
			break
		}
		// Frames were lost before this one, and their number has not been asked for. It begins
		// a batch, so that those before it come with what was lost before them.
		if status&unix.TP_STATUS_LOSING != 0 {
			if n > 0 && !r.losing {
				break
			}
			if n == 0 {
				r.countLost()
			}
		}
		r.losing = status&unix.TP_STATUS_LOSING != 0
		f := &frames[n]
		if status&unix.TP_STATUS_COPY != 0 && r.long.full() {
			break
		}
		view(f, h, status)
		if len(f.Data) < f.WireLen && (status&unix.TP_STATUS_COPY == 0 || !r.long.read(r.fd, f)) {
			r.truncated.Add(1)
		}
		bytes += len(f.Data)
		if r.next++; r.next == r.slots {
			r.next = 0
		}
		n++
	}
	if n > 0 {
		r.out += n
		r.frames.Add(uint64(n))
		r.bytes.Add(uint64(bytes))
	}
	return n
}

// countLost adds up what the ring had no room for since the last time.
func (r *ring) countLost() {
	if s, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		r.lost.Add(uint64(s.Drops))
	}
}

// view makes f a view of the slot at h.
func view(f *link.Frame, h *unix.Tpacket2Hdr, status uint32) {
	slot := unsafe.Pointer(h)
	data := unsafe.Add(slot, h.Mac)
	f.Data = unsafe.Slice((*byte)(data), h.Snaplen)
	vnet := (*vnetHeader)(unsafe.Add(data, -vnetHeaderLen))
	f.Meta = link.Meta{
		Time:     int64(h.Sec)*1e9 + int64(h.Nsec),
		WireLen:  int(h.Len),
		Clock:    link.ClockSoftware,
		Type:     link.PacketType(*(*uint8)(unsafe.Add(slot, pktTypeOffset))),
		Checksum: checksum(status),
	}
	if status&hardwareStamp != 0 {
		f.Clock = link.ClockHardware
	}
	if vnet.gsoType != vnetGSONone {
		f.GSO, f.GSOSize = gsoKind(vnet.gsoType), vnet.gsoSize
	}
	if status&unix.TP_STATUS_VLAN_VALID != 0 {
		f.VLAN, f.VLANTCI, f.VLANTPID = true, h.Vlan_tci, unix.ETH_P_8021Q
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			f.VLANTPID = h.Vlan_tpid
		}
	}
}

// checksum returns what the status word says of a frame's transport checksum.
func checksum(status uint32) link.Checksum {
	switch {
	case status&unix.TP_STATUS_CSUMNOTREADY != 0:
		return link.ChecksumPartial
	case status&unix.TP_STATUS_CSUM_VALID != 0:
		return link.ChecksumValid
	default:
		return link.ChecksumUnknown
	}
}

// release gives all slots that are out back to the kernel, oldest first.
func (r *ring) release() {
	i := r.next - r.out
	if i < 0 {
		i += r.slots
	}
	for ; r.out > 0; r.out-- {
		atomic.StoreUint32(&r.slot(i).Status, unix.TP_STATUS_KERNEL)
		if i++; i == r.slots {
			i = 0
		}
	}
	r.long.release()
}

// open makes the ring of g on the packet socket fd, or a smaller one if memory
// is short, and maps it.
func (r *ring) open(fd int, g geometry) error {
	g, err := g.allocate(func(req *unix.TpacketReq) error {
		return unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, req)
	})
	if err != nil {
		return step("PACKET_RX_RING", err)
	}
	mem, err := unix.Mmap(fd, 0, g.bytes(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return step("mmap", err)
	}
	r.fd, r.mem, r.base = fd, mem, unsafe.Pointer(&mem[0])
	r.slots, r.slotSize = g.slots, uintptr(g.slotSize)
	touch(mem)
	return nil
}

// touch writes to every page of a ring that is mapped and not bound yet. The first write
// to a page takes 7 to 12 us on a virtual machine with shadow page tables, which no
// counter of faults tells, and neither MAP_POPULATE nor a read takes it away: without
// this the first lap of a ring is slow. The kernel has cleared the pages, so that a zero
// changes nothing, in a status word neither.
func touch(mem []byte) {
	for i := 0; i < len(mem); i += unix.Getpagesize() {
		atomic.StoreUint32((*uint32)(unsafe.Pointer(&mem[i])), 0)
	}
}

// close unmaps the ring. No slot of it may be out.
func (r *ring) close() {
	if r.mem != nil {
		unix.Munmap(r.mem)
		r.mem, r.base = nil, nil
	}
}
