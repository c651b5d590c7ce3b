package option

import (
	"encoding/binary"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Numbers that x/sys/unix has no names for (asm-generic/socket.h, linux/in.h).
const (
	soPassPidfd  = 76
	soPeerPidfd  = 77
	soPassRights = 83
	ipProtocol   = 52 // IP_PROTOCOL
)

// noopOptions are those that do no more on Linux' datagram sockets either: flags
// that are kept and have no effect, features that only other kinds of sockets
// have, and numbers that are not known.
var noopOptions = map[optionKey]option{
	// For TCP's and the kernel's own messages.
	{unix.SOL_SOCKET, unix.SO_DEBUG}:      kept(func(s *State) *atomic.Int32 { return &s.stored.debug }, asBool),
	{unix.SOL_SOCKET, unix.SO_BSDCOMPAT}:  integer(func(*State) int { return 0 }, func(*State, int) error { return nil }),
	{unix.SOL_SOCKET, unix.SO_CNX_ADVICE}: integer(nil, adviseConnection),

	// Of AF_UNIX and AF_NETLINK.
	{unix.SOL_SOCKET, unix.SO_PASSCRED}:   unsupported,
	{unix.SOL_SOCKET, unix.SO_PASSSEC}:    unsupported,
	{unix.SOL_SOCKET, soPassPidfd}:        unsupported,
	{unix.SOL_SOCKET, soPassRights}:       unsupported,
	{unix.SOL_SOCKET, unix.SO_PEERCRED}:   {variable: true, getN: noCredentials},
	{unix.SOL_SOCKET, unix.SO_PEERGROUPS}: {getN: noData},
	{unix.SOL_SOCKET, soPeerPidfd}:        {getN: noData},

	// Of TCP, or of what there may be in a kernel and is not here: programs of
	// eBPF, memory that is charged to control groups, NAPI.
	{unix.SOL_SOCKET, unix.SO_TXREHASH}:              unsupported,
	{unix.SOL_SOCKET, unix.SO_ATTACH_BPF}:            integer(nil, refuseEBPF),
	{unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF}: integer(nil, refuseEBPF),
	{unix.SOL_SOCKET, unix.SO_RESERVE_MEM}:           integer(func(*State) int { return 0 }, refuseMemory),
	{unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID}:      readOnly(func(*State) int { return 0 }),

	// IP_MINTTL is looked at for TCP only; IP_RECVTTL tells what a datagram had.
	{unix.SOL_IP, unix.IP_MINTTL}: atLeast(1, integer(
		func(s *State) int { return int(s.stored.minTTL.Load()) },
		func(s *State, v int) error {
			if v < 0 || v > math.MaxUint8 {
				return unix.EINVAL
			}
			s.stored.minTTL.Store(int32(v))
			return nil
		})),
	{unix.SOL_IP, unix.IP_ROUTER_ALERT}: integer(func(*State) int { return 0 }, func(s *State, _ int) error {
		if s.IsRaw() {
			return unix.ENOPROTOOPT // for routers, whose raw sockets it is for
		}
		return unix.EINVAL
	}),
	// A number of the kernel's own: of TCP's and UDP's sockets it is the port.
	{unix.SOL_IP, ipProtocol}: readOnly(func(s *State) int { return int(s.Socket.LocalAddr().Port()) }),

	// Of sockets of IPv6.
	{unix.SOL_UDP, unix.UDP_NO_CHECK6_TX}: kept(func(s *State) *atomic.Int32 { return &s.stored.noCheck6TX }, asBool),
	{unix.SOL_UDP, unix.UDP_NO_CHECK6_RX}: kept(func(s *State) *atomic.Int32 { return &s.stored.noCheck6RX }, asBool),
}

// unsupported is an option that Linux knows, and refuses for such sockets.
var unsupported = option{
	set:  func(*State, []byte) error { return unix.EOPNOTSUPP },
	getN: func(*State, []byte) (int, error) { return 0, unix.EOPNOTSUPP },
}

// refuseMemory is SO_RESERVE_MEM where memory is charged to no control group.
func refuseMemory(_ *State, v int) error {
	if v < 0 {
		return unix.EINVAL
	}
	return unix.EOPNOTSUPP
}

// refuseEBPF says of a descriptor what Linux says of one that is no program of
// eBPF: such programs run in the kernel only.
func refuseEBPF(s *State, fd int) error {
	if s.filterLocked.Load() {
		return unix.EPERM
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return err
	}
	return unix.EINVAL
}

func noData(*State, []byte) (int, error) { return 0, unix.ENODATA }

// noCredentials is SO_PEERCRED: struct ucred of no process.
func noCredentials(_ *State, b []byte) (int, error) {
	var cred [12]byte
	binary.NativeEndian.PutUint32(cred[4:], math.MaxUint32)
	binary.NativeEndian.PutUint32(cred[8:], math.MaxUint32)
	return copy(b, cred[:]), nil
}

// adviseConnection is SO_CNX_ADVICE: with 1 the route to the peer is looked up
// anew.
func adviseConnection(s *State, v int) error {
	if v == 1 {
		s.K.RenewPaths()
	}
	return nil
}
