package sockapi

import "golang.org/x/sys/unix"

// A Socket is one socket, out-of-band or in-band. See the package comment.
type Socket struct {
	backend
	api *API
}

// OutOfBand reports whether the socket is the stack's.
func (s *Socket) OutOfBand() bool { return s.outOfBand() }

// SetNonblock sets or clears O_NONBLOCK.
func (s *Socket) SetNonblock(on bool) error { return s.setNonblock(on) }

// SetYield has calls of an out-of-band socket that are about to sleep let other goroutines
// run first, such as those that answer what it has brought: a server that starts a goroutine
// for each request wants it. One that has a thread of its own (runtime.LockOSThread) is better
// off without. EOPNOTSUPP: an in-band socket. EBADF: it is closed.
func (s *Socket) SetYield(on bool) error {
	k, ok := s.backend.(*stackSocket)
	switch {
	case !ok:
		return s.orClosed(unix.EOPNOTSUPP)
	case k.K.Closed():
		return unix.EBADF
	}
	k.K.Spinner().SetYield(on)
	return nil
}

// Bind gives the socket a local address (bind(2)). EADDRINUSE, EADDRNOTAVAIL,
// EINVAL (bound already), EAFNOSUPPORT.
func (s *Socket) Bind(local Sockaddr) error { return s.bind(local) }

// Connect sets the peer (connect(2)); a Sockaddr of AF_UNSPEC, the zero one,
// dissolves the association.
func (s *Socket) Connect(peer Sockaddr) error { return s.connect(peer) }

// Getsockname returns the local address (getsockname(2)).
func (s *Socket) Getsockname() (Sockaddr, error) { return s.getsockname() }

// Getpeername returns the peer (getpeername(2)): ENOTCONN if there is none.
func (s *Socket) Getpeername() (Sockaddr, error) { return s.getpeername() }

// Shutdown ends receiving (unix.SHUT_RD), sending (SHUT_WR) or both
// (SHUT_RDWR), and wakes calls that wait (shutdown(2)). ENOTCONN without a peer.
func (s *Socket) Shutdown(how int) error { return s.shutdown(how) }

// Listen has an in-band socket take connections (listen(2)). Out-of-band
// sockets have none: EOPNOTSUPP.
func (s *Socket) Listen(backlog int) error { return s.listen(backlog) }

// Accept takes a connection from an in-band socket that listens, and returns
// its socket and its peer (accept4(2)). It takes the flags unix.SOCK_NONBLOCK
// and unix.SOCK_CLOEXEC, EINVAL for others. EAGAIN: there is none, or none came
// within SO_RCVTIMEO. EINVAL: the socket does not listen. Out-of-band:
// EOPNOTSUPP.
func (s *Socket) Accept(flags int) (*Socket, Sockaddr, error) {
	if flags&^kernelTypeFlags != 0 {
		return nil, Sockaddr{}, s.orClosed(unix.EINVAL) // SOCK_OOB too
	}
	return s.accept(flags)
}

// HolderFD returns the descriptor of the in-band socket that holds the port of an out-of-band
// one on the kernel's addresses (package shared), so that what the kernel tells of it can be
// asked. It stays the stack's, and Connect and options may change it. ENOENT: there is none, or not yet.
func (s *Socket) HolderFD() (int, error) { return s.holder() }

// AdoptHolder has the next Bind of an out-of-band UDP socket on the kernel's addresses take an
// in-band socket that holds the address and the port already, instead of one of its own: what
// HolderFD was in the parent of a process that goes on with the parent's sockets. The
// descriptor stays the caller's. EOPNOTSUPP: another kind of socket, or a stack that does not
// share addresses. Bind is then EINVAL if that socket has another name, and EBADF, ... if it is none.
func (s *Socket) AdoptHolder(fd int) error {
	k, ok := s.backend.(*stackSocket)
	switch {
	case !ok || k.UDP == nil:
		return s.orClosed(unix.EOPNOTSUPP)
	case k.K.Closed() || fd < 0:
		return unix.EBADF
	}
	return k.UDP.AdoptHolder(fd)
}

// Snapshot returns what an out-of-band socket is, for API.Restore, in another process too: its
// kind, the options that differ from the default, its groups with their sources, its filter,
// address and peer. What is queued, signals and SO_ATTACH_REUSEPORT_CBPF are not part of it.
// EOPNOTSUPP: an in-band socket.
func (s *Socket) Snapshot() ([]byte, error) { return s.snapshot() }

// PollFD returns a descriptor of the kernel's that is readable while the socket
// is (level-triggered: a receive would return at once), for programs with an
// event loop of their own. It is so too where poll(2) would say POLLERR or POLLHUP
// of a socket: for a pending error, and for as long as the error queue holds
// something. It stays the socket's: watch it, do not read it or
// close it; Close closes it. An in-band socket's is its own descriptor.
//
// Only a socket that was asked for one has it, and pays for it: a system call
// whenever it becomes readable, or ceases to be. EMFILE, ENFILE: there is no
// descriptor left. EBADF: the socket is closed.
func (s *Socket) PollFD() (int, error) { return s.pollFD() }

// SetPollEdges says whether each datagram and error makes a new edge at PollFD's descriptor for
// EPOLLET (epoll(7)), as with a socket of the kernel's, and not only the first that makes it readable. Each
// costs a system call.
func (s *Socket) SetPollEdges(on bool) error { return s.setPollEdges(on) }

// Close ends the socket. Calls that wait on it return EBADF.
func (s *Socket) Close() error { return s.close() }
