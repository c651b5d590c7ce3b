package claim

import "golang.org/x/sys/unix"

// A Claim says which datagrams a socket would get from the kernel.
type Claim struct {
	// Local is the address to which the socket is bound: one of the host's, a group or a
	// broadcast address; zero: all of the host's.
	Local [4]byte
	// Port is the socket's port, in host order, never 0.
	Port uint16
	// Peer and PeerPort are what a connected socket gets datagrams from, and only from
	// there; it has a Local. Zero: from anybody.
	Peer     [4]byte
	PeerPort uint16
	// Device is the index of the device to which the socket is bound (SO_BINDTODEVICE);
	// zero: none. Such claims are left to the holder where nf_tables does the work.
	Device int
	// Shared says that sockets of others may have the port as well: its holder has, or has
	// had, SO_REUSEADDR or SO_REUSEPORT. While a port has one claim that is Shared, its
	// unicast datagrams are not claimed: the kernel knows which socket each is for, and gives
	// it to the holder, or to another one. Groups and broadcasts, which are for every socket
	// that wants them, are the rings' in any case, and then the kernel has them too.
	Shared bool
}

// valid returns EINVAL for a claim that no socket can have.
func (c Claim) valid() error {
	connected := c.Peer != [4]byte{}
	if c.Port == 0 || c.Device < 0 || connected != (c.PeerPort != 0) || connected && c.Local == [4]byte{} {
		return unix.EINVAL
	}
	return nil
}

// key returns what tells the claim from others: all but Shared.
func (c Claim) key() Claim {
	c.Shared = false
	return c
}

// wild reports whether the claim is by its port and the host's addresses only.
func (c Claim) wild() bool { return c.Local == [4]byte{} && c.Device == 0 }

// exact reports whether the claim is of a connected socket.
func (c Claim) exact() bool { return c.PeerPort != 0 }

// Flags of a port, as the programs read them: which lookups can find something.
const (
	flagWild      = 1 << iota // claimed at all of the host's addresses
	flagWildAlone             // and nobody else can have the port
	flagLocal                 // there are claims of an address
	flagExact                 // there are claims of connected sockets
	flagDevice                // there are claims of sockets bound to a device
	flagIdent                 // the identifier of an open ping socket
	flagShared                // one of the claims is Shared
	flagsClaimed  = flagIdent - 1
)

// Values of a claim in the programs' maps.
const (
	valueClaimed = 1
	valueAlone   = 2 // and nobody else can have the port
)

// Values of an address in the programs' map, above a port's flags.
const (
	addressOwn   = 0x100 // the host's
	addressMany  = 0x200 // a broadcast address; groups need no entry
	addressBound = 0x400 // of a claim
)

// A table counts claims. It is the truth, of which the maps of the programs, the sets of
// nf_tables and the classic filter are copies.
type table struct {
	claims map[Claim]int // how many there are, by key
	ports  map[uint16]*portUses
	bound  map[[4]byte]int // claims by their address
	hosts  map[[4]byte]uint32
}

// portUses counts what there is at a port, different claims each once, and the ping
// sockets with that identifier.
type portUses struct {
	wild, local, exact, device, ident int
	shared                            int // claims that are Shared, each of several equal ones too
}

// claims reports whether there is a claim of the port.
func (p *portUses) claims() bool { return p.wild+p.local+p.exact > 0 }

func newTable() table {
	return table{claims: map[Claim]int{}, ports: map[uint16]*portUses{}, bound: map[[4]byte]int{}, hosts: map[[4]byte]uint32{}}
}

// count adds a holder of a claim, or with -1 takes one away.
func (t *table) count(c Claim, by int) {
	k := c.key()
	before := t.claims[k]
	t.claims[k] += by
	if before == 0 || t.claims[k] == 0 {
		t.countKey(k, by)
	}
	if c.Shared {
		t.port(k.Port).shared += by
	}
	t.dropPort(k.Port)
	if t.claims[k] == 0 {
		delete(t.claims, k)
	}
}

// countKey counts a claim that is new, or with -1 one that is gone.
func (t *table) countKey(k Claim, by int) {
	p := t.port(k.Port)
	switch {
	case k.exact():
		p.exact += by
	case k.wild():
		p.wild += by
	default:
		p.local += by
	}
	if k.Device != 0 {
		p.device += by
	}
	if k.Local != [4]byte{} {
		if t.bound[k.Local] += by; t.bound[k.Local] == 0 {
			delete(t.bound, k.Local)
		}
	}
}

// countIdent counts a ping socket's identifier.
func (t *table) countIdent(ident uint16, by int) {
	t.port(ident).ident += by
	t.dropPort(ident)
}

func (t *table) port(port uint16) *portUses {
	p := t.ports[port]
	if p == nil {
		p = &portUses{}
		t.ports[port] = p
	}
	return p
}

func (t *table) dropPort(port uint16) {
	if *t.ports[port] == (portUses{}) {
		delete(t.ports, port)
	}
}

// flags returns a port's flags.
func (t *table) flags(port uint16) (flags uint8) {
	p := t.ports[port]
	if p == nil {
		return 0
	}
	if p.wild > 0 && p.shared == 0 {
		flags |= flagWildAlone
	}
	for _, f := range [...]struct {
		n    int
		flag uint8
	}{{p.wild, flagWild}, {p.local, flagLocal}, {p.exact, flagExact}, {p.device, flagDevice}, {p.ident, flagIdent}, {p.shared, flagShared}} {
		if f.n > 0 {
			flags |= f.flag
		}
	}
	return flags
}

// value returns a claim's value in the programs' maps, 0 if there is none.
func (t *table) value(k Claim) uint8 {
	if t.claims[k] == 0 {
		return 0
	}
	v := uint8(valueClaimed)
	if !t.shared(k.Port) {
		v |= valueAlone
	}
	return v
}

// shared reports whether a port has a claim that is Shared.
func (t *table) shared(port uint16) bool {
	p := t.ports[port]
	return p != nil && p.shared > 0
}

// others reports whether the port of a claim has others.
func (t *table) others(k Claim) bool {
	p, n := t.ports[k.Port], 0
	if p != nil {
		n = p.wild + p.local + p.exact
	}
	if t.claims[k] != 0 {
		n--
	}
	return n > 0
}

// at returns the claims of a port.
func (t *table) at(port uint16) (keys []Claim) {
	for k := range t.claims {
		if k.Port == port {
			keys = append(keys, k)
		}
	}
	return keys
}

// address returns an address' value in the programs' map, 0 if it needs no entry.
func (t *table) address(a [4]byte) uint32 {
	v := t.hosts[a]
	if t.bound[a] > 0 {
		v |= addressBound
	}
	return v
}
