package oracle

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

type optionKey struct{ level, name int }

var levels = map[int]string{unix.SOL_SOCKET: "SOL_SOCKET", unix.SOL_IP: "SOL_IP", unix.SOL_UDP: "SOL_UDP",
	unix.SOL_RAW: "SOL_RAW", unix.SOL_TCP: "SOL_TCP", unix.SOL_IPV6: "SOL_IPV6", unix.SOL_PACKET: "SOL_PACKET", unix.SOL_ICMPV6: "SOL_ICMPV6"}

// OptionName names a socket option.
func OptionName(level, name int) string {
	for i := range Options {
		if o := &Options[i]; o.Level == level && o.Number == name {
			return o.Name
		}
	}
	l, ok := levels[level]
	if !ok {
		l = fmt.Sprint(level)
	}
	return fmt.Sprintf("%s.%d", l, name)
}

// cmsgNames are the control messages whose names are not their option's.
var cmsgNames = map[optionKey]string{
	{unix.SOL_IP, unix.IP_TTL}:                         "IP_TTL",
	{unix.SOL_IP, unix.IP_TOS}:                         "IP_TOS",
	{unix.SOL_SOCKET, unix.SCM_TIMESTAMP}:              "SCM_TIMESTAMP",
	{unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS}:            "SCM_TIMESTAMPNS",
	{unix.SOL_SOCKET, unix.SCM_TIMESTAMPING}:           "SCM_TIMESTAMPING",
	{unix.SOL_SOCKET, unix.SCM_RIGHTS}:                 "SCM_RIGHTS",
	{unix.SOL_SOCKET, unix.SCM_CREDENTIALS}:            "SCM_CREDENTIALS",
	{unix.SOL_SOCKET, unix.SCM_TXTIME}:                 "SCM_TXTIME",
	{unix.SOL_IP, unix.IP_RECVFRAGSIZE}:                "IP_RECVFRAGSIZE",
	{unix.SOL_IP, unix.IP_RECVORIGDSTADDR}:             "IP_ORIGDSTADDR",
	{unix.SOL_IP, unix.IP_RETOPTS}:                     "IP_RETOPTS",
	{unix.SOL_SOCKET, scmTSOptID}:                      "SCM_TS_OPT_ID",
	{unix.SOL_SOCKET, unix.SCM_TIMESTAMPING_OPT_STATS}: "SCM_TIMESTAMPING_OPT_STATS",
}

// scmTSOptID is SCM_TS_OPT_ID (Linux 6.13).
const scmTSOptID = 81

// CmsgName names a control message.
func CmsgName(level, typ int) string {
	if n, ok := cmsgNames[optionKey{level, typ}]; ok {
		return n
	}
	return OptionName(level, typ)
}

// msgFlag is a flag of send and receive calls.
type msgFlag struct {
	bit  int
	name string
}

var msgFlags = []msgFlag{
	{unix.MSG_OOB, "OOB"}, {unix.MSG_PEEK, "PEEK"}, {unix.MSG_DONTROUTE, "DONTROUTE"}, {unix.MSG_CTRUNC, "CTRUNC"},
	{unix.MSG_PROXY, "PROXY"}, {unix.MSG_TRUNC, "TRUNC"}, {unix.MSG_DONTWAIT, "DONTWAIT"}, {unix.MSG_EOR, "EOR"},
	{unix.MSG_WAITALL, "WAITALL"}, {unix.MSG_FIN, "FIN"}, {unix.MSG_SYN, "SYN"}, {unix.MSG_CONFIRM, "CONFIRM"},
	{unix.MSG_RST, "RST"}, {unix.MSG_ERRQUEUE, "ERRQUEUE"}, {unix.MSG_NOSIGNAL, "NOSIGNAL"}, {unix.MSG_MORE, "MORE"},
	{unix.MSG_WAITFORONE, "WAITFORONE"}, {unix.MSG_BATCH, "BATCH"}, {unix.MSG_ZEROCOPY, "ZEROCOPY"},
	{unix.MSG_FASTOPEN, "FASTOPEN"}, {unix.MSG_CMSG_CLOEXEC, "CMSG_CLOEXEC"},
}

// Events that x/sys/unix has no names for (poll(2)).
const (
	pollRDNORM = 0x40
	pollRDBAND = 0x80
	pollWRNORM = 0x100
	pollWRBAND = 0x200
)

var pollEvents = []msgFlag{
	{unix.POLLIN, "IN"}, {unix.POLLPRI, "PRI"}, {unix.POLLOUT, "OUT"}, {unix.POLLERR, "ERR"}, {unix.POLLHUP, "HUP"},
	{unix.POLLNVAL, "NVAL"}, {pollRDNORM, "RDNORM"}, {pollRDBAND, "RDBAND"}, {pollWRNORM, "WRNORM"},
	{pollWRBAND, "WRBAND"}, {unix.POLLRDHUP, "RDHUP"},
}

// events names the events of poll(2).
func events(e int) string { return names(pollEvents, e) }

// flagNames names the flags of a call.
func flagNames(flags int) string { return names(msgFlags, flags) }

// names returns the names of bits.
func names(table []msgFlag, flags int) string {
	if flags == 0 {
		return "0"
	}
	var out []string
	for _, f := range table {
		if flags&f.bit == f.bit {
			out = append(out, f.name)
			flags &^= f.bit
		}
	}
	if flags != 0 {
		out = append(out, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(out, "|")
}

func domainName(d int) string {
	switch d {
	case unix.AF_UNSPEC:
		return "AF_UNSPEC"
	case unix.AF_UNIX:
		return "AF_UNIX"
	case unix.AF_INET:
		return "AF_INET"
	case unix.AF_INET6:
		return "AF_INET6"
	case unix.AF_PACKET:
		return "AF_PACKET"
	case unix.AF_NETLINK:
		return "AF_NETLINK"
	default:
		return fmt.Sprint(d)
	}
}

func typeName(t int) string {
	name := fmt.Sprint(t & 0xf)
	switch t & 0xf {
	case unix.SOCK_STREAM:
		name = "SOCK_STREAM"
	case unix.SOCK_DGRAM:
		name = "SOCK_DGRAM"
	case unix.SOCK_RAW:
		name = "SOCK_RAW"
	case unix.SOCK_RDM:
		name = "SOCK_RDM"
	case unix.SOCK_SEQPACKET:
		name = "SOCK_SEQPACKET"
	case unix.SOCK_PACKET:
		name = "SOCK_PACKET"
	}
	if t&^0xf != 0 {
		name += fmt.Sprintf("|%#x", t&^0xf)
	}
	return name
}
