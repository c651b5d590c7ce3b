package device

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// An event is something that happens to the near end's device, and its end.
type event struct {
	name       string
	begin, end func(h *host)
	// is tells what the device is like meanwhile; told, the same of what the stack of
	// ours is told, nil: no other.
	is, told func(h *host, d netlab.Device) bool
	carries  bool // datagrams get through meanwhile
}

// renamed is the name that the device has while it is renamed.
const renamed = "other0"

// The MTU and the MAC address that it has while those are changed.
const smallMTU = 1000

var otherMAC = [6]byte{2, 0, 10, 9, 0, 77}

var events = []event{
	{name: "down",
		begin: func(h *host) { check(h.t, h.near.SetDown(h.near.Name)) },
		end:   func(h *host) { check(h.t, h.near.SetUp(h.near.Name)) },
		is:    func(_ *host, d netlab.Device) bool { return d.Index != 0 && !d.Up }},
	{name: "no carrier",
		begin: func(h *host) { check(h.t, h.far.SetDown(h.far.Name)) },
		end:   func(h *host) { check(h.t, h.far.SetUp(h.far.Name)) },
		is:    func(_ *host, d netlab.Device) bool { return d.Up && !d.Running }},
	{name: "dormant", carries: true,
		begin: func(h *host) { h.dormant(true) },
		end:   func(h *host) { h.dormant(false) },
		is:    func(_ *host, d netlab.Device) bool { return d.Up && !d.Running },
		told:  func(_ *host, d netlab.Device) bool { return d.Up && d.Running }},
	{name: deleted, begin: remove, is: absent,
		end: func(h *host) { h.makeAgain(h.index) }},
	{name: deletedElse, begin: remove, is: absent,
		end: func(h *host) { h.makeAgain(h.index + 10) }},
	{name: "renamed", carries: true,
		begin: func(h *host) { h.rename(h.near.Name, renamed) },
		end:   func(h *host) { h.rename(renamed, h.near.Name) },
		is:    func(_ *host, d netlab.Device) bool { return d.Name == renamed && d.Running }},
	{name: moved, is: absent,
		begin: func(h *host) { check(h.t, h.near.MoveDevice(h.near.Name, h.away)) },
		end: func(h *host) {
			check(h.t, h.away.MoveDevice(h.near.Name, h.near.Namespace))
			check(h.t, h.near.SetUp(h.near.Name))
		}},
	{name: "smaller MTU", carries: true,
		begin: func(h *host) { check(h.t, h.near.SetMTU(h.near.Name, smallMTU)) },
		end:   func(h *host) { check(h.t, h.near.SetMTU(h.near.Name, 1500)) },
		is:    func(_ *host, d netlab.Device) bool { return d.MTU == smallMTU }},
	{name: "another MAC address", carries: true,
		begin: func(h *host) { check(h.t, h.near.SetHardwareAddr(h.near.Name, otherMAC)) },
		end:   func(h *host) { check(h.t, h.near.SetHardwareAddr(h.near.Name, h.near.MAC)) },
		is:    func(_ *host, d netlab.Device) bool { return d.HardwareAddr == otherMAC }},
}

func remove(h *host) { check(h.t, h.near.DeleteDevice(h.near.Name)) }

func absent(_ *host, d netlab.Device) bool { return d.Index == 0 }

// asBefore is what the device is like when all is over.
func asBefore(h *host, d netlab.Device) bool {
	return d.Name == h.near.Name && d.Up && d.Running && d.MTU == 1500 && d.HardwareAddr == h.near.MAC
}

// makeAgain makes the pair of devices again, the near one with an index.
func (h *host) makeAgain(index int) {
	check(h.t, h.near.AddVeth(netlab.Veth{Name: h.near.Name, PeerName: h.far.Name, Peer: h.far.Namespace,
		MTU: 1500, Index: index, MAC: h.near.MAC, PeerMAC: h.far.MAC}))
	check(h.t, h.far.SetSysctl("net/ipv4/neigh/"+h.far.Name+"/locktime", "0"))
	check(h.t, h.far.AddAddress(h.far.Name, h.far.Prefix()))
	check(h.t, h.far.SetUp(h.far.Name))
	check(h.t, h.near.SetUp(h.near.Name))
}

func (h *host) rename(from, to string) {
	d, err := h.near.Device(from)
	check(h.t, err)
	h.setLink(d.Index, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(to)))
}

// dormant has the device wait for somebody to say that it may be used (802.1X's
// supplicant does so), or says it (IF_LINK_MODE_DORMANT, IF_OPER_DORMANT).
func (h *host) dormant(on bool) {
	const operUp, operDormant = 6, 5
	mode, state := []byte{0}, []byte{operUp}
	if on {
		mode, state = []byte{1}, []byte{operDormant}
	}
	d, err := h.near.Device(h.near.Name)
	check(h.t, err)
	h.setLink(d.Index, nl.NewRtAttr(unix.IFLA_LINKMODE, mode), nl.NewRtAttr(unix.IFLA_OPERSTATE, state))
}

// setLink sets attributes of a device of the near end (rtnetlink(7), RTM_SETLINK).
func (h *host) setLink(index int, attrs ...*nl.RtAttr) {
	check(h.t, h.near.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index)
		req.AddData(msg)
		for _, a := range attrs {
			req.AddData(a)
		}
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	}))
}
