package tpacket

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/mmsg"
	"github.com/outband/outband/link"
)

const (
	// batchSize is how many frames go by one sendmmsg(2). What a call costs
	// beside its frames is lost in 64 of them.
	batchSize = 64
	// batchSpares is how many argument blocks a pool keeps. More goroutines
	// than that in SendBatch at once make new ones.
	batchSpares = 4
)

// A batch is the arguments of one sendmmsg(2), all pointers in place but those
// to the frames. In a batch without virtio_net_hdr, vnet is not used.
type batch struct {
	msgs    [batchSize]mmsg.Header
	iovs    [batchSize][2]unix.Iovec // virtio_net_hdr, frame
	vnet    [batchSize]vnetHeader
	control *[batchSize]frameControl // of batches of marked frames
}

// newBatch returns a batch that lacks but the frames.
func newBatch(vnet, marked bool) *batch {
	b := new(batch)
	if marked {
		b.control = new([batchSize]frameControl)
		for i := range b.control {
			b.control[i].init()
		}
	}
	for i := range b.msgs {
		parts := b.iovs[i][1:]
		if vnet {
			parts = b.iovs[i][:]
			parts[0].Base = (*byte)(unsafe.Pointer(&b.vnet[i]))
			parts[0].SetLen(vnetHeaderLen)
		}
		b.msgs[i].Hdr.Iov = &parts[0]
		b.msgs[i].Hdr.SetIovlen(len(parts))
	}
	return b
}

// A batchPool keeps batches for the next sender. Unlike a sync.Pool it never
// gives them up, so that in the steady state nothing is allocated.
type batchPool struct {
	spare [batchSpares]atomic.Pointer[batch]
	vnet  bool
	// marked says that frames have control messages, priority that these tell
	// the priority too.
	marked, priority bool
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
	return newBatch(p.vnet, p.marked)
}

// put gives a batch back.
func (p *batchPool) put(b *batch) {
	for i := range p.spare {
		if p.spare[i].Load() == nil && p.spare[i].CompareAndSwap(nil, b) {
			return
		}
	}
}

// send sends up to batchSize frames by sendmmsg(2), and returns how many went
// and what stopped the next.
func (p *batchPool) send(fd int, frames []link.TxFrame, mtu int) (int, syscall.Errno) {
	b := p.take()
	n, errno := b.fill(frames, p, mtu)
	sent := 0
	for sent < n {
		// A call that has sent some reports no error: the next call, which
		// begins with the frame that failed, does.
		k, e := b.flush(fd, sent, n)
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

// fill takes frames into the batch, and stops before the first that is not
// valid. It returns how many there are, and what is wrong with the next.
func (b *batch) fill(frames []link.TxFrame, p *batchPool, mtu int) (int, syscall.Errno) {
	for i := range frames {
		f := &frames[i]
		if len(f.Data) < link.HeaderLen {
			return i, unix.EINVAL
		}
		if p.vnet {
			if errno := b.vnet[i].set(f, mtu); errno != 0 {
				return i, errno
			}
		}
		if p.marked {
			b.control[i].set(&b.msgs[i].Hdr, f, p.priority)
		}
		b.iovs[i][1].Base = &f.Data[0]
		b.iovs[i][1].SetLen(len(f.Data))
	}
	return len(frames), 0
}

// flush sends messages from to n. A batch can take longer than the scheduler
// should be kept waiting, so unlike a single frame it is announced: Syscall.
func (b *batch) flush(fd, from, n int) (int, syscall.Errno) {
	return mmsg.Send(fd, b.msgs[from:n], unix.MSG_DONTWAIT)
}
