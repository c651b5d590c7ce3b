package icmp

import "golang.org/x/sys/unix"

// unreach is Linux' icmp_err_convert: what each code of DestinationUnreachable
// means, and whether it is hard. RFC 1122, 3.2.2.1: net and host unreachable and
// a failed source route may pass, and is no proof.
var unreach = [numDestinationUnreachs]struct {
	errno unix.Errno
	hard  bool
}{
	CodeNet:              {unix.ENETUNREACH, false},
	CodeHost:             {unix.EHOSTUNREACH, false},
	CodeProtocol:         {unix.ENOPROTOOPT, true},
	CodePort:             {unix.ECONNREFUSED, true},
	CodeFragmentation:    {unix.EMSGSIZE, false},
	CodeSourceRoute:      {unix.EOPNOTSUPP, false},
	CodeNetUnknown:       {unix.ENETUNREACH, true},
	CodeHostUnknown:      {unix.EHOSTDOWN, true},
	CodeHostIsolated:     {unix.ENONET, true},
	CodeNetProhibited:    {unix.ENETUNREACH, true},
	CodeHostProhibited:   {unix.EHOSTUNREACH, true},
	CodeNetTOS:           {unix.ENETUNREACH, false},
	CodeHostTOS:          {unix.EHOSTUNREACH, false},
	CodeFiltered:         {unix.EHOSTUNREACH, true},
	CodePrecedence:       {unix.EHOSTUNREACH, true},
	CodePrecedenceCutoff: {unix.EHOSTUNREACH, true},
}

// Errno returns what an error means to the socket that sent the quoted
// datagram, as Linux has it. ok is false for what no socket hears of: source
// quench (RFC 6633), redirects, expired reassembly, codes and types that Linux
// does not know.
//
// A socket with IP_RECVERR hears of all, any other only if it is connected and
// the error is hard. CodeFragmentation is more than its table's entry: it is
// hard to a socket whose IP_MTU_DISCOVER is not IP_PMTUDISC_DONT, and unheard
// by any other, with IP_RECVERR or not.
func Errno(typ, code uint8) (errno unix.Errno, hard bool, ok bool) {
	switch typ {
	case DestinationUnreachable:
		if code <= maxUnreachCode {
			return unreach[code].errno, unreach[code].hard, true
		}
	case TimeExceeded:
		if code != CodeReassembly {
			return unix.EHOSTUNREACH, false, true
		}
	case ParameterProblem:
		return unix.EPROTO, true, true
	}
	return 0, false, false
}

// Reported reports whether sockets are told of errors of a type and code at all.
// They are not of codes that do not exist, and not of reassembly that took too
// long: the datagram may have been whole elsewhere (Linux' icmp_unreach).
func Reported(typ, code uint8) bool {
	switch typ {
	case DestinationUnreachable:
		return code <= maxUnreachCode
	case TimeExceeded:
		return code != CodeReassembly
	}
	return true
}

// PingErrno is Errno for ping sockets, which are told of source quench and redirects
// too if they have IP_RECVERR (Linux' ping_err).
func PingErrno(typ, code uint8) (errno unix.Errno, hard bool, ok bool) {
	if typ == SourceQuench || typ == Redirect {
		return unix.EREMOTEIO, false, true
	}
	return Errno(typ, code)
}
