package host

import (
	"encoding/binary"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/internal/mmsg"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

const (
	// batchSize is how many frames go by one sendmmsg(2). What a call costs
	// beside its frames is lost in 64 of them.
	batchSize = 64
	// batchSpares is how many argument blocks a pool keeps. More goroutines
	// than that in SendBatch at once make new ones.
	batchSpares = 4
	// headLen has room for what goes before a checksum and the checksum: an IPv4 header
	// of 60 bytes, and of TCP's header, the longest that is left to a link, 18.
	headLen = 80
)

// A batch is the arguments of one sendmmsg(2), all pointers in place but those to the frames.
type batch struct {
	msgs    [batchSize]mmsg.Header
	iovs    [batchSize][2]unix.Iovec // a copied head, if the checksum is filled in; the rest
	names   [batchSize]unix.RawSockaddrInet4
	control [batchSize]control
	heads   [batchSize][headLen]byte
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.msgs {
		h := &b.msgs[i].Hdr
		b.names[i].Family = unix.AF_INET
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet4
		b.iovs[i][0].Base = &b.heads[i][0]
	}
	return b
}

// A batchPool keeps batches for the next sender. Unlike a sync.Pool it never
// gives them up, so that in the steady state nothing is allocated.
type batchPool struct {
	spare    [batchSpares]atomic.Pointer[batch]
	priority bool // is told by a control message
}

// take returns a batch that no other goroutine has.
func (p *batchPool) take() *batch {
	for i := range p.spare {
		if p.spare[i].Load() == nil {
			continue
		}
		if b := p.spare[i].Swap(nil); b != nil {
			return b
		}
	}
	return newBatch()
}

// put gives a batch back.
func (p *batchPool) put(b *batch) {
	for i := range p.spare {
		if p.spare[i].Load() == nil && p.spare[i].CompareAndSwap(nil, b) {
			return
		}
	}
}

// send sends up to batchSize frames, and returns how many went and what stopped the next.
func (p *batchPool) send(fd int, frames []link.TxFrame) (int, syscall.Errno) {
	b := p.take()
	n, errno := b.fill(frames, p.priority)
	sent := 0
	for sent < n {
		// A call that has sent some reports no error: the next call, which
		// begins with the frame that failed, does.
		k, e := mmsg.Send(fd, b.msgs[sent:n], unix.MSG_DONTWAIT)
		if e != 0 {
			errno = e
			break
		}
		sent += k
	}
	for i := range n {
		b.iovs[i][1].Base = nil // the frames are the caller's again
	}
	p.put(b)
	return sent, errno
}

// fill takes frames into the batch, and stops before the first that is not valid. It
// returns how many there are, and what is wrong with the next.
func (b *batch) fill(frames []link.TxFrame, priority bool) (int, syscall.Errno) {
	for i := range frames {
		if errno := b.set(i, &frames[i], priority); errno != 0 {
			return i, errno
		}
	}
	return len(frames), 0
}

// set makes message i of a frame.
func (b *batch) set(i int, f *link.TxFrame, priority bool) syscall.Errno {
	if err := check(f); err != nil {
		return err.(syscall.Errno)
	}
	h, _, _ := ether.Parse(f.Data)
	if h.Type() != ether.TypeIPv4 {
		return unix.EAFNOSUPPORT
	}
	ip, ok := parseIP(f.Data[link.HeaderLen:])
	if !ok {
		return unix.EINVAL
	}
	m := &b.msgs[i].Hdr
	b.names[i].Addr = ip.destination()
	b.control[i].set(m, f, ip, priority)
	head, errno := b.head(i, f)
	if errno != 0 {
		return errno
	}
	// With the head empty the kernel gets the second part only.
	parts := b.iovs[i][:]
	parts[0].SetLen(head)
	rest := ip.datagram()[head:]
	parts[1].Base = unsafe.SliceData(rest)
	parts[1].SetLen(len(rest))
	m.Iov = &parts[0]
	m.SetIovlen(len(parts))
	if head == 0 {
		m.Iov = &parts[1]
		m.SetIovlen(1)
	}
	return 0
}

// head copies what a partial checksum ends, if there is one, with the checksum filled in: the
// frame is not the link's to write to. It returns how long that is.
func (b *batch) head(i int, f *link.TxFrame) (int, syscall.Errno) {
	if !f.PartialChecksum {
		return 0, 0
	}
	n := int(f.CsumStart) + int(f.CsumOffset) + 2 - link.HeaderLen
	if n < ipMinHeaderLen || n > headLen {
		return 0, unix.EINVAL
	}
	copy(b.heads[i][:n], f.Data[link.HeaderLen:])
	end := link.HeaderLen + int(binary.BigEndian.Uint16(f.Data[link.HeaderLen+2:]))
	if int(f.CsumStart) >= end || n+link.HeaderLen > end {
		return 0, unix.EINVAL
	}
	binary.BigEndian.PutUint16(b.heads[i][n-2:], memory.Sum(f.Data[:end], int(f.CsumStart)))
	return n, 0
}
