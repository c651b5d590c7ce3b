package tpacket

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// txDataOffset is where a frame begins in a slot of a transmit ring
// (packet(7), PACKET_TX_RING).
const txDataOffset = unix.SizeofTpacket2Hdr

// A txRing is a transmit ring. A slot is ours while its status is
// TP_STATUS_AVAILABLE. We write the frame and set TP_STATUS_SEND_REQUEST; a
// sendto(2) makes the kernel go through the requests, in order, from where it
// stopped last.
//
// The kernel stops at a frame that it cannot take, and would begin with that
// one the next time. So what it did not take is withdrawn at once, and next
// goes back to where the kernel stands.
type txRing struct {
	fd       int
	slotSize uintptr
	slots    int
	mem      []byte

	mu   sync.Mutex
	base unsafe.Pointer
	next int // the slot for the next frame, where the kernel stands
}

// open makes the ring on fd, or a smaller one if memory is short, and maps it.
func (t *txRing) open(mtu, slots int) error {
	g, err := geometryFor(mtu, slots, 0, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return step("PACKET_VERSION", err)
	}
	g, err = g.allocate(func(req *unix.TpacketReq) error {
		return unix.SetsockoptTpacketReq(t.fd, unix.SOL_PACKET, unix.PACKET_TX_RING, req)
	})
	if err != nil {
		return step("PACKET_TX_RING", err)
	}
	t.mem, err = unix.Mmap(t.fd, 0, g.bytes(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return step("mmap", err)
	}
	t.base, t.slots, t.slotSize = unsafe.Pointer(&t.mem[0]), g.slots, uintptr(g.slotSize)
	touch(t.mem)
	return nil
}

// close unmaps the ring.
func (t *txRing) close() {
	if t.mem != nil {
		unix.Munmap(t.mem)
		t.mem = nil
	}
}

// fits reports whether a slot can hold the frame.
func (t *txRing) fits(frame []byte) bool { return txDataOffset+len(frame) <= int(t.slotSize) }

// slot returns the header of slot i, counted from next.
func (t *txRing) slot(i int) *unix.Tpacket2Hdr {
	i += t.next
	if i >= t.slots {
		i -= t.slots
	}
	return (*unix.Tpacket2Hdr)(unsafe.Add(t.base, uintptr(i)*t.slotSize))
}

// send sends frames, which all fit and have a header, as far as there are free
// slots. It returns how many went, and what stopped the next.
func (t *txRing) send(frames []link.TxFrame, mtu int) (int, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, errno := t.fill(frames, mtu)
	if n == 0 {
		return 0, errno
	}
	_, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(t.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	taken := t.settle(n)
	switch {
	case taken == n:
		return n, errno
	case e == 0:
		e = unix.EAGAIN // some were sent, and then there was no buffer
	}
	return taken, e
}

// fill writes frames into free slots and requests that they be sent.
func (t *txRing) fill(frames []link.TxFrame, mtu int) (int, syscall.Errno) {
	for i := range frames {
		if i == t.slots {
			return i, 0 // the rest goes with the next call
		}
		data := frames[i].Data
		h := t.slot(i)
		// Time stamps of frames sent leave their own bits.
		if atomic.LoadUint32(&h.Status)&^(hardwareStamp|unix.TP_STATUS_TS_SOFTWARE) != unix.TP_STATUS_AVAILABLE {
			if i > 0 {
				return i, 0
			}
			return 0, unix.EAGAIN
		}
		if len(data) > maxLen(data, mtu) {
			return i, unix.EMSGSIZE
		}
		copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(h), txDataOffset)), len(data)), data)
		h.Len = uint32(len(data))
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_SEND_REQUEST)
	}
	return len(frames), 0
}

// settle returns how many of n requests the kernel took, withdraws the others,
// and goes on to the slot where the kernel stands.
func (t *txRing) settle(n int) int {
	taken := 0
	for i := range n {
		h := t.slot(i)
		if s := atomic.LoadUint32(&h.Status); s != unix.TP_STATUS_SEND_REQUEST && s != unix.TP_STATUS_WRONG_FORMAT {
			taken++
			continue
		}
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_AVAILABLE)
	}
	if t.next += taken; t.next >= t.slots {
		t.next -= t.slots
	}
	return taken
}

// maxLen returns how long a frame may be: a VLAN tag does not count.
func maxLen(frame []byte, mtu int) int {
	if frame[12] == unix.ETH_P_8021Q>>8 && frame[13] == unix.ETH_P_8021Q&0xff {
		return maxHeader + mtu
	}
	return link.HeaderLen + mtu
}
