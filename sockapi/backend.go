package sockapi

import (
	"time"

	"github.com/outband/outband/sockapi/internal/epoll"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A backend is what makes a Socket's calls: [stackSocket] the stack, out-of-band,
// and [kernelSocket] the kernel, in-band. Its methods are the calls of the same
// names; all return EBADF if the socket is closed, before whatever else is wrong.
//
// A message is passed by its parts, not by a pointer, which an interface would have
// the compiler move to the heap: a caller's Msghdr stays on its stack.
type backend interface {
	outOfBand() bool
	Is() option.Kind
	closed() bool
	setNonblock(on bool) error

	nameable
	transferrer
	configurable
	waitable
}

// nameable is what a backend does about addresses and connections.
type nameable interface {
	bind(local Sockaddr) error
	connect(peer Sockaddr) error
	getsockname() (Sockaddr, error)
	getpeername() (Sockaddr, error)
	listen(backlog int) error
	accept(flags int) (*Socket, Sockaddr, error)
	shutdown(how int) error
	close() error
	// snapshot returns what Restore makes the same of; EOPNOTSUPP in-band.
	snapshot() ([]byte, error)
	// holder returns the descriptor of the in-band socket that holds the port; ENOENT:
	// there is none.
	holder() (int, error)
}

// transferrer is how a backend sends and receives.
type transferrer interface {
	recv(p []byte, flags int) (int, error)
	recvfrom(p []byte, flags int) (int, Sockaddr, error)
	recvmsg(iov [][]byte, control []byte, flags int) (received, error)
	recvmmsg(msgs []Mmsghdr, flags int, timeout time.Duration) (int, error)
	// recvmsgWith and recvmmsgWith are for calls that h may cut short.
	recvmsgWith(h *stack.Handle, iov [][]byte, control []byte, flags int) (received, error)
	recvmmsgWith(h *stack.Handle, msgs []Mmsghdr, flags int) (int, error)
	send(p []byte, flags int) (int, error)
	sendto(p []byte, flags int, to Sockaddr) (int, error)
	sendmsg(to Sockaddr, iov [][]byte, control []byte, flags int) (int, error)
	sendmmsg(msgs []Mmsghdr, flags int) (int, error)

	// EVL's: they wait until end, a deadline of the stack's.
	oobRecvmsg(iov [][]byte, control []byte, flags int, end int64) (received, error)
	oobSendmsg(to Sockaddr, iov [][]byte, control []byte, flags int, end int64) (int, error)
	solicit(peer Sockaddr, flags int) error
}

// received is what recvmsg tells beside the bytes: the length that it returns, and
// what it stores in a Msghdr.
type received struct {
	n                 int
	name              Sockaddr
	controlLen, flags int
}

// store stores in m what was received, and returns its length.
func (r *received) store(m *Msghdr) int {
	m.Name, m.ControlLen, m.Flags = r.name, r.controlLen, r.flags
	return r.n
}

// configurable is how a backend is set up and asked.
type configurable interface {
	setsockopt(level, name int, value []byte) error
	getsockopt(level, name int, value []byte) (int, error)
	// attachFilter and attachReusePort take programs of 1 to BPF_MAXINSNS instructions.
	attachFilter(program []bpf.RawInstruction) error
	attachReusePort(program []bpf.RawInstruction) error
	fcntl(cmd, arg int) (int, error)
	owner() (FileOwner, error)
	setOwner(o FileOwner) error
	ioctl(req uint, arg []byte) (int, error)
}

// waitable is how a backend is waited for.
type waitable interface {
	pollFD() (int, error)
	setPollEdges(on bool) error
	// waited tells the budget to spin of a wait elsewhere, in nanoseconds.
	waited(took int64)
	epollCtl(e *epoll.Set, op int, ev epoll.Event) error

	// holdFD returns the descriptor that poll(2) is to be asked about, which stays
	// the socket's until releaseFD; -1: there is none, and events and watch tell.
	holdFD() (int, error)
	releaseFD()
	// events returns which of want hold now.
	events(want uint32) uint32
	// watch has w told of what happens. It returns false if it is not, and then
	// there is nothing to unwatch.
	watch(w *stack.Watch) bool
	unwatch(w *stack.Watch)

	// They end waits at a time of the stack's clock: see Socket.SetReadDeadlineAt.
	setReadDeadline(at int64) error
	setWriteDeadline(at int64) error
}

var (
	_ backend = (*stackSocket)(nil)
	_ backend = (*kernelSocket)(nil)
)

// orClosed returns EBADF if the socket is closed, before whatever else is wrong with
// a call, and else err.
func (s *Socket) orClosed(err error) error {
	if s.closed() {
		return unix.EBADF
	}
	return err
}
