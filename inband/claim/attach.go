package claim

import (
	"errors"
	"fmt"
	"slices"

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
	program, err := c.classicLocked().assemble()
	if err != nil {
		return err
	}
	if err := attachClassic(fd, program, c.allUDPLocked); err != nil {
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
		c.classic = nil
		return nil
	}
	program, err := c.classicLocked().assemble()
	if err != nil || c.classic != nil && slices.Equal(program, c.classic) {
		return err
	}
	c.classic = nil
	for fd, had := range c.sockets {
		// A descriptor that was closed behind our back may be another file by now.
		if now, gone := inode(fd); gone != nil || now != had {
			delete(c.sockets, fd)
			continue
		}
		err = errors.Join(err, attachClassic(fd, program, c.allUDPLocked))
	}
	if err == nil {
		c.classic = program
	}
	return err
}

// inode tells sockets apart.
func inode(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Ino, err
}

// allUDPLocked returns the filter without ports.
func (c *Claims) allUDPLocked() ([]bpf.RawInstruction, error) {
	p := c.classicLocked()
	p.ports = nil
	return p.assemble()
}

// attachClassic has a socket take what a filter takes. Where there is no memory for it
// (net.core.optmem_max) it gets a shorter one.
func attachClassic(fd int, program []bpf.RawInstruction, shorter func() ([]bpf.RawInstruction, error)) error {
	err := attachProgram(fd, program)
	if err == unix.ENOMEM {
		if program, err = shorter(); err == nil {
			err = attachProgram(fd, program)
		}
	}
	return err
}

// attachProgram makes a socket accept only what the program accepts (SO_ATTACH_FILTER,
// socket(7)).
func attachProgram(fd int, program []bpf.RawInstruction) error {
	insns := make([]unix.SockFilter, len(program))
	for i, in := range program {
		insns[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(insns)), Filter: &insns[0]})
}
