package calls

import (
	"encoding/binary"
	"unsafe"

	"github.com/outband/outband/sockapi"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Getsockopt is getsockopt(2): it stores as much as fits in value, and returns the length.
func (l *Library) Getsockopt(h, level, name int, value []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	n, err := s.Getsockopt(level, name, value)
	if err != nil {
		return fail(err)
	}
	return n
}

// Setsockopt is setsockopt(2).
func (l *Library) Setsockopt(h, level, name int, value []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if level == unix.SOL_SOCKET && (name == unix.SO_ATTACH_FILTER || name == unix.SO_ATTACH_REUSEPORT_CBPF) {
		return attach(s, name, value)
	}
	return fail(s.Setsockopt(level, name, value))
}

// attach attaches the program that value, a struct sock_fprog, points to.
func attach(s *sockapi.Socket, name int, value []byte) int {
	if uintptr(len(value)) != unsafe.Sizeof(unix.SockFprog{}) {
		return invalid
	}
	prog := (*unix.SockFprog)(unsafe.Pointer(&value[0]))
	if prog.Len == 0 || prog.Len > 4096 {
		return invalid
	}
	if prog.Filter == nil {
		return badMemory
	}
	program := make([]bpf.RawInstruction, prog.Len)
	for i, in := range unsafe.Slice(prog.Filter, prog.Len) {
		program[i] = bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	if name == unix.SO_ATTACH_FILTER {
		return fail(s.AttachFilter(program))
	}
	return fail(s.AttachReusePort(program))
}

// argument returns how many bytes the argument of a request of ioctl(2) has: no less than what is
// stored there.
func argument(request uint) int {
	switch request {
	case sockapi.FIONREAD, unix.SIOCOUTQ, sockapi.FIONBIO, sockapi.FIOASYNC, sockapi.FIOSETOWN, sockapi.FIOGETOWN,
		unix.SIOCSPGRP, unix.SIOCGPGRP:
		return 4
	case unix.SIOCGSTAMP, unix.SIOCGSTAMPNS, 0x80108906, 0x80108907: // the latter _NEW
		return 16
	default:
		return 40 // struct ifreq
	}
}

// Ioctl is ioctl(2).
func (l *Library) Ioctl(h int, request uint, arg unsafe.Pointer) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if request == unix.SIOCGIFCONF {
		return ifconf(s, (*ifConf)(arg))
	}
	var b []byte
	if arg != nil {
		b = unsafe.Slice((*byte)(arg), argument(request))
	}
	_, err := s.Ioctl(request, b)
	return fail(err)
}

// ifConf is a struct ifconf.
type ifConf struct {
	len int32
	_   [4]byte
	buf *byte
}

func ifconf(s *sockapi.Socket, c *ifConf) int {
	if c == nil {
		return badMemory
	}
	var b []byte
	if c.buf != nil {
		b = unsafe.Slice(c.buf, max(c.len, 0))
	}
	n, err := s.Ioctl(unix.SIOCGIFCONF, b)
	if err == nil {
		c.len = int32(n)
	}
	return fail(err)
}

// Fcntl is fcntl(2); arg is a pointer for F_SETOWN_EX and F_GETOWN_EX.
func (l *Library) Fcntl(h, cmd int, arg uintptr, owner unsafe.Pointer) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if cmd == unix.F_SETOWN_EX || cmd == unix.F_GETOWN_EX {
		if owner == nil {
			return badMemory
		}
		return fail(s.FcntlOwner(cmd, (*sockapi.FileOwner)(owner)))
	}
	n, err := s.Fcntl(cmd, int(arg))
	if err != nil {
		return fail(err)
	}
	return n
}

// Where stores how a socket's datagrams go (SO_OOB_PATH): by which way, and the device's index.
func (l *Library) Where(h int) (by, ifindex int32, e int) {
	s := l.socket(h)
	if s == nil {
		return 0, 0, l.noSocket(h)
	}
	var b [8]byte
	if _, err := s.Getsockopt(unix.SOL_SOCKET, sockapi.SO_OOB_PATH, b[:]); err != nil {
		return 0, 0, fail(err)
	}
	return int32(binary.NativeEndian.Uint32(b[:])), int32(binary.NativeEndian.Uint32(b[4:])), 0
}
