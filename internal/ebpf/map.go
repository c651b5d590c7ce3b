package ebpf

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A MapType is a kind of map (enum bpf_map_type).
type MapType uint32

// The kinds of maps.
const (
	Hash        MapType = unix.BPF_MAP_TYPE_HASH
	Array       MapType = unix.BPF_MAP_TYPE_ARRAY
	PerCPUArray MapType = unix.BPF_MAP_TYPE_PERCPU_ARRAY
	LRUHash     MapType = unix.BPF_MAP_TYPE_LRU_HASH
)

// A MapSpec says what map to make. Sizes are in bytes.
type MapSpec struct {
	Name                           string
	Type                           MapType
	KeySize, ValueSize, MaxEntries uint32
	Flags                          uint32 // unix.BPF_F_*
}

// A Map is one of the kernel's. Its methods are for any goroutines at once, but Close.
type Map struct {
	fd   int
	spec MapSpec
}

// NewMap makes a map. Close ends it.
func NewMap(s *MapSpec) (*Map, error) {
	attr := struct {
		typ, key, value, entries, flags, inner, node uint32
		name                                         [unix.BPF_OBJ_NAME_LEN]byte
	}{uint32(s.Type), s.KeySize, s.ValueSize, s.MaxEntries, s.Flags, 0, 0, name(s.Name)}
	fd, err := call(unix.BPF_MAP_CREATE, &attr) // which has close-on-exec
	if err != nil {
		return nil, fmt.Errorf("bpf map %s: %w", s.Name, err)
	}
	return &Map{fd, *s}, nil
}

// FD returns the map's descriptor, which remains the map's.
func (m *Map) FD() int { return m.fd }

// ValueSize returns how many bytes a value has.
func (m *Map) ValueSize() uint32 { return m.spec.ValueSize }

// Close gives the map up. What has it still, a program for one, goes on.
func (m *Map) Close() error { return unix.Close(m.fd) }

// element calls a command about one element.
func (m *Map) element(command int, key, value []byte, flags uint64) error {
	var mem memory
	defer mem.Unpin()
	attr := struct {
		fd, _             uint32
		key, value, flags uint64
	}{uint32(m.fd), 0, mem.at(key), mem.at(value), flags}
	_, err := call(command, &attr)
	return err
}

// room is how many bytes the kernel writes and reads of a value: of a PerCPUArray one after the
// other of each processor that there may be, each in a multiple of 8 bytes.
func (m *Map) room() (int, error) {
	if m.spec.Type != PerCPUArray {
		return int(m.spec.ValueSize), nil
	}
	n, err := PossibleCPUs()
	return n * (int(m.spec.ValueSize+7) &^ 7), err
}

// checked returns EINVAL for keys and values of another length.
func (m *Map) checked(key, value []byte) error {
	room, err := m.room()
	if err == nil && (len(key) != int(m.spec.KeySize) || value != nil && len(value) != room) {
		err = fmt.Errorf("bpf map %s: key of %d bytes, value of %d: %w", m.spec.Name, len(key), len(value), unix.EINVAL)
	}
	return err
}

// Put sets a key's value: of a PerCPUArray those of all processors, each in a multiple of 8
// bytes. E2BIG: the map is full.
func (m *Map) Put(key, value []byte) error {
	if err := m.checked(key, value); err != nil {
		return err
	}
	return m.element(unix.BPF_MAP_UPDATE_ELEM, key, value, unix.BPF_ANY)
}

// Lookup stores a key's value, as Put takes it. ENOENT: there is none.
func (m *Map) Lookup(key, value []byte) error {
	if err := m.checked(key, value); err != nil {
		return err
	}
	return m.element(unix.BPF_MAP_LOOKUP_ELEM, key, value, 0)
}

// Delete removes a key. ENOENT: it is not there.
func (m *Map) Delete(key []byte) error {
	if err := m.checked(key, nil); err != nil {
		return err
	}
	return m.element(unix.BPF_MAP_DELETE_ELEM, key, nil, 0)
}

// Keys returns all keys that are there, those that come and go meanwhile or not.
func (m *Map) Keys() (all [][]byte, err error) {
	var last []byte
	for uint32(len(all)) < m.spec.MaxEntries {
		next := make([]byte, m.spec.KeySize)
		err := m.element(unix.BPF_MAP_GET_NEXT_KEY, last, next, 0)
		if err == unix.ENOENT {
			break
		}
		if err != nil {
			return nil, err
		}
		all, last = append(all, next), next
	}
	return all, nil
}
