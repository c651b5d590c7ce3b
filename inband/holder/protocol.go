package holder

import (
	"github.com/outband/outband/internal/descriptor"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// HoldProtocol keeps the kernel from answering datagrams of an IP protocol by a protocol
// unreachable (RFC 1122, 3.2.2.1), as it does while a raw socket is open for the protocol,
// until release is called. The in-band raw socket behind it receives nothing. EPERM:
// CAP_NET_RAW is missing.
func (h *Holders) HoldProtocol(protocol uint8) (release func(), e unix.Errno) {
	fd := -1
	err := h.space.Do(func() (err error) {
		fd, err = descriptor.Socket(unix.AF_INET, unix.SOCK_RAW, int(protocol))
		return err
	})
	if err == nil {
		err = attach(fd, nothing)
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, errnoOf(err)
	}
	return func() { unix.Close(fd) }, 0
}

// nothing is the filter that drops all.
var nothing = assemble([]bpf.Instruction{bpf.RetConstant{Val: drop}})
