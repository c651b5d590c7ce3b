package claim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/outband/outband/internal/ebpf"
	"golang.org/x/sys/unix"
)

// Bounds: the kernel's memory for 10,000 claims is some 3 MiB.
const (
	// maxClaims is how many claims of connected sockets, and how many others that have an
	// address, there can be.
	maxClaims = 1 << 15
	// maxAddresses bounds the host's addresses, with those of claims.
	maxAddresses = 1 << 14
	// maxDatagrams is of how many fragmented datagrams at a time a program remembers what
	// has become of them; then it forgets the one that was asked for longest ago.
	maxDatagrams = 1 << 12
	// maxDevices bounds the devices with a claim at their ingress.
	maxDevices = 256
)

// maps is what both programs read. Ports and widths are memory of this process, which
// takes no system call to change.
type maps struct {
	portMap, widthMap *ebpf.Map
	ports, widths     []byte             // mapped: flags by port, and a count's being above 0 by Width
	exact, local      *ebpf.Map          // claims by exactKey, localKey
	addresses         *ebpf.Map          // by address
	dropped           *ebpf.Map          // TCX' fragmented datagrams
	taken             *ebpf.Map          // the rings'
	counters          *ebpf.Map          // of devices
	counted           [counterPlaces]int // whose they are
	secret            uint64             // of notes, even
}

// Lengths of keys and values.
const (
	exactKeyLen      = 16 // source, destination, source port, destination port, device
	localKeyLen      = 12 // destination, destination port, 0, device
	datagramKeyLen   = 12 // source, destination, identification, protocol, 0
	datagramValueLen = 32 // see fragment.go
)

func newMaps() (*maps, error) {
	m := &maps{}
	var secret [8]byte
	if _, err := unix.Getrandom(secret[:], 0); err != nil { // all of so few bytes, or none
		return nil, fmt.Errorf("getrandom: %w", err)
	}
	m.secret = binary.NativeEndian.Uint64(secret[:]) &^ 1
	for _, s := range []struct {
		to    **ebpf.Map
		name  string
		typ   ebpf.MapType
		key   uint32
		value uint32
		n     uint32
		flags uint32
	}{
		{&m.portMap, "ports", ebpf.Array, 4, 1 << 16, 1, unix.BPF_F_MMAPABLE},
		{&m.widthMap, "widths", ebpf.Array, 4, uint32(widthMapLen), 1, unix.BPF_F_MMAPABLE},
		{&m.exact, "exact", ebpf.Hash, exactKeyLen, 1, maxClaims, unix.BPF_F_NO_PREALLOC},
		{&m.local, "local", ebpf.Hash, localKeyLen, 1, maxClaims, unix.BPF_F_NO_PREALLOC},
		{&m.addresses, "hosts", ebpf.Hash, 4, 4, maxAddresses, unix.BPF_F_NO_PREALLOC},
		{&m.dropped, "dropped", ebpf.LRUHash, datagramKeyLen, datagramValueLen, maxDatagrams, 0},
		{&m.taken, "taken", ebpf.LRUHash, datagramKeyLen, datagramValueLen, maxDatagrams, 0},
		{&m.counters, "counters", ebpf.PerCPUArray, 4, counterLen, counterPlaces, 0},
	} {
		made, err := ebpf.NewMap(&ebpf.MapSpec{Name: "oob_" + s.name, Type: s.typ, KeySize: s.key, ValueSize: s.value, MaxEntries: s.n, Flags: s.flags})
		if err != nil {
			m.close()
			return nil, err
		}
		*s.to = made
	}
	var err error
	if m.ports, err = mapped(m.portMap); err == nil {
		m.widths, err = mapped(m.widthMap)
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("bpf map: %w", err)
	}
	return m, nil
}

// mapped returns a map's only value as memory.
func mapped(m *ebpf.Map) ([]byte, error) {
	return unix.Mmap(m.FD(), 0, int(m.ValueSize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (m *maps) all() []*ebpf.Map {
	return []*ebpf.Map{m.portMap, m.widthMap, m.exact, m.local, m.addresses, m.dropped, m.taken, m.counters}
}

func (m *maps) close() {
	for _, mem := range [][]byte{m.ports, m.widths} {
		if mem != nil {
			unix.Munmap(mem)
		}
	}
	for _, each := range m.all() {
		if each != nil {
			each.Close()
		}
	}
}

// sync makes the maps say of a claim's port, addresses and peer what the table says.
func (m *maps) sync(t *table, k Claim) error {
	var err error
	if k.Local != [4]byte{} {
		err = m.syncAddress(t, k.Local)
	}
	if err == nil && !k.wild() {
		where, key, v := m.local, localKey(k), t.value(k)
		if k.exact() {
			where, key = m.exact, exactKey(k)
		}
		if v != 0 {
			err = where.Put(key, []byte{v})
		} else {
			err = gone(where.Delete(key))
		}
	}
	if err != nil {
		return full(err)
	}
	m.ports[k.Port] = t.flags(k.Port)
	return nil
}

// syncAddress makes the map say of an address what the table says.
func (m *maps) syncAddress(t *table, a [4]byte) error {
	if v := t.address(a); v != 0 {
		return full(m.addresses.Put(a[:], binary.NativeEndian.AppendUint32(nil, v)))
	}
	return gone(m.addresses.Delete(a[:]))
}

// gone is the error of a deletion, where it matters.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// full makes the error of a full map ENOBUFS.
func full(err error) error {
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("too many claims or addresses: %w", unix.ENOBUFS)
	}
	return err
}

func exactKey(k Claim) []byte {
	b := append(append(make([]byte, 0, exactKeyLen), k.Peer[:]...), k.Local[:]...)
	b = binary.BigEndian.AppendUint16(b, k.PeerPort)
	b = binary.BigEndian.AppendUint16(b, k.Port)
	return binary.NativeEndian.AppendUint32(b, uint32(k.Device))
}

func localKey(k Claim) []byte {
	b := append(make([]byte, 0, localKeyLen), k.Local[:]...)
	b = binary.BigEndian.AppendUint16(b, k.Port)
	b = binary.BigEndian.AppendUint16(b, 0)
	return binary.NativeEndian.AppendUint32(b, uint32(k.Device))
}
