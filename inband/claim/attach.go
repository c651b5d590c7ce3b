package claim

import (
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// maxSockets bounds the packet sockets with a classic filter.
const maxSockets = 4096

// AttachFilter has a packet socket, of type SOCK_RAW, take only what is claimed, ARP,
// and what ICMP says of claims: before it is bound, so that it never takes anything else.
// Doing it again does no harm. Call RemoveFilter before the descriptor is closed. ENOBUFS:
// 4096 sockets have a filter of classic BPF.
func (c *Claims) AttachFilter(fd int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errClosed
	case c.filter != nil:
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, c.filter.FD())
	case c.sockets[fd] == 0 && len(c.sockets) >= maxSockets:
		return fmt.Errorf("too many sockets: %w", unix.ENOBUFS)
	}
	inode, err := inode(fd)
	if err != nil {
		return err
	}
	if err := attachClassic(fd, c.classicLocked()); err != nil {
		return err
	}
	c.sockets[fd] = inode
	return nil
}

// RemoveFilter forgets a packet socket, whose filter stays as it is. Call it before the
// descriptor is closed.
func (c *Claims) RemoveFilter(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sockets, fd)
}

// classifyLocked gives the sockets that have a classic filter a new one.
func (c *Claims) classifyLocked() error {
	if len(c.sockets) == 0 {
		return nil
	}
	program := c.classicLocked()
	var failed error
	for fd, had := range c.sockets {
		// A descriptor that was closed behind our back may be another file by now.
		if now, err := inode(fd); err != nil || now != had {
			delete(c.sockets, fd)
			continue
		}
		failed = errors.Join(failed, attachClassic(fd, program))
	}
	return failed
}

// inode tells sockets apart.
func inode(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Ino, err
}

// attachClassic makes a socket accept only what the program accepts (SO_ATTACH_FILTER,
// socket(7)). Where there is no memory for so many ports (net.core.optmem_max) that is all
// UDP.
func attachClassic(fd int, p classicProgram) error {
	program, err := p.assemble()
	if err != nil {
		return err
	}
	err = attachProgram(fd, program)
	if err == unix.ENOMEM && p.ports != nil {
		p.ports = nil
		return attachClassic(fd, p)
	}
	return err
}

func attachProgram(fd int, program []bpf.RawInstruction) error {
	insns := make([]unix.SockFilter, len(program))
	for i, in := range program {
		insns[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(insns)), Filter: &insns[0]})
}
