package inband

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of struct netconfmsg's messages (linux/netconf.h).
const (
	netconfIndex      = 1 // NETCONFA_IFINDEX
	netconfForwarding = 2 // NETCONFA_FORWARDING

	netconfLen = 4 // of struct netconfmsg: a family, padded
)

// netconfMessage is struct netconfmsg.
type netconfMessage struct{ family uint8 }

func (m netconfMessage) Len() int          { return netconfLen }
func (m netconfMessage) Serialize() []byte { return []byte{m.family, 0, 0, 0} }

// forwardsLocked reports whether the kernel forwards what comes by the device
// (net.ipv4.conf.DEVICE.forwarding). If it cannot be asked, it does not.
func (g *Guest) forwardsLocked() bool {
	if g.index == 0 {
		return false
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETNETCONF, 0)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: g.ask}
	req.AddData(netconfMessage{unix.AF_INET})
	req.AddData(nl.NewRtAttr(netconfIndex, nl.Uint32Attr(uint32(g.index))))
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNETCONF)
	if err != nil {
		return false
	}
	return forwardingIn(answers)
}

// forwardingIn returns what the kernel's answers say of forwarding.
func forwardingIn(answers [][]byte) bool {
	for _, b := range answers {
		if len(b) < netconfLen {
			continue
		}
		attrs, err := nl.ParseRouteAttr(b[netconfLen:])
		if err != nil {
			continue
		}
		for _, a := range attrs {
			if a.Attr.Type == netconfForwarding && len(a.Value) >= 4 {
				return binary.NativeEndian.Uint32(a.Value) != 0
			}
		}
	}
	return false
}
