package ebpf

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/ebpf/asm"
)

// A ProgramType is a kind of program (enum bpf_prog_type).
type ProgramType uint32

// The kinds of programs: for sockets (SO_ATTACH_BPF), and for traffic control.
const (
	SocketFilter ProgramType = unix.BPF_PROG_TYPE_SOCKET_FILTER
	SchedCLS     ProgramType = unix.BPF_PROG_TYPE_SCHED_CLS
)

// A ProgramSpec says what program to load.
type ProgramSpec struct {
	Name         string
	Type         ProgramType
	License      string // "GPL", and a few more, permit more helpers
	Instructions asm.Instructions
}

// A Program is one of the kernel's.
type Program struct {
	fd  int
	typ ProgramType
}

// loadAttr is what BPF_PROG_LOAD takes.
type loadAttr struct {
	typ, count        uint32
	insns, license    uint64
	logLevel, logSize uint32
	log               uint64
	_, _              uint32 // a version of the kernel, flags
	name              [unix.BPF_OBJ_NAME_LEN]byte
}

// NewProgram loads a program, which the kernel verifies. Close ends it.
func NewProgram(s *ProgramSpec) (*Program, error) {
	code, err := s.Instructions.Assemble()
	if err != nil {
		return nil, err
	}
	var mem memory
	defer mem.Unpin()
	attr := loadAttr{typ: uint32(s.Type), count: uint32(len(code) / asm.Size), insns: mem.at(code),
		license: mem.at(append([]byte(s.License), 0)), name: name(s.Name)}
	fd, err := call(unix.BPF_PROG_LOAD, &attr)
	if err != nil {
		return nil, fmt.Errorf("bpf program %s: %w%s", s.Name, err, refusal(&attr, err))
	}
	return &Program{fd, s.Type}, nil
}

// refusal returns the end of what the verifier says, if it was that who refused a program.
func refusal(attr *loadAttr, err error) string {
	if err != unix.EACCES && err != unix.EINVAL {
		return ""
	}
	const most = 3 // lines
	var mem memory
	defer mem.Unpin()
	log := make([]byte, 1<<20)
	attr.logLevel, attr.logSize, attr.log = 1, uint32(len(log)), mem.at(log)
	if fd, err := call(unix.BPF_PROG_LOAD, attr); err == nil {
		_ = unix.Close(fd)
	}
	log, _, _ = bytes.Cut(log, []byte{0})
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	text := bytes.Join(lines[max(0, len(lines)-most):], []byte("; "))
	if len(text) == 0 {
		return ""
	}
	return ": " + string(text)
}

// FD returns the program's descriptor, which remains the program's.
func (p *Program) FD() int { return p.fd }

// Type returns what kind of program it is.
func (p *Program) Type() ProgramType { return p.typ }

// Close gives the program up. What it is attached to has it still.
func (p *Program) Close() error { return unix.Close(p.fd) }
