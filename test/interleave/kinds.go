package interleave

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/oracle"
)

// A socketKind is one of a program's sockets. It is opened by the first step that
// wants it.
type socketKind struct {
	name  string
	typ   int
	proto int
	vague bool // a byte is all of what it receives that two hosts have in common
	set   func(k *oracle.Sock)
}

// sockets are those of a program.
var sockets = []socketKind{
	{name: "a", typ: unix.SOCK_DGRAM},
	{name: "b", typ: unix.SOCK_DGRAM},
	{name: "c", typ: unix.SOCK_DGRAM, set: curious},
	{name: "d", typ: unix.SOCK_DGRAM, set: curious},
	{name: "ping", typ: unix.SOCK_DGRAM, proto: unix.IPPROTO_ICMP, vague: true, set: curious},
	{name: "raw", typ: unix.SOCK_RAW, proto: rawProtocol, vague: true, set: curious},
}

// sendmsg is the step that may say by which device.
const sendmsg = "sendmsg"

// rawProtocol is of no protocol that hosts know (RFC 3692).
const rawProtocol = 253

// curious has a socket told all that there is to tell of what it receives. It is asked
// for at once: of what has come before see README's differences.
func curious(k *oracle.Sock) {
	for _, o := range []int{unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_RECVERR, unix.IP_RECVOPTS} {
		k.Set(unix.SOL_IP, o, 1)
	}
}

// A stepKind is what a step does.
type stepKind struct {
	name   string
	weight int
	slow   bool // the kernel takes milliseconds and more
	// changes says that it changes addresses or routes.
	changes bool
	do      func(p *play, k *oracle.Sock, s *Step)
}

var kinds []stepKind

func init() {
	kinds = slices.Concat(callKinds, frameKinds, configKinds)
	kindOf = weigh()
}

// kindOf says which kind a byte is, so that each comes as often as it weighs.
var kindOf [256]int

func weigh() (table [256]int) {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	kind, until := 0, kinds[0].weight
	for i := range table {
		for i*total/len(table) >= until {
			kind++
			until += kinds[kind].weight
		}
		table[i] = kind
	}
	return table
}

// pick returns one of a list by chance.
func pick[T any](list []T, chance byte) T { return list[int(chance)%len(list)] }
