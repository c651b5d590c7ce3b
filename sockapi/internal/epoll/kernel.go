package epoll

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// kernelEpoll is the part of an Epoll that is the kernel's. It has up to two
// epolls of the kernel's, each opened when it is needed:
//
//   - fds has the kernel descriptors that the caller watches, with the caller's
//     data.
//   - nest has those two of the Epolls inside, edge-triggered, with the ids of
//     their items: so that a sleeper hears of them, and which it was.
type kernelEpoll struct {
	fds, nest atomic.Int32 // -1: not open; opened with nestMu held
	first     bool         // the kernel's events went first last time; guarded by ctl
	scratch   []unix.EpollEvent

	mu    sync.Mutex
	items map[uint64]*epollItem // by id, of Epolls inside
	last  uint64
}

func (k *kernelEpoll) init() {
	k.fds.Store(-1)
	k.nest.Store(-1)
}

// used reports whether there is anything of the kernel's. Hot.
func (k *kernelEpoll) used() bool { return k.fds.Load() >= 0 || k.nest.Load() >= 0 }

// descriptors returns those of the two that are open.
func (k *kernelEpoll) descriptors() []int {
	var out []int
	for _, fd := range []*atomic.Int32{&k.fds, &k.nest} {
		if n := fd.Load(); n >= 0 {
			out = append(out, int(n))
		}
	}
	return out
}

// CtlFd adds, changes or removes a descriptor of the kernel's: see sockapi's
// Epoll.CtlFd.
func (e *Set) CtlFd(op, fd int, ev Event) error {
	if e.closed() {
		return unix.EBADF
	}
	if e.kernel.fds.Load() < 0 {
		if err := e.openKernel(&e.kernel.fds); err != nil {
			return err
		}
	}
	e.ctl.Lock()
	defer e.ctl.Unlock()
	if e.calls.closed() {
		return unix.EBADF
	}
	return unix.EpollCtl(int(e.kernel.fds.Load()), op, fd, KernelEvent(ev))
}

// openKernel opens one of the two epolls.
func (e *Set) openKernel(which *atomic.Int32) error {
	e.group.nestMu.Lock()
	defer e.group.nestMu.Unlock()
	return e.openKernelNested(which)
}

// openKernelNested is openKernel with nestMu held.
func (e *Set) openKernelNested(which *atomic.Int32) error {
	if which.Load() >= 0 {
		return nil
	}
	if e.closed() {
		return unix.EBADF // and else Close waits for nestMu before it frees
	}
	if err := e.waiter.Reserve(); err != nil {
		return err
	}
	if !e.group.open.add(e) {
		return unix.EBADF
	}
	fd, err := descriptor.Raised(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	if err != nil {
		return err
	}
	// Waits on an Epoll around this one have to hear of it too.
	for _, it := range e.parents.items {
		if err := it.e.nestKernel(it, []int{fd}); err != nil {
			unix.Close(fd)
			return err
		}
	}
	if e.fd.on.Load() {
		if err := AddReadable(e.fd.epfd, fd); err != nil {
			unix.Close(fd)
			return err
		}
	}
	which.Store(int32(fd))
	e.setSources()
	e.polls.tell() // calls of Poll have to hear of it too
	return nil
}

// setSources has goroutines that wait sleep on what is open.
func (e *Set) setSources() {
	var on []link.Pollable
	for _, fd := range e.kernel.descriptors() {
		on = append(on, link.Descriptor(fd))
	}
	e.waiter.SetSources(on, e.kernel.readable)
}

// nestKernel has e hear of the kernel's epolls of an Epoll inside it. nestMu is
// held.
func (e *Set) nestKernel(it *epollItem, fds []int) error {
	if len(fds) == 0 {
		return nil
	}
	if err := e.openKernelNested(&e.kernel.nest); err != nil {
		return err
	}
	k := &e.kernel
	id := k.remember(it)
	for _, fd := range fds {
		ev := KernelEvent(Event{Events: unix.EPOLLIN | unix.EPOLLET, Data: id})
		if err := unix.EpollCtl(int(k.nest.Load()), unix.EPOLL_CTL_ADD, fd, ev); err != nil {
			return err
		}
	}
	return nil
}

// remember gives an item an id.
func (k *kernelEpoll) remember(it *epollItem) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if it.id == 0 {
		k.last++
		it.id = k.last
		if k.items == nil {
			k.items = make(map[uint64]*epollItem)
		}
		k.items[it.id] = it
	}
	return it.id
}

func (k *kernelEpoll) forget(it *epollItem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.items, it.id)
}

// unnest takes out an epoll of the kernel's that was in nest.
func (k *kernelEpoll) unnest(fd int) {
	if nest := k.nest.Load(); nest >= 0 {
		_ = unix.EpollCtl(int(nest), unix.EPOLL_CTL_DEL, fd, nil) // there it is
	}
}

// drainNestLocked puts the items of the Epolls inside of which the kernel has
// told on the ready list.
func (e *Set) drainNestLocked() {
	k := &e.kernel
	nest := k.nest.Load()
	if nest < 0 {
		return
	}
	for {
		buf := k.room(nestBatch)
		n := EpollNow(int(nest), buf)
		k.mu.Lock()
		for i := range buf[:n] {
			if it := k.items[UserEvent(&buf[i]).Data]; it != nil {
				e.ready.add(it)
			}
		}
		k.mu.Unlock()
		if n < len(buf) {
			return
		}
	}
}

// nestBatch is how many Epolls are asked about at once.
const nestBatch = 16

// collect stores events of the kernel descriptors. ctl is held.
func (k *kernelEpoll) collect(events []Event) int {
	fd := k.fds.Load()
	if fd < 0 || len(events) == 0 {
		return 0
	}
	buf := k.room(len(events))
	n := EpollNow(int(fd), buf)
	for i := range buf[:n] {
		events[i] = UserEvent(&buf[i])
	}
	return n
}

// maxKernelEvents bounds how many events the kernel is asked for at once.
const maxKernelEvents = 1024

// room returns a buffer for up to n events. ctl is held.
func (k *kernelEpoll) room(n int) []unix.EpollEvent {
	n = min(n, maxKernelEvents)
	if len(k.scratch) < n {
		k.scratch = make([]unix.EpollEvent, n)
	}
	return k.scratch[:n]
}

// readable reports whether one of the two has an event.
func (k *kernelEpoll) readable() bool {
	fds := [2]unix.PollFd{{Fd: k.fds.Load(), Events: unix.POLLIN}, {Fd: k.nest.Load(), Events: unix.POLLIN}}
	return PollNow(fds[:]) > 0
}

// close closes both. ctl is held, and no call waits any more.
func (k *kernelEpoll) close() {
	for _, which := range []*atomic.Int32{&k.fds, &k.nest} {
		if fd := which.Swap(-1); fd >= 0 {
			unix.Close(int(fd))
		}
	}
}

// KernelEvent and UserEvent turn events into the kernel's, and back: the data
// is in two halves there.
func KernelEvent(ev Event) *unix.EpollEvent {
	return &unix.EpollEvent{Events: ev.Events, Fd: int32(uint32(ev.Data)), Pad: int32(uint32(ev.Data >> 32))}
}

func UserEvent(ev *unix.EpollEvent) Event {
	return Event{Events: ev.Events, Data: uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32}
}

// EpollNow is epoll_wait(2) that does not wait, and so needs no thread of the
// scheduler's.
func EpollNow(fd int, buf []unix.EpollEvent) int {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// PollNow is poll(2) that does not wait.
func PollNow(fds []unix.PollFd) int {
	var zero unix.Timespec
	n, _, e := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)),
		uintptr(unsafe.Pointer(&zero)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}
