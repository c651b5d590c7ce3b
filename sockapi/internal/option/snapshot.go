package option

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A Setting is an option and its value, as Apply takes it.
type Setting struct {
	Level, Name int
	Value       []byte
}

// toldOtherwise are options that Settings does not read: another one says the same, or it
// has a way of its own.
var toldOtherwise = map[optionKey]bool{
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO_NEW}:  true,
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO_NEW}:  true,
	{unix.SOL_SOCKET, unix.SO_BINDTODEVICE}:  true,
	{unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}: true,
	{unix.SOL_SOCKET, unix.SO_LOCK_FILTER}:   true,
	{unix.SOL_IP, unix.IP_MULTICAST_IF}:      true,
	{unix.SOL_IP, unix.IP_MSFILTER}:          true,
	{unix.SOL_IP, unix.MCAST_MSFILTER}:       true,
}

// Settings returns what differs from fresh, a socket of the same kind: Apply in this order
// makes a fresh one like it. Of programs that choose within a SO_REUSEPORT group nothing is
// known.
func (s *State) Settings(fresh *State) (all []Setting) {
	keys := make([]optionKey, 0, len(Options))
	for k, o := range Options {
		if o.set != nil && (o.get != nil || o.getN != nil) && !toldOtherwise[k] {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b optionKey) int { // IP_TOS sets SO_PRIORITY, and comes before it
		if a.Level != b.Level {
			return a.Level - b.Level
		}
		return a.Name - b.Name
	})
	for _, k := range keys {
		if _, ok := s.option(k.Level, k.Name); !ok {
			continue
		}
		var is, was [64]byte
		n, err := s.Get(k.Level, k.Name, is[:])
		m, _ := fresh.Get(k.Level, k.Name, was[:])
		if err != nil || bytes.Equal(is[:n], was[:m]) {
			continue
		}
		if k.Level == unix.SOL_SOCKET && (k.Name == unix.SO_RCVBUF || k.Name == unix.SO_SNDBUF) {
			binary.NativeEndian.PutUint32(is[:], binary.NativeEndian.Uint32(is[:])/2) // which setting it doubles
		}
		all = append(all, Setting{k.Level, k.Name, slices.Clone(is[:n])})
	}
	if s.IP != nil {
		all = append(all, s.multicastSettings()...)
	}
	if n, _ := getFilter(s, nil); n > 0 {
		program := make([]byte, n*unix.SizeofSockFilter)
		getFilter(s, program)
		all = append(all, Setting{unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program})
	}
	if s.filterLocked.Load() {
		all = append(all, Setting{unix.SOL_SOCKET, unix.SO_LOCK_FILTER, []byte{1, 1, 1, 1}})
	}
	return all
}

// multicastSettings are the groups and the interface of those that it sends to.
func (s *State) multicastSettings() (all []Setting) {
	add := func(name int, value []byte) { all = append(all, Setting{unix.SOL_IP, name, value}) }
	if index, addr := s.IP.Multicast().Interface(); index != 0 || !addr.IsUnspecified() {
		value := make([]byte, ipMreqnLen)
		copy(value[4:], addr[:])
		binary.NativeEndian.PutUint32(value[8:], uint32(index))
		add(unix.IP_MULTICAST_IF, value)
	}
	for _, j := range s.IP.Multicast().Joined() {
		if j.Filter.Mode == igmp.Include {
			for _, source := range j.Filter.Sources {
				value := make([]byte, groupSourceLen)
				putGroup(value, &j.Request)
				putInet4(value[8+storageLen:], source)
				add(unix.MCAST_JOIN_SOURCE_GROUP, value)
			}
			continue
		}
		value := make([]byte, groupReqLen)
		putGroup(value, &j.Request)
		add(unix.MCAST_JOIN_GROUP, value)
		for _, source := range j.Filter.Sources {
			value := make([]byte, groupSourceLen)
			putGroup(value, &j.Request)
			putInet4(value[8+storageLen:], source)
			add(unix.MCAST_BLOCK_SOURCE, value)
		}
	}
	return all
}

// putGroup stores the beginning of a struct group_req.
func putGroup(b []byte, r *stack.GroupRequest) {
	binary.NativeEndian.PutUint32(b, uint32(r.Interface))
	putInet4(b[8:], r.Group)
}

// putInet4 stores an address in a struct sockaddr_storage.
func putInet4(b []byte, addr [4]byte) {
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	copy(b[4:], addr[:])
}

// Apply sets what Settings returned.
func (s *State) Apply(all []Setting) error {
	for _, o := range all {
		var err error
		if o.Level == unix.SOL_SOCKET && o.Name == unix.SO_ATTACH_FILTER {
			program := make([]bpf.RawInstruction, len(o.Value)/unix.SizeofSockFilter)
			for i := range program {
				b := o.Value[unix.SizeofSockFilter*i:]
				program[i] = bpf.RawInstruction{Op: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])}
			}
			err = s.AttachFilter(program)
		} else {
			err = s.Set(o.Level, o.Name, o.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
