package gonet

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"syscall"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// A SyscallUDPConn is a UDPConn for programs that insist on SyscallConn to set options by
// descriptor, as quic-go does before it sends several datagrams by one call: see
// WithSyscallConn.
type SyscallUDPConn struct {
	*UDPConn
	raw *rawConn
}

// WithSyscallConn gives a connection a SyscallConn. The descriptor is that of a socket of the
// kernel's, bound to nothing, that stands in for the connection: it shows the
// connection's options, and what Control's function sets of it the connection is set to when
// the function returns. That goes for the options of socket(7), ip(7) and udp(7) whose value is
// an int and that a program may set: buffers, TTL and TOS, path MTU discovery, UDP_SEGMENT and
// UDP_GRO, control messages, multicast TTL and loopback.
//
// Memberships, source filters and packet filters are not seen on a descriptor: Control is
// EOPNOTSUPP, and undone, if the function has set one. [NewPacketConn] has them. Read and
// Write, which would be at the descriptor itself, are EOPNOTSUPP.
func WithSyscallConn(c *UDPConn) (*SyscallUDPConn, error) {
	if !c.ok() {
		return nil, errInvalid
	}
	return &SyscallUDPConn{c, &rawConn{c: c}}, nil
}

// SyscallConn returns the connection of the socket that stands in. It implements syscall.Conn.
func (c *SyscallUDPConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// rawConn is what SyscallConn returns.
type rawConn struct {
	c  *UDPConn
	mu sync.Mutex // one function at a time has a stand-in
}

// Control calls f with the descriptor of the socket that stands in; f may not keep it.
func (r *rawConn) Control(f func(fd uintptr)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.control(f); err != nil {
		return opError("raw-control", r.c.network, nil, r.c.laddr, err)
	}
	return nil
}

// Read implements syscall.RawConn.
func (r *rawConn) Read(func(fd uintptr) bool) error {
	return opError("raw-read", r.c.network, nil, r.c.laddr, unix.EOPNOTSUPP)
}

// Write implements syscall.RawConn.
func (r *rawConn) Write(func(fd uintptr) bool) error {
	return opError("raw-write", r.c.network, nil, r.c.laddr, unix.EOPNOTSUPP)
}

func (r *rawConn) control(f func(fd uintptr)) error {
	if err := r.c.closedError(); err != nil {
		return net.ErrClosed
	}
	in, err := r.c.s.API().Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return syscallError("socket", err)
	}
	defer in.Close()
	fd, err := in.PollFD()
	if err != nil {
		return err
	}
	r.show(in)
	before, memory := optionsOf(in), optionMemory(in)
	f(uintptr(fd))
	if optionMemory(in) != memory {
		return unix.EOPNOTSUPP
	}
	return r.take(before, optionsOf(in))
}

// mirrored are the options that the stand-in shows and takes.
var mirrored = [...]struct{ level, name int }{
	{unix.SOL_SOCKET, unix.SO_RCVBUF}, {unix.SOL_SOCKET, unix.SO_SNDBUF},
	{unix.SOL_SOCKET, unix.SO_BROADCAST}, {unix.SOL_SOCKET, unix.SO_DONTROUTE},
	{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT},
	{unix.SOL_SOCKET, unix.SO_NO_CHECK}, {unix.SOL_SOCKET, unix.SO_PRIORITY},
	{unix.SOL_SOCKET, unix.SO_MARK}, {unix.SOL_SOCKET, unix.SO_BUSY_POLL},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPNS},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING}, {unix.SOL_SOCKET, unix.SO_RXQ_OVFL},
	{unix.SOL_SOCKET, unix.SO_INCOMING_CPU}, {unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX},
	{unix.SOL_IP, unix.IP_TOS}, {unix.SOL_IP, unix.IP_TTL}, {unix.SOL_IP, unix.IP_MTU_DISCOVER},
	{unix.SOL_IP, unix.IP_RECVERR}, {unix.SOL_IP, unix.IP_RECVTOS}, {unix.SOL_IP, unix.IP_RECVTTL},
	{unix.SOL_IP, unix.IP_PKTINFO}, {unix.SOL_IP, unix.IP_RECVOPTS}, {unix.SOL_IP, unix.IP_RETOPTS},
	{unix.SOL_IP, unix.IP_RECVORIGDSTADDR}, {unix.SOL_IP, unix.IP_FREEBIND}, {unix.SOL_IP, unix.IP_TRANSPARENT},
	{unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT}, {unix.SOL_IP, unix.IP_UNICAST_IF},
	{unix.SOL_IP, unix.IP_MULTICAST_TTL}, {unix.SOL_IP, unix.IP_MULTICAST_LOOP}, {unix.SOL_IP, unix.IP_MULTICAST_ALL},
	{unix.SOL_UDP, unix.UDP_SEGMENT}, {unix.SOL_UDP, unix.UDP_GRO}, {unix.SOL_UDP, unix.UDP_CORK},
}

// values are those of mirrored.
type values [len(mirrored)]int

func optionsOf(in *sockapi.Socket) (v values) {
	for i, o := range mirrored {
		v[i], _ = in.GetsockoptInt(o.level, o.name)
	}
	return v
}

// doubled reports whether the kernel and the stack double what is set of an option.
func doubled(name int) bool { return name == unix.SO_RCVBUF || name == unix.SO_SNDBUF }

// show sets the stand-in to the connection's options, as far as the kernel lets it. Buffers come
// first as what whoever has the privilege may set.
func (r *rawConn) show(in *sockapi.Socket) {
	for _, o := range mirrored {
		v, err := r.c.s.GetsockoptInt(o.level, o.name)
		if err != nil {
			continue
		}
		if now, err := in.GetsockoptInt(o.level, o.name); err != nil || now == v {
			continue
		}
		if o.level == unix.SOL_SOCKET && doubled(o.name) {
			if in.SetsockoptInt(o.level, forced(o.name), v/2) == nil {
				continue
			}
			v /= 2
		}
		_ = in.SetsockoptInt(o.level, o.name, v) // it shows what it can
	}
}

// forced returns the option that sets a buffer beyond the limit.
func forced(name int) int {
	if name == unix.SO_RCVBUF {
		return unix.SO_RCVBUFFORCE
	}
	return unix.SO_SNDBUFFORCE
}

// take sets the connection to what has changed of the stand-in's options.
func (r *rawConn) take(before, after values) error {
	var errs []error
	for i, o := range mirrored {
		if after[i] == before[i] {
			continue
		}
		errs = append(errs, syscallError("setsockopt", r.set(o.level, o.name, after[i])))
	}
	return errors.Join(errs...)
}

func (r *rawConn) set(level, name, v int) error {
	if level != unix.SOL_SOCKET || !doubled(name) {
		return r.c.s.SetsockoptInt(level, name, v)
	}
	if err := r.c.s.SetsockoptInt(level, forced(name), v/2); err != unix.EPERM {
		return err
	}
	return r.c.s.SetsockoptInt(level, name, v/2)
}

// skMeminfoOptmem is the place in SO_MEMINFO of what a socket's options take (SK_MEMINFO_OPTMEM of
// linux/sock_diag.h): memberships, source filters and packet filters.
const skMeminfoOptmem = 6

func optionMemory(in *sockapi.Socket) uint32 {
	var b [4 * (skMeminfoOptmem + 1)]byte
	if n, err := in.Getsockopt(unix.SOL_SOCKET, unix.SO_MEMINFO, b[:]); err != nil || n < len(b) {
		return 0
	}
	return binary.NativeEndian.Uint32(b[4*skMeminfoOptmem:])
}
