package calls

import (
	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

const (
	badHandle = -int(unix.EBADF)
	badMemory = -int(unix.EFAULT)
	invalid   = -int(unix.EINVAL)
)

// socket returns a handle's socket, nil if it is none.
func (l *Library) socket(h int) *sockapi.Socket {
	if o := l.table.get(h); o != nil {
		return o.socket
	}
	return nil
}

// noSocket returns why a handle is no socket: EBADF, or ENOTSOCK for an epoll.
func (l *Library) noSocket(h int) int {
	if l.table.get(h) != nil {
		return -int(unix.ENOTSOCK)
	}
	return badHandle
}

// Socket is socket(2), out-of-band: ENETDOWN if there is no stack.
func (l *Library) Socket(domain, typ, proto int) int {
	r := l.now.Load()
	if r == nil {
		return -int(unix.ENETDOWN)
	}
	s, err := r.api.Socket(domain, typ|sockapi.SOCK_OOB, proto)
	if err != nil {
		return fail(err)
	}
	return l.enter(r, &object{socket: s})
}

// enter gives what was opened a number: EMFILE if there is none left.
func (l *Library) enter(r *running, o *object) int {
	h := l.table.add(o)
	if h < 0 {
		o.close()
		return -int(unix.EMFILE)
	}
	if l.now.Load() != r { // stopped meanwhile, maybe before the table had it
		if o := l.table.take(h); o != nil {
			o.close()
		}
		return -int(unix.ENETDOWN)
	}
	return h
}

// Close is close(2), of an epoll too.
func (l *Library) Close(h int) int {
	o := l.table.take(h)
	if o == nil {
		return badHandle
	}
	return fail(o.close())
}

// Bind is bind(2).
func (l *Library) Bind(h int, addr []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	a, e := sockaddr(addr)
	if e != 0 {
		return e
	}
	if len(addr) < unix.SizeofSockaddrInet4 && a.Family != unix.AF_PACKET {
		return invalid
	}
	return fail(s.Bind(a))
}

// Connect is connect(2).
func (l *Library) Connect(h int, addr []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	a, e := sockaddr(addr)
	if e != 0 {
		return e
	}
	if a.Family != unix.AF_UNSPEC && len(addr) < unix.SizeofSockaddrInet4 {
		return invalid
	}
	return fail(s.Connect(a))
}

// Getsockname is getsockname(2): the address is stored in addr, as much as fits, and its
// length returned.
func (l *Library) Getsockname(h int, addr []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	a, err := s.Getsockname()
	if err != nil {
		return fail(err)
	}
	return a.PutRaw(addr)
}

// Getpeername is getpeername(2), as Getsockname.
func (l *Library) Getpeername(h int, addr []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	a, err := s.Getpeername()
	if err != nil {
		return fail(err)
	}
	return a.PutRaw(addr)
}

// Shutdown is shutdown(2).
func (l *Library) Shutdown(h, how int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	return fail(s.Shutdown(how))
}

// Holder returns the descriptor of the in-band socket that holds a socket's port: ENOENT if
// there is none.
func (l *Library) Holder(h int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	fd, err := s.HolderFD()
	if err != nil {
		return fail(err)
	}
	return fd
}

// Adopt has the next Bind of a socket take an in-band socket for its holder.
func (l *Library) Adopt(h, fd int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	return fail(s.AdoptHolder(fd))
}

// Snapshot stores what a socket is in b, if that has room for it, and returns its length.
func (l *Library) Snapshot(h int, b []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	shot, err := s.Snapshot()
	if err != nil {
		return fail(err)
	}
	if len(shot) <= len(b) {
		copy(b, shot)
	}
	return len(shot)
}

// Restore opens a socket like one that a Snapshot is of.
func (l *Library) Restore(b []byte) int {
	r := l.now.Load()
	if r == nil {
		return -int(unix.ENETDOWN)
	}
	s, err := r.api.Restore(b)
	if err != nil {
		return fail(err)
	}
	return l.enter(r, &object{socket: s})
}
