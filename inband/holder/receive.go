package holder

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/mmsg"
)

// batchSize is how many datagrams one Receive takes at most.
const batchSize = 64

// A Datagram is what came to an in-band socket.
type Datagram struct {
	// Buffer is the room for the payload: the caller's, set before Receive, and used by
	// nobody else after it. A datagram of 65507 bytes is the longest that there is.
	Buffer []byte
	// Len is the payload's length in bytes. It is in Buffer from the beginning, and cut
	// there if Buffer is shorter.
	Len int

	// Source and Destination are the addresses of the header, Local is the host's own
	// address, which differs from Destination for groups and broadcasts (ipi_spec_dst).
	Source, Destination, Local [4]byte
	SourcePort, Port           uint16 // Port is the one that is held
	// Device is the index of the device by which it came, as IP_PKTINFO tells it: for what
	// this host sent to itself not lo, but the device that has the address, or that the
	// sender was bound to.
	Device int32
	// Holder is the ID of the Hold whose in-band socket got it.
	Holder uint32
	// SegmentSize is, for several datagrams that came as one (UDP_GRO in udp(7)), the
	// length in bytes of each but the last; else 0.
	SegmentSize uint16
	TTL, TOS    uint8
	// Mark and Priority are those of a datagram that the host itself sent, where the
	// kernel tells.
	Mark, Priority uint32
	// Time is when the kernel got it, in nanoseconds since the Unix epoch; 0: not known.
	Time int64

	// Error is the ICMP error that this is instead of a datagram, if its Type is not 0.
	// Then Source is who has sent the error, Destination the local address that it was sent
	// to, from which the datagram went that it is about, and the payload as much of that one's as the error has quoted.
	Error ICMPError

	optionsLen uint8
	options    [40]byte
}

// An ICMPError is an ICMP error (RFC 792) about a datagram that was sent from a port.
type ICMPError struct {
	Type, Code uint8
	Info       uint32 // the next hop's MTU of type 3, code 4 (RFC 1191), the pointer of type 12; else 0
	// Peer and PeerPort are to whom the datagram went.
	Peer     [4]byte
	PeerPort uint16
}

// Options returns the IPv4 options of the header, as they came (RFC 791, section 3.1),
// empty if there are none. The slice is the datagram's.
func (d *Datagram) Options() []byte { return d.options[:d.optionsLen] }

// A receiver is the table of sockets, and what it takes to receive from them.
type receiver struct {
	fd atomic.Int32 // the epoll's, -1 once it is closed

	mu      sync.Mutex
	table   []*socket // by slot, which the epoll gives back; nil: free
	free    []int32
	last    uint32  // identifier given last
	rings   []int32 // devices whose errors are not ours to tell
	events  [batchSize]unix.EpollEvent
	msgs    [batchSize]mmsg.Header
	iovs    [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet4
	control [batchSize]controlBuffer
}

// open makes the epoll.
func (r *receiver) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	r.fd.Store(int32(fd))
	for i := range r.msgs {
		m := &r.msgs[i].Hdr
		m.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		m.Control = &r.control[i][0]
		m.Iov = &r.iovs[i]
		m.SetIovlen(1)
	}
	return nil
}

// add begins to receive from a socket, and gives it its identifier.
func (r *receiver) add(s *socket) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.slot = int32(len(r.table))
	if n := len(r.free); n > 0 {
		s.slot = r.free[n-1]
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: s.slot}
	if err := unix.EpollCtl(int(r.fd.Load()), unix.EPOLL_CTL_ADD, s.fd, &ev); err != nil {
		return err
	}
	if n := len(r.free); n > 0 {
		r.free = r.free[:n-1]
		r.table[s.slot] = s
	} else {
		r.table = append(r.table, s)
	}
	if r.last++; r.last == 0 {
		r.last++
	}
	s.id = r.last
	return nil
}

// remove ends receiving from a socket. A late event cannot be: events are asked for and
// used under the lock.
func (r *receiver) remove(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A child between fork and exec may have the descriptor, so that to close it is not enough.
	unix.EpollCtl(int(r.fd.Load()), unix.EPOLL_CTL_DEL, s.fd, nil)
	r.table[s.slot] = nil
	r.free = append(r.free, s.slot)
}

// setRings says by which devices errors come that are not ours to tell.
func (r *receiver) setRings(indexes []int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rings = indexes
}

// share says that others may have a socket's port: all errors of the socket are ours to tell.
func (r *receiver) share(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.shared = true
}

// setPort changes the port that datagrams of a socket are said to be for.
func (r *receiver) setPort(s *socket, port uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.port = port
}

// close closes the epoll, and returns the sockets that there were.
func (r *receiver) close() []*socket {
	all := r.all()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table, r.free = nil, nil
	unix.Close(int(r.fd.Swap(-1)))
	return all
}

// Receive takes what has come to the in-band sockets, up to len(ds) datagrams, and returns
// how many. It never waits, and allocates nothing. Busy sockets are served in turn.
// ICMP errors are among it, but for those that came by a device with a ring, unless others
// may have the port too.
func (h *Holders) Receive(ds []Datagram) int {
	r := &h.rx
	r.mu.Lock()
	defer r.mu.Unlock()
	ds = ds[:min(len(ds), batchSize)]
	n := 0
	for more := true; more && n < len(ds); {
		var got int
		got, more = r.round(ds[n:], n)
		n += got
	}
	return n
}

// round takes datagrams from the sockets that have some, and reports whether there may be
// more. The kernel puts those that it names behind those that it does not (it is a
// level-triggered epoll), so that to ask for no more than can be served keeps the turns.
func (r *receiver) round(ds []Datagram, first int) (n int, more bool) {
	ready := r.wait(len(ds))
	for i := range ready {
		s := r.table[r.events[i].Fd]
		share := max(1, (len(ds)-n)/(ready-i))
		mine := ds[n:min(n+share, len(ds))]
		told := 0
		if r.events[i].Events&unix.EPOLLERR != 0 {
			told = r.takeErrors(s, mine, first+n)
		}
		got, rest := r.take(s, mine[told:], first+n+told)
		n += told + got
		more = more || rest
	}
	return n, n > 0 && (more || ready == len(ds))
}

// wait returns how many of events are filled in, without waiting.
func (r *receiver) wait(most int) int {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(r.fd.Load()), uintptr(unsafe.Pointer(&r.events[0])),
		uintptr(min(most, batchSize)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// take receives from one socket, by the messages from first on, and reports whether it may
// have more.
func (r *receiver) take(s *socket, ds []Datagram, first int) (n int, more bool) {
	if len(ds) == 0 {
		return 0, true
	}
	msgs := r.prepare(ds, first)
	// With MSG_TRUNC the length is the datagram's, not what there was room for.
	n, e := mmsg.RecvNow(s.fd, msgs, unix.MSG_TRUNC)
	for i := range n {
		ds[i].set(s, &msgs[i], &r.names[first+i])
	}
	// An error is gone when it was told; datagrams are behind it.
	return n, n == len(ds) || e != 0 && e != unix.EAGAIN
}

// prepare returns messages for datagrams, from the first on.
func (r *receiver) prepare(ds []Datagram, first int) []mmsg.Header {
	msgs := r.msgs[first : first+len(ds)]
	for i := range msgs {
		iov, m := &r.iovs[first+i], &msgs[i].Hdr
		iov.Base = unsafe.SliceData(ds[i].Buffer)
		iov.SetLen(len(ds[i].Buffer))
		m.Namelen = unix.SizeofSockaddrInet4
		m.SetControllen(len(controlBuffer{}))
	}
	return msgs
}

// errorsAtOnce bounds how many errors of one socket are looked at in one turn.
const errorsAtOnce = 16

// takeErrors empties a socket's error queue (IP_RECVERR in ip(7)), and returns how many of
// the errors are ours to tell. They are rare: each is a call of its own, so that the next can
// take the room of one that is not.
func (r *receiver) takeErrors(s *socket, ds []Datagram, first int) (n int) {
	for range errorsAtOnce {
		if n == len(ds) {
			break
		}
		msgs := r.prepare(ds[n:n+1], first+n)
		if k, _ := mmsg.RecvNow(s.fd, msgs, unix.MSG_ERRQUEUE); k == 0 {
			break
		}
		d := &ds[n]
		d.set(s, &msgs[0], &r.names[first+n])
		if d.Error.Type == 0 || !s.shared && slices.Contains(r.rings, d.Device) {
			continue
		}
		// The name is that of whom the datagram went to, and Local means nothing.
		d.Error.Peer, d.Error.PeerPort = r.names[first+n].Addr, swapped(r.names[first+n].Port)
		d.Local = d.Destination
		n++
	}
	return n
}
